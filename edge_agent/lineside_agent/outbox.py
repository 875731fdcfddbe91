"""The outbox: one SQLite file that holds every result until its retention ends.

A result is in it before it is published and stays after the broker's acknowledgement. Events
are kept the same way, as a stream whose name is empty. The file is used by one thread at a time
and by one process at a time, which a lock beside it ensures.

    boots     boot (a UUID), ended (0: it runs, or was cut off)
    series    series, boot, stream                 one for each boot and stream
    messages  id, series, seq, state, at, payload  seq counts from 1 in its series

`at` is when a message was published, in seconds of running since the file was begun: no wall
clock, so a clock that jumps deletes nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lineside.errors import StorageError
from lineside.extras import require
from lineside.files import storage_error
from lineside.messages import Ledger
from lineside_agent.custody import BusyError, CorruptError, lock
from lineside_agent.retention import Pruned, forget_boots, prune

if TYPE_CHECKING:
    import apsw

EVENTS: Final = ""
"""The name of the stream that holds events."""

MAX_EVENTS: Final = 10_000
"""How many events are kept at most; then the oldest go."""

MAX_LEDGERS: Final = 64
"""How many boots and streams the ledger lists at most, the newest ones."""

_APPLICATION: Final = 0x6C696E65  # "line"
_VERSION: Final = 1
_CHECKED_BYTES: Final = 256 * 1024 * 1024  # a larger file would take minutes on a memory card

_SCHEMA: Final = """
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


class State(IntEnum):
    """What became of a message."""

    PENDING = 0
    """To be published."""
    CONFIRMED = 1
    """The broker has it (MQTT 5), or it came back to us (3.1.1)."""
    UNCONFIRMED = 2
    """Over MQTT 3.1.1 it was acknowledged, and never came back to us."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message to keep.

    Attributes:
        stream: the stream of a result; EVENTS for an event.
        seq: from 1, without a gap, within this boot and the stream.
        payload: the message as it is published.
    """

    stream: str
    seq: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Row:
    """A message that is on disk.

    Attributes:
        id: its place in the outbox.
        series: which boot and stream, in the order in which they began.
        seq: its number there.
        stream: as in `Entry`.
        payload: as in `Entry`.
    """

    id: int
    series: int
    seq: int
    stream: str
    payload: bytes


class Outbox:
    """The file, open. Every method but the constructor may raise StorageError.

    Args:
        path: the SQLite file; begun if it is not there.
        boot: the UUID of this start of the agent.
        first_id: the lowest id that new messages get. It keeps the ids of a file that was moved
            aside from being given again while they are in use.

    Attributes:
        pending: how many messages are to be published.
        kept: how many results there are.
        next_id: the id that the next message gets.
        cut_off: the boots before this one that ended without a stop, such as by a power loss.
            Said once: the next boot does not list them again.

    Raises:
        BusyError: another agent uses it, or a newer version wrote it.
        CorruptError: it is no outbox, or damaged.
        StorageError: the disk is full or can't be written.
    """

    def __init__(self, path: Path, boot: str, *, first_id: int = 1) -> None:
        self.path = path
        self.next_id = first_id
        self._boot = boot
        self._lock = lock(path)
        self._apsw = require("apsw", extra="agent")
        self._db: apsw.Connection | None = None
        try:
            with self._errors():
                self._db = self._apsw.Connection(str(path))
                self._prepare()
        except BaseException:
            self._release()
            raise

    def _prepare(self) -> None:
        db = self._connection
        db.set_busy_timeout(2000)
        # exclusive: nobody else uses it, so no shared memory is mapped that could vanish.
        # full: a commit is on the disk when it returns. apsw brings an SQLite without the
        # WAL-reset bug of 3.7.0 to 3.51.2.
        for pragma in ("locking_mode = exclusive", "journal_mode = wal", "synchronous = full"):
            db.execute(f"PRAGMA {pragma}").fetchall()
        self._check()
        with self._transaction():
            if not db.pragma("user_version"):
                for statement in _SCHEMA.split(";\n"):
                    db.execute(statement).fetchall()
                db.pragma("application_id", _APPLICATION)
                db.pragma("user_version", _VERSION)
            self.cut_off = [
                str(boot) for (boot,) in db.execute("SELECT boot FROM boots WHERE ended = 0")
            ]
            db.execute("UPDATE boots SET ended = 1 WHERE ended = 0")
            db.execute("INSERT OR REPLACE INTO boots VALUES (?, 0)", (self._boot,))
        self.pending: int = db.execute("SELECT count(*) FROM messages WHERE state = 0").get
        events = "SELECT count(*) FROM messages NATURAL JOIN series WHERE stream = ''"
        self._events: int = db.execute(events).get
        self.kept: int = db.execute("SELECT count(*) FROM messages").get - self._events
        highest: int = db.execute("SELECT coalesce(max(id), 0) FROM messages").get
        self.next_id = max(self.next_id, highest + 1)
        ran = db.execute("SELECT coalesce(max(at), 0) FROM messages WHERE state > 0").get
        self._began = time.monotonic() - ran
        self._series: dict[str, int] = {}

    def _check(self) -> None:
        """Refuse what is no outbox, of a newer version, or damaged."""
        db = self._connection
        application, version = db.pragma("application_id"), db.pragma("user_version")
        if version and application != _APPLICATION:
            msg = f"{self.path} is no outbox but another SQLite file"
            raise CorruptError(msg)
        if version > _VERSION:
            msg = f"{self.path} was written by a newer lineside: update, or set another outbox.path"
            raise BusyError(msg)
        if self.path.stat().st_size <= _CHECKED_BYTES:
            found = str(db.execute("PRAGMA quick_check(1)").get)
            if found != "ok":
                msg = f"{self.path} is damaged: {found.splitlines()[-1]}"
                raise CorruptError(msg)

    @property
    def _connection(self) -> apsw.Connection:
        if self._db is None:
            msg = f"{self.path} is closed"
            raise StorageError(msg)
        return self._db

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What SQLite raises, as one of lineside's errors."""
        module = self._apsw
        try:
            yield
        except (module.CorruptError, module.NotADBError) as error:
            msg = f"{self.path} is damaged: {error}"
            raise CorruptError(msg) from error
        except module.FullError as error:
            msg = f"{self.path}: the disk is full; free some space"
            raise StorageError(msg) from error
        except module.Error as error:
            msg = f"{self.path} can't be used: {error}"
            raise StorageError(msg) from error
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise storage_error(error, self.path) from error

    @contextmanager
    def _transaction(self) -> Iterator[apsw.Connection]:
        """All of it or nothing; the error, if any, as one of lineside's."""
        with self._errors():
            db = self._connection
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:  # SQLite ends it itself after some errors
                    db.execute("ROLLBACK")
                raise

    def commit(
        self, entries: Sequence[Entry] = (), done: Sequence[tuple[int, State]] = ()
    ) -> list[Row]:
        """Keep new messages and note what became of old ones, all in one transaction.

        Args:
            entries: what is new.
            done: ids and their new states.

        Returns:
            The new messages, as they are on disk now.
        """
        series = dict(self._series)
        with self._transaction() as db:
            for stream in {entry.stream for entry in entries} - series.keys():
                series[stream] = self._begin_series(db, stream)
            rows = [
                Row(number, series[entry.stream], entry.seq, entry.stream, entry.payload)
                for number, entry in enumerate(entries, start=self.next_id)
            ]
            db.executemany(
                "INSERT INTO messages VALUES (?, ?, ?, 0, 0, ?)",
                [(row.id, row.series, row.seq, row.payload) for row in rows],
            )
            changed = db.total_changes()
            now = time.monotonic() - self._began
            db.executemany(
                "UPDATE messages SET state = ?, at = ? WHERE id = ? AND state = 0",
                [(int(state), now, number) for number, state in done],
            )
            changed = db.total_changes() - changed
        self._series = series
        self.next_id += len(rows)
        events = sum(row.stream == EVENTS for row in rows)
        self._events += events
        self.kept += len(rows) - events
        self.pending += len(rows) - changed
        return rows

    def _begin_series(self, db: apsw.Connection, stream: str) -> int:
        key = (self._boot, stream)
        db.execute("INSERT OR IGNORE INTO series (boot, stream) VALUES (?, ?)", key)
        found: int = db.execute("SELECT series FROM series WHERE boot = ? AND stream = ?", key).get
        return found

    def backlog(self, after: tuple[int, int], limit: int) -> list[Row]:
        """What is to be published, the oldest first.

        Args:
            after: series and seq behind which to begin; (0, 0) for the start.
            limit: how many rows at most.
        """
        with self._errors():
            found = self._connection.execute(
                "SELECT id, m.series, seq, stream, payload "
                "FROM messages m JOIN series s ON s.series = m.series "
                "WHERE state = 0 AND (m.series, seq) > (?, ?) ORDER BY m.series, seq LIMIT ?",
                (*after, limit),
            )
            return [Row(*row) for row in found]

    def results(
        self, boot: str, stream: str, first: int, last: int, limit: int
    ) -> list[tuple[int, bytes]]:
        """The results of a boot and stream that are kept, published or not, by their numbers.

        Args:
            boot: whose they are.
            stream: whose they are.
            first: the first sequence number.
            last: the last one, included.
            limit: how many at most; the next page begins behind the last one of this page.

        Returns:
            Sequence number and payload of each.
        """
        with self._errors():
            found = self._connection.execute(
                "SELECT seq, payload FROM messages "
                "WHERE series = (SELECT series FROM series WHERE boot = ? AND stream = ?) "
                "AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?",
                (boot, stream, first, last, limit),
            )
            return [(seq, payload) for seq, payload in found]

    def ledger(self) -> list[Ledger]:
        """What is kept of each boot and stream, the newest first, MAX_LEDGERS at most."""
        with self._errors():
            found = self._connection.execute(
                "SELECT boot, stream, "
                "(SELECT min(seq) FROM messages m WHERE m.series = s.series), "
                "(SELECT max(seq) FROM messages m WHERE m.series = s.series), "
                "(SELECT min(seq) FROM messages m WHERE m.series = s.series AND state = 0) "
                "FROM series s WHERE stream <> '' ORDER BY series DESC LIMIT ?",
                (MAX_LEDGERS,),
            )
            return [
                Ledger(
                    boot=boot,
                    stream=stream,
                    first=first,
                    last=last,
                    published_through=last if pending is None else pending - 1,
                )
                for boot, stream, first, last, pending in found
                if first is not None
            ]

    def prune(self, *, retention_s: float, max_results: int, at_once: int = 5000) -> Pruned:
        """Delete what is older than the retention, and the oldest of what is too much.

        Args:
            retention_s: how long a message is kept after it was published, in seconds of running.
            max_results: how many results are kept at most. If there are more, a hundredth of
                that is deleted beyond, so that it is not done for every single one.
            at_once: how many messages are deleted for each reason at most, so that it stays short.

        Returns:
            What was deleted.
        """
        too_many = self.kept - max_results
        if too_many > 0:
            too_many += max_results // 100
        with self._transaction() as db:
            pruned = prune(
                db,
                cutoff=time.monotonic() - self._began - retention_s,
                results=too_many,
                events=self._events - MAX_EVENTS,
                at_once=at_once,
            )
            forget_boots(db, self._boot)
        self.kept -= pruned.results
        self._events -= pruned.events
        self.pending -= pruned.pending
        return pruned

    def close(self, *, clean: bool) -> None:
        """Close the file.

        Args:
            clean: whether everything that was given is in it, so that the next boot need not
                report a cut.
        """
        try:
            if self._db is not None and clean:
                with self._errors():
                    self._db.execute("UPDATE boots SET ended = 1 WHERE boot = ?", (self._boot,))
        finally:
            self._release()

    def _release(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
        os.close(self._lock)
