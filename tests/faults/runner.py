"""Start the real agent under a faked clock, or with an outbox that is wrong on purpose.

    python -m tests.faults.runner MODE CONFIG

    plain              the agent as it is
    delete_on_puback   the outbox deletes a result once the broker has acknowledged it
    lazy               the outbox never syncs, over a file layer that loses what was not synced
    synced             the same file layer under the outbox as it is: it must hold

libfaketime, where the environment preloads it, is for this process alone: its children run on the
machine's clock. It mistakes `clock_nanosleep` with an absolute time of the monotonic clock, which
is how Python sleeps, for one of the faked clock, so `time.sleep` goes another way here.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import apsw


def unfake_sleep() -> None:
    """Sleep by `select`, and keep the faked clock from children."""
    os.environ.pop("LD_PRELOAD")

    def sleep(seconds: float) -> None:
        select.select([], [], [], seconds)

    time.sleep = sleep  # type: ignore[assignment]


def delete_on_puback() -> None:
    """Results are kept only until the broker has them: an acknowledgement is taken as delivery."""
    from lineside_agent.outbox import Outbox
    from lineside_agent.records import EVENTS, Aside, Entry, Row, State

    commit = Outbox.commit

    def commit_and_forget(
        self: Outbox,
        entries: Sequence[Entry] = (),
        done: Sequence[tuple[int, State]] = (),
        aside: Aside | None = None,
    ) -> list[Row]:
        rows = commit(self, entries, done, *(() if aside is None else (aside,)))
        db = self._connection
        results = "SELECT series FROM series WHERE stream <> ?"
        for number, _ in done:
            gone = f"DELETE FROM messages WHERE id = ? AND series IN ({results})"  # noqa: S608
            db.execute(gone, (number, EVENTS))
            self.kept -= db.changes()
        return rows

    Outbox.commit = commit_and_forget  # type: ignore[method-assign]


def unsynced_files() -> None:
    """Put a file layer under SQLite that has on disk only what was synced."""
    from tests.faults.unsynced import install

    install()


def never_sync() -> None:
    """Commits return before anything is on the disk. Before the outbox is imported."""
    from lineside_agent import schema

    configure = schema.configure

    def lazily(db: apsw.Connection, *, new: bool, wal_pages: int) -> None:
        configure(db, new=new, wal_pages=wal_pages)
        db.execute("PRAGMA synchronous = off").fetchall()

    schema.configure = lazily


MODES: dict[str, Sequence[Callable[[], None]]] = {
    "plain": (),
    "delete_on_puback": (delete_on_puback,),
    "lazy": (unsynced_files, never_sync),
    "synced": (unsynced_files,),
}


def main(mode: str, config: Path) -> None:
    """Run the agent."""
    if "LD_PRELOAD" in os.environ:
        unfake_sleep()
    for change in MODES[mode]:
        change()
    from lineside.cli import main as lineside

    sys.argv = ["lineside", "agent", "run", str(config)]
    lineside()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
