"""How an outbox is opened: a damaged one is moved aside, a full disk gives up its reserve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from lineside_agent import reports
from lineside_agent.custody import CorruptError, DiskFullError, quarantine
from lineside_agent.outbox import Outbox
from lineside_agent.reports import Report
from lineside_agent.room import Room


class Opening(Struct):
    """What is needed to open it, again and again.

    Attributes:
        path: the SQLite file.
        boot: the UUID of this start of the agent.
        streams: those that give results.
        room: what it may use.
        first_id: the lowest id that new messages get.
    """

    path: Path
    boot: str
    streams: Sequence[str]
    room: Room
    first_id: int = 1

    def open(self) -> tuple[Outbox, list[Report]]:
        """Open it.

        Returns:
            The outbox, and what there is to say of a damaged one.

        Raises:
            BusyError: it is used by another agent, or a newer version wrote it.
            StorageError: the disk can't be written.
        """
        try:
            return self._open(), []
        except CorruptError as error:
            report = self.put_aside(error)
            return self._open(), [report]

    def put_aside(self, error: CorruptError) -> Report:
        """Move a damaged file aside; what there is to say.

        Raises:
            StorageError: it can't be moved.
        """
        moved = quarantine(self.path)
        self.room.look()
        return reports.quarantined(error, moved)

    def _open(self) -> Outbox:
        try:
            return self._once()
        except DiskFullError:
            if not self.room.release():
                raise
            return self._once()

    def _once(self) -> Outbox:
        outbox = Outbox(
            self.path,
            self.boot,
            first_id=self.first_id,
            streams=self.streams,
            wal_pages=self.room.wal_pages,
        )
        self.room.restore()
        return outbox
