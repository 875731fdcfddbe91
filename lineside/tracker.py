"""What of the stations' results arrived, what arrived twice, what is missing and what is lost.

Pure: it is told of messages, and of what stations say is gone; it does no input or output.

Results may arrive twice and in any order; (site, station, boot, stream, seq) is their key. What
a station has not published yet is no gap: it says how far it is in its status. What it does not
keep any more is lost, and no gap either: nobody can bring it.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec
from typing_extensions import override

from lineside.messages import Event, Message, Result, Status
from lineside.sequence import Range, SequenceSet

log = logging.getLogger(__name__)

MAX_TRACKS: Final = 10_000
"""Boots and streams that are kept track of at most; then what no ledger names is forgotten."""

MAX_NEWS: Final = 100_000
"""Gaps found lost that wait to be told at most; then the oldest are left out."""

MAX_EVENTS: Final = 1000
"""Events about lost results that are remembered, so that one that comes twice counts once."""

Since = Literal["now", "kept"]
"""What is expected of a boot that ran already: what comes from now on, or all that is kept."""

Key = tuple[str, str, str, str]
"""Site, station, boot and stream."""


@dataclass(frozen=True)
class Gap:
    """Results that were published and did not arrive.

    Attributes:
        site: whose they are.
        station: whose they are.
        boot: of which start of the agent.
        stream: of which stream.
        first: the first sequence number that is missing.
        last: the last one; all between them are missing too.
        lost: whether they can't be had any more: the station does not keep them. The broker may
            have brought them to others.
    """

    site: str
    station: str
    boot: str
    stream: str
    first: int
    last: int
    lost: bool = False

    def __len__(self) -> int:
        """How many results it is about."""
        return self.last - self.first + 1

    @override
    def __str__(self) -> str:
        numbers = f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"
        lost = ", not kept any more" if self.lost else ""
        return f"{self.site}/{self.station}/{self.stream} {numbers} of boot {self.boot}{lost}"


@dataclass
class Track:
    """What is known of one boot and stream.

    Attributes:
        settled: the sequence numbers that arrived or are lost.
        gone: those of them that are lost.
        floor: the first number that was to come to us; None while that isn't known.
        published_through: how far the station says it has published.
        last: the newest number that the station said it has given; None if it said nothing.
        duplicates: results that arrived again.
        repaired: results that arrived because someone asked for them.
    """

    settled: SequenceSet = field(default_factory=SequenceSet)
    gone: SequenceSet = field(default_factory=SequenceSet)
    floor: int | None = None
    published_through: int = 0
    last: int | None = None
    duplicates: int = 0
    repaired: int = 0

    def take(self, seq: int) -> bool:
        """Note a result; whether it is new."""
        new = self.settled.add(seq) or self.gone.discard(seq)
        self.duplicates += not new
        return new

    def lose(self, first: int, last: int) -> list[Range]:
        """Note what is gone; the ranges of it that had not arrived, were awaited, and are new."""
        found = list(self.settled.missing(first, last))
        for a, b in found:
            self.settled.add_range(a, b)
            self.gone.add_range(a, b)
        if self.floor is None:
            return []
        return [(max(a, self.floor), b) for a, b in found if b >= self.floor]

    def missing(self) -> Iterator[Range]:
        """Ranges of numbers that were published since we listen, and did not arrive."""
        if self.floor is None:
            return iter(())
        return self.settled.missing(self.floor, self.published_through)

    def lost(self) -> Iterator[Range]:
        """Ranges of numbers that were to come to us, and are gone for good."""
        if self.floor is not None:
            for first, last in self.gone.ranges():
                if last >= self.floor:
                    yield max(first, self.floor), last

    def end(self) -> None:
        """The boot is over and its station holds nothing of it: all that it gave was published."""
        given = max((last for _, last in self.settled.ranges()), default=0)
        self.published_through = max(self.published_through, self.last or 0, given)


class _Loss(msgspec.Struct):
    """Results that a station had to delete, as its event `results_lost` lists them."""

    boot: str
    stream: str
    first: int
    last: int


class _Losses(msgspec.Struct):
    """The details of an event `results_lost`."""

    lost: list[_Loss] = []
    dropped: dict[str, int] = {}
    """For each stream: results that never got a number, so that no gap tells of them."""


class Tracker:
    """Counts, duplicates, gaps and losses of all stations.

    Who comes late has missed nothing: of a boot that ran already, the first result that arrives
    tells where to begin; or, with `since="kept"`, all is expected that the station keeps when
    we first hear of it. A boot that begins while its station is known is expected from 1 on.

    Args:
        since: what is expected of boots that ran already.

    Attributes:
        tracks: what is known of each boot and stream.
        incomplete: the keys of those of which something is missing.
        news: gaps that were found to be lost, for someone to take.
        dropped: for each site, station and stream, how many results never got a number, because
            the station could not keep them.
    """

    def __init__(self, *, since: Since = "now") -> None:
        self.tracks: OrderedDict[Key, Track] = OrderedDict()
        self.incomplete: set[Key] = set()
        self.news: deque[Gap] = deque(maxlen=MAX_NEWS)
        self.dropped: Counter[tuple[str, str, str]] = Counter()
        self._since = since
        self._boots: dict[tuple[str, str], dict[Key, None]] = {}
        self._known: set[tuple[str, str]] = set()
        self._offline: set[tuple[str, str]] = set()
        self._forgotten: set[tuple[str, str]] = set()
        self._events: OrderedDict[tuple[object, ...], None] = OrderedDict()

    def take(self, message: Message, *, retained: bool = False, replayed: bool = False) -> bool:
        """Note a message.

        Args:
            message: what came.
            retained: whether the broker had kept it.
            replayed: whether it came because someone asked for it.

        Returns:
            Whether it is new: False for a result that arrived before.
        """
        if isinstance(message, Result):
            return self._take_result(message, replayed=replayed)
        if isinstance(message, Status):
            self._take_status(message, retained=retained)
        elif isinstance(message, Event) and message.kind == "results_lost":
            self._take_losses(message)
        return True

    def lose(self, key: Key, ranges: Iterable[Range]) -> None:
        """Note what a station does not keep any more. What did arrive is not lost for that."""
        track = self._track(key)
        for first, last in ranges:
            found = track.lose(first, last)
            self.news.extend(Gap(*key, a, b, lost=True) for a, b in found)
        self._look(key, track)

    def away(self) -> None:
        """We don't hear the stations now: what they give from here on is missed, not late."""
        for key, track in self.tracks.items():
            # A last will may be older than what came before us.
            if track.floor is None and track.last is not None and key[:2] not in self._offline:
                track.floor = track.last + 1

    def gaps(self) -> list[Gap]:
        """What was published, did not arrive, and may still come."""
        return [
            Gap(*key, first, last)
            for key, track in self.tracks.items()
            if key in self.incomplete
            for first, last in track.missing()
        ]

    def lost(self) -> list[Gap]:
        """What was to come to us and is gone for good."""
        return [
            Gap(*key, first, last, lost=True)
            for key, track in self.tracks.items()
            for first, last in track.lost()
        ]

    @property
    def missing(self) -> int:
        """How many results were published, did not arrive, and may still come."""
        return sum(len(gap) for gap in self.gaps())

    @property
    def duplicates(self) -> int:
        """How many results arrived again."""
        return sum(track.duplicates for track in self.tracks.values())

    @property
    def repaired(self) -> int:
        """How many results arrived because someone asked for them."""
        return sum(track.repaired for track in self.tracks.values())

    def _take_result(self, result: Result, *, replayed: bool) -> bool:
        key = (result.site, result.station, result.boot, result.stream)
        track = self._track(key)
        if track.floor is None and self._since == "now":
            track.floor = result.seq
        new = track.take(result.seq)
        track.repaired += new and replayed
        if key in self.incomplete:
            self._look(key, track)
        return new

    def _take_status(self, status: Status, *, retained: bool) -> None:
        station = (status.site, status.station)
        offline = status.state == "offline"
        had = {key[2] for key in self._boots.get(station, ())}
        passed = False
        for line in status.ledger:
            # The newest are listed first: what we don't know behind one that we know is older.
            passed = passed or line.boot in had
            key = (*station, line.boot, line.stream)
            # What a last will says is as old as its connection.
            kept = None if offline else line.first
            track = self._track(key, kept=kept, older=passed and line.boot not in had)
            self.tracks.move_to_end(key)
            if track.floor is None and line.last == 0 and not retained:
                track.floor = 1
            track.published_through = max(track.published_through, line.published_through)
            track.last = max(track.last or 0, line.last)
            self._look(key, track)
        self._known.add(station)
        self._forgotten.discard(station)
        if offline:
            self._offline.add(station)
        else:
            self._offline.discard(station)
            listed = {(line.boot, line.stream) for line in status.ledger}
            for key in self._boots.get(station, ()):
                if key[2] != status.boot and key[2:] not in listed:
                    self.tracks[key].end()
                    self._look(key, self.tracks[key])

    def _take_losses(self, event: Event) -> None:
        station = (event.site, event.station)
        once = (*station, event.boot, event.at, event.message)
        if once in self._events:
            return
        self._events[once] = None
        if len(self._events) > MAX_EVENTS:
            self._events.popitem(last=False)
        try:
            losses = msgspec.convert(event.details, _Losses)
        except msgspec.ValidationError as error:
            log.warning("results_lost of %s/%s can't be read: %s", *station, error)
            return
        for loss in losses.lost:
            self.lose((*station, loss.boot, loss.stream), [(loss.first, loss.last)])
        for stream, count in losses.dropped.items():
            self.dropped[(*station, stream)] += count

    def _look(self, key: Key, track: Track) -> None:
        """Note whether something is missing there."""
        if next(track.missing(), None) is None:
            self.incomplete.discard(key)
        else:
            self.incomplete.add(key)

    def _track(self, key: Key, *, kept: int | None = None, older: bool = False) -> Track:
        """The track of a key, begun if it is new.

        Args:
            key: whose.
            kept: the oldest number that is kept, where the ledger says so.
            older: whether the boot is older than one that we know.
        """
        track = self.tracks.get(key)
        station = key[:2]
        if track is None:
            track = self.tracks[key] = Track()
            self._boots.setdefault(station, {})[key] = None
            if station in self._forgotten:
                pass  # perhaps we had it all before: the first result tells where to begin
            elif station in self._known and not older:
                track.floor = 1
            elif self._since == "kept":
                track.floor = kept
            if len(self.tracks) > MAX_TRACKS:
                self._forget(next(iter(self.tracks)))
        elif track.floor is None and self._since == "kept" and station not in self._forgotten:
            track.floor = kept
        return track

    def _forget(self, key: Key) -> None:
        station = key[:2]
        del self.tracks[key], self._boots[station][key]
        self.incomplete.discard(key)
        self._forgotten.add(station)
