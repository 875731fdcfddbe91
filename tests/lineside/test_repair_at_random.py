"""Any order, duplicates, losses on the way, several boots: what repair comes to in the end."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest

from lineside.commands import Command, Response
from lineside.messages import Ledger, Status
from lineside.repair import Ask, Pace, Repair
from lineside.sequence import SequenceSet
from lineside.tracker import Gap, Tracker
from tests.support.examples import result, status

Name = tuple[str, str, str, int]
"""Station, boot, stream and number of a result."""


@dataclass
class World:
    """Stations, what they keep, and a network that loses, repeats and turns around. No clock.

    Attributes:
        now: seconds.
        lossy: whether the network is bad just now.
        on_its_way: when, which one, what to do with it.
    """

    chance: random.Random
    now: float = 0.0
    lossy: bool = True
    on_its_way: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    count: itertools.count[int] = field(default_factory=itertools.count)

    def send(self, deliver: Callable[[], None]) -> None:
        times = 1
        if self.lossy:
            times = self.chance.choices([0, 1, 2], [0.2, 0.7, 0.1])[0]
        for _ in range(times):
            longest = 60.0 if self.chance.random() < 0.05 else 1.5
            at = self.now + self.chance.uniform(0.01, longest)
            heapq.heappush(self.on_its_way, (at, next(self.count), deliver))

    def step(self, seconds: float) -> None:
        self.now += seconds
        while self.on_its_way and self.on_its_way[0][0] <= self.now:
            heapq.heappop(self.on_its_way)[2]()


class Listener:
    """What a subscriber does with what it hears, without a network."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tracker = Tracker()
        self.repair = Repair(self.tracker, "me", Pace(settle_s=0.5, answer_s=5, pause_s=(1, 4)))
        self.repair.connected()
        self.here = True
        self.given: list[Name] = []
        self.told: list[Gap] = []

    def result(self, station: str, boot: str, stream: str, seq: int, *, replayed: bool) -> None:
        if self.here:
            message = result(seq, station=station, boot=boot, stream=stream)
            if self.tracker.take(message, replayed=replayed):
                self.given.append((station, boot, stream, seq))
            if replayed:
                self.repair.arrived(("ulm", station, boot, stream), self.world.now)

    def status(self, message: Status) -> None:
        if self.here:
            self.tracker.take(message)
            self.repair.heard(message, self.world.now)

    def response(self, message: Response) -> None:
        if self.here:
            self.repair.answered(message, self.world.now)

    def leave(self) -> None:
        self.here = False
        self.tracker.away()
        self.repair.away()

    def come(self) -> None:
        self.here = True
        self.repair.connected()

    def due(self) -> list[Ask]:
        asks = self.repair.due(self.world.now)
        for ask in asks:
            self.repair.sent(ask.command.id, None, self.world.now)
        self.told += self.tracker.news
        self.tracker.news.clear()
        return asks


class Station:
    """Keeps results, deletes the oldest ones, begins anew, and answers `replay`."""

    def __init__(self, name: str, world: World, listener: Listener) -> None:
        self.name = name
        self.world = world
        self.listener = listener
        self.boots: list[str] = []
        self.last: dict[tuple[str, str], int] = {}
        self.kept: dict[tuple[str, str], list[int]] = {}
        self.begin()

    def begin(self) -> None:
        self.boots.append(f"{self.name}-{len(self.boots)}")
        for stream in ("top", "side"):
            self.last[self.boots[-1], stream] = 0
            self.kept[self.boots[-1], stream] = []

    def work(self) -> None:
        for stream in ("top", "side"):
            for _ in range(self.world.chance.randrange(12)):
                key = (self.boots[-1], stream)
                self.last[key] += 1
                seq = self.last[key]
                self.kept[key].append(seq)
                if self.world.chance.random() < 0.99:  # else: deleted before it was published
                    self.publish(*key, seq)
                else:
                    self.kept[key].remove(seq)

    def publish(self, boot: str, stream: str, seq: int) -> None:
        self.world.send(lambda: self.listener.result(self.name, boot, stream, seq, replayed=False))

    def names(self) -> set[Name]:
        """All results that ever had a number."""
        return {
            (self.name, *key, seq) for key, last in self.last.items() for seq in range(1, last + 1)
        }

    def kept_names(self) -> set[Name]:
        return {(self.name, *key, seq) for key, kept in self.kept.items() for seq in kept}

    def forget(self) -> None:
        """Retention: the oldest go, but of each boot something stays."""
        for kept in self.kept.values():
            del kept[: min(self.world.chance.randrange(20), len(kept) - 1)]

    def status(self) -> Status:
        ledger = [
            Ledger(
                boot=boot,
                stream=stream,
                first=kept[0] if kept else self.last[boot, stream] + 1,
                last=self.last[boot, stream],
                published_through=self.last[boot, stream],
            )
            for (boot, stream), kept in reversed(self.kept.items())
        ]
        return status(1, 0, 0, station=self.name, boot=self.boots[-1], ledger=ledger)

    def on_command(self, command: Command) -> None:
        boot, stream = command.args["boot"], command.args["stream"]
        kept, gone = SequenceSet(), []
        for seq in self.kept[boot, stream]:
            kept.add(seq)
        for first, last in command.args["ranges"]:
            gone += kept.missing(first, last)
            for seq in range(first, last + 1):
                if seq in kept:
                    self.replay(boot, stream, seq)
        message = Response(
            site="ulm",
            station=self.name,
            boot=self.boots[-1],
            id=command.id,
            op=command.op,
            ok=True,
            details={"sent": 0, "gone": gone},
        )
        self.world.send(lambda: self.listener.response(message))

    def replay(self, boot: str, stream: str, seq: int) -> None:
        self.world.send(lambda: self.listener.result(self.name, boot, stream, seq, replayed=True))


def names(gaps: list[Gap]) -> set[Name]:
    return {(g.station, g.boot, g.stream, n) for g in gaps for n in range(g.first, g.last + 1)}


def say(stations: list[Station], world: World, listener: Listener) -> None:
    for station in stations:
        world.send(partial(listener.status, station.status()))


def pass_on(stations: list[Station], world: World, asks: list[Ask]) -> None:
    for ask in asks:
        (station,) = (station for station in stations if station.name == ask.station)
        world.send(partial(station.on_command, ask.command))


def live(stations: list[Station], world: World, listener: Listener) -> None:
    """150 seconds of work on a bad network; sometimes nobody listens."""
    for turn in range(1500):
        world.step(0.1)
        if turn % 10 == 0:
            for station in stations:
                station.work()
            say(stations, world, listener)
        if turn % 100 == 50:
            for station in stations:
                station.forget()
        if turn % 400 == 333:
            stations[0].begin()
        if turn % 300 == 100:
            listener.leave()
        if turn % 300 == 150:
            listener.come()
        pass_on(stations, world, listener.due())


def settle(stations: list[Station], world: World, listener: Listener) -> None:
    """The work is over, the network stays bad for a while, and is good in the end."""
    for turn in range(2500):
        world.lossy = turn < 1000
        world.step(0.1)
        if turn % 20 == 0:
            say(stations, world, listener)
        pass_on(stations, world, listener.due())


@pytest.mark.parametrize("seed", range(12))
def test_in_the_end_all_is_given_once_or_known_to_be_lost(seed: int) -> None:
    world = World(random.Random(seed))  # noqa: S311 - no secret
    listener = Listener(world)
    stations = [Station(name, world, listener) for name in ("press4", "press5")]
    for station in stations:
        listener.status(station.status())
    live(stations, world, listener)
    settle(stations, world, listener)

    assert listener.tracker.gaps() == []
    given, lost = set(listener.given), names(listener.tracker.lost())
    assert len(listener.given) == len(given)  # nothing twice
    there = {name for station in stations for name in station.names()}
    assert {name for station in stations for name in station.kept_names()} <= given
    assert given | lost == there
    assert not given & lost
    assert names(listener.told) - given == lost
    assert names(listener.told) & given  # some were only late
    # Otherwise the test would say nothing.
    assert len(lost) > 10
    assert listener.tracker.repaired > 100
    assert listener.tracker.duplicates > 100
    assert len(stations[0].boots) == 4
