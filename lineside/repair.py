"""When to ask which station for what is missing.

Pure: it is told of messages, of the connection and of the time, and says what to ask for.

    gap known ──settle──▶ asked ──▶ replayed results … response ──▶ the next ranges at once
                            │                         └─ nothing came of it: pause, ask again
                            └─ no answer, or refused: pause, ask again

One command is on its way to a station at a time, for one boot and stream, so nothing is asked
for twice while it may still come. Pauses double up to a limit, and begin anew when something
arrives or the station comes back. It never gives up: what is gone for good, the station says.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

import msgspec

from lineside.commands import Command, Response
from lineside.messages import Status
from lineside.sequence import Range, SequenceSet
from lineside.tracker import Key, Track, Tracker

ASKED: Final = 1000
"""Commands that are remembered, so that a late response still tells what is gone."""

Where = tuple[str, str]
"""Site and station."""


@dataclass(frozen=True)
class Pace:
    """How fast and how patiently to ask.

    Attributes:
        settle_s: how long a gap may close by itself, in seconds.
        answer_s: how long a station may be silent after a command and after each result, in
            seconds; also when the command expires.
        pause_s: seconds before asking again in vain, at first and at most; doubled in between.
        ranges: ranges in one command at most; a station takes up to 100.
        results: results in one command at most. Brokers hold about 1000 for a subscriber that
            is slower than the station, and drop the rest.
        stations: stations that are asked at once at most; the others wait for their turn.
    """

    settle_s: float = 0.5
    answer_s: float = 30.0
    pause_s: tuple[float, float] = (1.0, 60.0)
    ranges: int = 100
    results: int = 1000
    stations: int = 20

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        low, high = self.pause_s
        return min(high, low * 2.0 ** min(failures - 1, 30))


@dataclass(frozen=True)
class Ask:
    """A command to send.

    Attributes:
        site: to whom.
        station: to whom.
        command: what to send.
    """

    site: str
    station: str
    command: Command


@dataclass
class _Asked:
    """A command that is not answered yet.

    Attributes:
        id: its id.
        key: of which boot and stream.
        ranges: which results.
        until: when it counts as unanswered; None while the broker doesn't have it.
    """

    id: str
    key: Key
    ranges: list[Range]
    until: float | None = None


@dataclass
class _Turn:
    """When to ask, for a station, or for a boot and stream of it.

    Attributes:
        at: not before this time.
        failures: how often nothing came of it, in a row.
    """

    at: float = 0.0
    failures: int = 0


@dataclass
class _Desk:
    """A station, as far as asking goes.

    Attributes:
        boot: its running boot.
        online: whether it can answer.
        asked: what it was asked for.
        turn: when to ask it again.
        trouble: why the last command brought nothing; None if it did.
    """

    boot: str = ""
    online: bool = False
    asked: _Asked | None = None
    turn: _Turn = field(default_factory=_Turn)
    trouble: str | None = None


class _Details(msgspec.Struct):
    """The details of a response to `replay`, as far as they matter here."""

    gone: list[tuple[int, int]] = []


class Repair:
    """Sees to it that what a tracker misses is asked for. Times are seconds of one clock.

    Args:
        tracker: what is missing; it is told what is gone.
        requester: our name in the topics of responses and replays.
        pace: how fast and how patiently to ask.
    """

    def __init__(self, tracker: Tracker, requester: str, pace: Pace) -> None:
        self._tracker = tracker
        self._requester = requester
        self._pace = pace
        self._desks: dict[Where, _Desk] = {}
        self._turns: OrderedDict[Key, _Turn] = OrderedDict()
        self._asked: OrderedDict[str, tuple[Key, list[Range]]] = OrderedDict()
        self._count = 0
        self._connected = False

    @property
    def troubles(self) -> dict[Where, str]:
        """For each station that can't be asked just now: why, in one line."""
        return {where: desk.trouble for where, desk in self._desks.items() if desk.trouble}

    # What it is told.

    def connected(self) -> None:
        """We hear what is sent to us."""
        self._connected = True

    def away(self) -> None:
        """We don't: what the broker has passed on already won't be answered to us."""
        self._connected = False
        for desk in self._desks.values():
            if desk.asked is not None and desk.asked.until is not None:
                desk.asked = None

    def heard(self, status: Status, now: float) -> None:
        """A station says whether it is there."""
        desk = self._desks.setdefault((status.site, status.station), _Desk())
        online = status.state != "offline"
        if status.boot != desk.boot:
            desk.asked = None  # the new boot knows nothing of it
        if (online and not desk.online) or status.boot != desk.boot:
            desk.turn, desk.trouble = _Turn(now), None
            for key, turn in self._turns.items():
                if key[:2] == (status.site, status.station):
                    turn.at, turn.failures = min(turn.at, now + self._pace.settle_s), 0
        desk.boot, desk.online = status.boot, online

    def sent(self, id: str, refusal: str | None, now: float) -> None:  # noqa: A002 - the field's name
        """The broker has a command, or refuses it.

        Args:
            id: of the command.
            refusal: why the broker refuses it; None if it does not.
            now: when.
        """
        for where, desk in self._desks.items():
            if desk.asked is not None and desk.asked.id == id:
                if refusal is None:
                    desk.asked.until = now + self._pace.answer_s
                else:
                    self._failed(desk, f"the broker refuses commands to {where[1]}: {refusal}", now)

    def arrived(self, key: Key, now: float) -> None:
        """A replayed result came."""
        desk = self._desks.get(key[:2])
        if desk is not None and desk.asked is not None and desk.asked.key == key:
            desk.asked.until, desk.trouble = now + self._pace.answer_s, None

    def answered(self, response: Response, now: float) -> None:
        """A station has answered a command.

        Raises:
            msgspec.ValidationError: its details are not those of a replay.
        """
        where = (response.site, response.station)
        known = self._asked.pop(response.id or "", None)
        if known is None or known[0][:2] != where:
            return
        key, ranges = known
        if response.ok:
            details = msgspec.convert(response.details, _Details)
            self._tracker.lose(key, _both(ranges, details.gone))
        desk = self._desks[where]
        if desk.asked is None or desk.asked.id != response.id:
            return
        if not response.ok:
            self._failed(desk, response.reason or "refused", now)
            return
        desk.asked, desk.trouble, desk.turn = None, None, _Turn(now)
        turn = self._turns.get(key)
        track = self._tracker.tracks.get(key)
        if turn is None or track is None:
            return
        left = [gap for asked in ranges for gap in track.settled.missing(*asked)]
        if not left:
            turn.at, turn.failures = now, 0
        elif _count(left) < _count(ranges):
            turn.at, turn.failures = now + self._pace.settle_s, 0
        else:  # it says that it sent them
            turn.failures += 1
            turn.at = now + self._pace.pause(turn.failures)

    # What it says.

    def due(self, now: float) -> list[Ask]:
        """What to ask for now; it counts as asked from here on."""
        for waits in self._desks.values():
            asked = waits.asked
            if asked is not None and asked.until is not None and asked.until <= now:
                self._failed(waits, f"no answer within {self._pace.answer_s:g} s", now)
        incomplete = self._tracker.incomplete
        for key in [key for key in self._turns if key not in incomplete]:
            del self._turns[key]
        for key in incomplete - self._turns.keys():
            self._turns[key] = _Turn(now + self._pace.settle_s)
        if not self._connected:
            return []
        asks: list[Ask] = []
        room = self._pace.stations - sum(desk.asked is not None for desk in self._desks.values())
        for key, turn in list(self._turns.items()):
            if len(asks) >= room:
                break
            desk = self._desks.get(key[:2])  # None: only results came yet
            if desk is None or not desk.online or desk.asked is not None:
                continue
            if max(desk.turn.at, turn.at) <= now:
                self._turns.move_to_end(key)  # the others first, next time
                asks.append(self._ask(desk, key, self._tracker.tracks[key]))
        return asks

    def _ask(self, desk: _Desk, key: Key, track: Track) -> Ask:
        site, station, boot, stream = key
        ranges: list[Range] = []
        room = self._pace.results
        for first, last in track.missing():
            ranges.append((first, min(last, first + room - 1)))
            room -= ranges[-1][1] - first + 1
            if room == 0 or len(ranges) == self._pace.ranges:
                break
        self._count += 1
        command = Command(
            id=f"{self._requester}-{self._count}",
            requester=self._requester,
            expires_s=self._pace.answer_s,
            op="replay",
            args={"stream": stream, "boot": boot, "ranges": ranges},
        )
        desk.asked = _Asked(command.id, key, ranges)
        self._asked[command.id] = (key, ranges)
        if len(self._asked) > ASKED:
            self._asked.popitem(last=False)
        return Ask(site, station, command)

    def _failed(self, desk: _Desk, why: str, now: float) -> None:
        desk.asked, desk.trouble = None, why
        desk.turn.failures += 1
        desk.turn.at = now + self._pace.pause(desk.turn.failures)


def _count(ranges: list[Range]) -> int:
    return sum(last - first + 1 for first, last in ranges)


def _both(asked: list[Range], said: list[Range]) -> list[Range]:
    """What is in both."""
    there = SequenceSet()
    for first, last in said:
        there.add_range(first, last)
    found: list[Range] = []
    for first, last in asked:
        at = first
        for a, b in there.missing(first, last):
            if at < a:
                found.append((at, a - 1))
            at = b + 1
        if at <= last:
            found.append((at, last))
    return found
