"""The tables of an outbox's file, and how a file of an older version comes to have them.

    boots     boot (a UUID), ended (0: it runs, or was cut off)
    series    series, boot, stream, granted        one for each boot and stream
    messages  id, series, seq, state, at, payload  seq counts from 1 in its series
    journal   number, boot, stream, trigger        accepted triggers that have no result yet
    answers   number, requester, id, payload       what commands were answered, the newest ones
    losses    number, boot, stream, first, last    results that had to go, until an event says so

`at` is when a message was published, in seconds of running since the file was begun: no wall
clock, so a clock that jumps deletes nothing. `granted` is the highest number that may have been
given in a series: what lies between the last message and it may be lost where a boot was cut off.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from lineside_agent.custody import BusyError, CorruptError

if TYPE_CHECKING:
    import apsw

APPLICATION: Final = 0x6C696E65  # "line"
VERSION: Final = 2

CHECKED_BYTES: Final = 256 * 1024 * 1024
"""A larger file isn't checked at the start: that would take minutes on a memory card."""

_FIRST: Final = """
CREATE TABLE boots (boot TEXT PRIMARY KEY, ended INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE series (
    series INTEGER PRIMARY KEY, boot TEXT NOT NULL, stream TEXT NOT NULL, UNIQUE (boot, stream)
) STRICT;
CREATE TABLE messages (
    id INTEGER PRIMARY KEY, series INTEGER NOT NULL, seq INTEGER NOT NULL,
    state INTEGER NOT NULL, at REAL NOT NULL, payload BLOB NOT NULL, UNIQUE (series, seq)
) STRICT;
CREATE INDEX pending ON messages (series, seq) WHERE state = 0;
CREATE INDEX published ON messages (at) WHERE state > 0;
"""

_SECOND: Final = """
ALTER TABLE series ADD COLUMN granted INTEGER NOT NULL DEFAULT 0;
CREATE TABLE journal (
    number INTEGER PRIMARY KEY, boot TEXT NOT NULL, stream TEXT NOT NULL, trigger BLOB NOT NULL
) STRICT;
CREATE TABLE answers (
    number INTEGER PRIMARY KEY, requester TEXT NOT NULL, id TEXT NOT NULL, payload BLOB NOT NULL,
    UNIQUE (requester, id)
) STRICT;
CREATE TABLE losses (
    number INTEGER PRIMARY KEY, boot TEXT NOT NULL, stream TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL
) STRICT;
"""

_STEPS: Final = (_FIRST, _SECOND)
"""What makes each version from the one before it."""


def configure(db: apsw.Connection, *, new: bool, wal_pages: int) -> None:
    """Say how the file is written, before anything is read.

    Args:
        db: the file.
        new: whether there is nothing in it.
        wal_pages: pages that the log beside the file may have before they go into the file.
    """
    db.set_busy_timeout(2000)
    # exclusive, and first: nobody else uses it, so no shared memory is mapped that could vanish.
    # full: a commit is on the disk when it returns. apsw brings an SQLite without the
    # WAL-reset bug of 3.7.0 to 3.51.2.
    # memory: nothing is written outside the folder that the limit is about.
    db.execute("PRAGMA locking_mode = exclusive").fetchall()
    if new:  # so that a file that became too large can give pages back
        db.execute("PRAGMA auto_vacuum = incremental").fetchall()
    for pragma in (
        "journal_mode = wal",
        "synchronous = full",
        "temp_store = memory",
        f"wal_autocheckpoint = {wal_pages}",
    ):
        db.execute(f"PRAGMA {pragma}").fetchall()
    db.pragma("journal_size_limit", 2 * wal_pages * db.pragma("page_size"))


def check(db: apsw.Connection, path: Path) -> None:
    """Refuse what is no outbox, of a newer version, or damaged.

    Raises:
        BusyError: a newer version wrote it.
        CorruptError: it is no outbox, or damaged.
    """
    application, version = db.pragma("application_id"), db.pragma("user_version")
    if version and application != APPLICATION:
        msg = f"{path} is no outbox but another SQLite file"
        raise CorruptError(msg)
    if version > VERSION:
        msg = f"{path} was written by a newer lineside: update, or set another outbox.path"
        raise BusyError(msg)
    if path.stat().st_size <= CHECKED_BYTES:
        found = str(db.execute("PRAGMA quick_check(1)").get)
        if found != "ok":
            msg = f"{path} is damaged: {found.splitlines()[-1]}"
            raise CorruptError(msg)


def upgrade(db: apsw.Connection) -> None:
    """Make the tables, or those that an older version lacks, inside the caller's transaction."""
    version = db.pragma("user_version")
    if version == VERSION:
        return
    for step in _STEPS[version:]:
        for statement in step.split(";\n"):
            db.execute(statement).fetchall()
    db.pragma("application_id", APPLICATION)
    db.pragma("user_version", VERSION)
