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
from typing import TYPE_CHECKING, Any

from typing_extensions import override

if TYPE_CHECKING:
    import apsw


def unfake_sleep() -> None:
    """Sleep by `select`, and keep the faked clock from children."""
    os.environ.pop("LD_PRELOAD")

    def sleep(seconds: float) -> None:
        select.select([], [], [], seconds)

    time.sleep = sleep


def delete_on_puback() -> None:
    """Results are kept only until the broker has them: an acknowledgement is taken as delivery."""
    from lineside_agent import keeper, outbox

    class Forgetful(outbox.Outbox):
        @override
        def commit(
            self,
            entries: Sequence[outbox.Entry] = (),
            done: Sequence[tuple[int, outbox.State]] = (),
            *more: Any,
            **others: Any,
        ) -> list[outbox.Row]:
            rows = super().commit(entries, done, *more, **others)
            self._connection.executemany(
                "DELETE FROM messages WHERE id = ?", [(number,) for number, _ in done]
            )
            self.kept = self._connection.execute(
                "SELECT count(*) FROM messages NATURAL JOIN series WHERE stream <> ''"
            ).get
            return rows

    keeper.Outbox = Forgetful  # type: ignore[misc]


def never_sync() -> None:
    """Commits return before anything is on the disk."""
    from lineside_agent import outbox

    configure = outbox.configure

    def lazily(db: apsw.Connection, *, wal_pages: int) -> None:
        configure(db, wal_pages=wal_pages)
        db.execute("PRAGMA synchronous = off").fetchall()

    outbox.configure = lazily


def unsynced_files() -> None:
    """Put a file layer under SQLite that has on disk only what was synced."""
    from tests.faults.unsynced import install

    install()


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
