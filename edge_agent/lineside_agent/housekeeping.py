"""What is deleted from an outbox, and when: after the retention, and where room is short."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lineside.settings import OutboxSettings
from lineside_agent.outbox import Outbox
from lineside_agent.publisher import Publisher
from lineside_agent.room import PAGE_BYTES, Room

MAX_EVENTS: Final = 10_000
"""How many events are kept at most; then the oldest go. With little room there are fewer."""

MAX_PRUNE: Final = 5000
"""Messages deleted at once at most."""


class Housekeeping:
    """Keeps an outbox within its limits. It is used on the keeper's thread alone.

    What goes first: files that were moved aside, then the oldest results and events that were
    published, then the oldest results that were not. Those that may have reached the broker
    without our knowing stay, so that what is called lost is lost.

    Args:
        settings: of the outbox.
        room: what it may use.
        publisher: who knows what may have reached the broker.

    Attributes:
        told: losses up to this number are being told by an event on its way.
        lost: how many results went before the broker had them.
    """

    def __init__(self, settings: OutboxSettings, room: Room, publisher: Publisher) -> None:
        self._settings = settings
        self._room = room
        self._publisher = publisher
        self._max_events = max(100, min(MAX_EVENTS, room.limit // 8000))
        self._bite = min(MAX_PRUNE, max(16, room.wal_pages))
        self._short = False
        self.told = 0
        self.lost = 0

    def pressing(self, outbox: Outbox) -> bool:
        """Whether there is too much, so that deleting should go on."""
        return self._short or outbox.kept > self._settings.max_results

    def prune(self, outbox: Outbox) -> None:
        """Delete what was kept long enough and a part of what is too much."""
        gone = outbox.expire(retention_s=self._settings.retention_h * 3600, limit=self._bite)
        events = self._drop_events(outbox, self._max_events)
        more = gone.results + gone.events + events >= self._bite
        most = self._settings.max_results
        # A hundredth more than needed goes, so that it isn't done for every single one.
        excess = outbox.kept - most + most // 100 if outbox.kept > most else 0
        while excess > 0 and (dropped := self._drop(outbox, min(excess, self._bite))):
            excess -= dropped
        self._room.look()
        size, free = outbox.room()
        file = self._room.file - self._room.aside
        if size - free > file * 0.97:
            more = self._make_room(outbox) or more
        elif size > file and free:
            outbox.shrink(min(free, size - file + PAGE_BYTES, self._bite * PAGE_BYTES))
            more = outbox.room()[0] < size  # a file of the first version gives nothing back
        self._short = more

    def fit(self, outbox: Outbox, count: int, size: int) -> None:
        """Make sure that messages find room within the limit, at the cost of older ones.

        Args:
            outbox: where they go.
            count: how many they are.
            size: the bytes of their payloads.
        """
        need = size * 5 // 4 + count * 100 + 16 * PAGE_BYTES
        while True:
            file, free = outbox.room()
            left = self._room.file - self._room.aside - (file - free)
            self._short = self._short or left < self._room.file * 0.03
            if left >= need or not self._make_room(outbox):
                return

    def fits(self, outbox: Outbox, count: int, size: int) -> bool:
        """Whether messages find room in what is free in the file, without more of the disk."""
        _, free = outbox.room()
        return free >= size * 5 // 4 + count * 100 + 16 * PAGE_BYTES

    def _make_room(self, outbox: Outbox) -> bool:
        """Delete a little; whether there was anything."""
        if self._room.aside and self._room.discard_aside() is not None:
            return True
        if self._drop(outbox, self._bite):
            return True
        return self._drop_events(outbox, 10) > 0

    def _drop_events(self, outbox: Outbox, most: int) -> int:
        """Delete the oldest of too many events, but for those that are on their way; how many."""
        free = self._withdraw(lambda limit: outbox.surplus(most, limit), self._bite)
        return outbox.delete(free).events if free else 0

    def _drop(self, outbox: Outbox, count: int) -> int:
        """Delete the oldest that was published or else the oldest results; how many messages."""
        gone = outbox.discard(count)
        if gone.results + gone.events:
            return gone.results + gone.events
        free = self._withdraw(outbox.oldest, count)
        lost = outbox.lose(free, told=self.told).results if free else 0
        self.lost += lost
        return lost

    def _withdraw(self, oldest: Callable[[int], list[int]], count: int) -> list[int]:
        """The ids of some of the oldest messages that the publisher gives up; `count` at most.

        Those that are on their way stay: the publisher would wait for what is no more, and read
        nothing else from disk.

        Args:
            oldest: gives the ids of so many.
            count: how many.
        """
        limit = count
        while True:
            ids = oldest(limit)
            free = self._publisher.withdraw(ids[-count:])
            if free or len(ids) < limit:
                return free
            limit += count
