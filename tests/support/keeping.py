"""A keeper with a broker in memory, that confirms what it is given while it is `connected`."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from pathlib import Path
from types import TracebackType

import msgspec
from typing_extensions import Self

from lineside.messages import Event, Result
from lineside.mqtt import Delivery, Outgoing
from lineside.settings import OutboxSettings, StationSettings
from lineside.topics import Topics
from lineside_agent.keeper import Keeper
from lineside_agent.publisher import Publisher
from tests.support.broker import wait_for
from tests.support.examples import result

STATION = StationSettings(site="ulm", name="press4")


class MemoryBroker(threading.Thread):
    """Takes messages and confirms them on a thread of its own, as a client does."""

    def __init__(self, *, connected: bool) -> None:
        super().__init__(name="memory-broker", daemon=True)
        self._connected = threading.Event()
        self._given: deque[Outgoing] = deque()
        self._came = threading.Event()
        self._ended = False
        self.results: list[tuple[str, str, int]] = []
        self.events: list[Event] = []
        if connected:
            self._connected.set()

    def connect(self) -> None:
        self._connected.set()

    def send(self, message: Outgoing) -> None:
        self._given.append(message)
        self._came.set()

    def run(self) -> None:
        while not self._ended:
            self._connected.wait()
            self._came.wait()
            self._came.clear()
            while self._given and not self._ended:
                self._take(self._given.popleft())

    def end(self) -> None:
        self._ended = True
        self._connected.set()
        self._came.set()
        self.join(10)

    def _take(self, message: Outgoing) -> None:
        if message.topic.endswith("/event"):
            self.events.append(msgspec.json.decode(message.payload, type=Event))
        else:
            found = msgspec.json.decode(message.payload, type=Result)
            self.results.append((found.boot, found.stream, found.seq))
        assert message.on_done is not None
        message.on_done(Delivery(ok=True, reason=""))

    def lost(self) -> list[tuple[str, str, int]]:
        """What the events name as lost, one by one."""
        return [
            (part["boot"], part["stream"], seq)
            for event in self.events
            if event.kind == "results_lost"
            for part in event.details.get("lost", ())
            for seq in range(part["first"], part["last"] + 1)
        ]

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


class Keeping:
    """A running keeper.

    Args:
        path: of the outbox.
        connected: whether the broker is there from the start.
        options: of OutboxSettings.
    """

    def __init__(self, path: Path, *, connected: bool = True, **options: object) -> None:
        self.boot = str(uuid.uuid4())
        self.broker = MemoryBroker(connected=connected)
        self.publisher = Publisher(self.broker.send, Topics("ulm", "press4"), echo=False)
        settings = OutboxSettings(path=str(path), **options)  # type: ignore[arg-type]
        self.keeper = Keeper(settings, STATION, self.boot, self.publisher, ["top"])

    def put(
        self, count: int, *, stream: str = "top", wait: bool = True, journal: int | None = None
    ) -> int:
        """Give so many results; how many were kept."""
        return sum(
            self.keeper.put(result(boot=self.boot, stream=stream), wait=wait, journal=journal)
            for _ in range(count)
        )

    def written(self) -> None:
        """Wait until everything is on disk."""
        wait_for(lambda: self.keeper.waiting == 0, 20, "everything on disk")

    def drain(self) -> None:
        """Wait until everything is published."""
        wait_for(lambda: self.keeper.pending == 0, 20, "everything published")

    def __enter__(self) -> Self:
        self.keeper.start()
        self.broker.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        self.keeper.stop()
        self.broker.end()
