"""Subscribing to stations, knowing what is a duplicate and what is missing.

    from lineside.messages import Result
    from lineside.subscriber import Subscriber

    with Subscriber("mqtt://localhost") as subscriber:
        for message in subscriber:
            if isinstance(message, Result) and message.verdict == "ng":
                print(message.station, message.part.id, message.label, message.score)
            for gap in subscriber.tracker.gaps():
                print("missing", gap)

Results may arrive twice and in any order; (site, station, boot, stream, seq) is their key. What
a station has not published yet is no gap: it says how far it is in its status.
"""

from __future__ import annotations

import logging
import queue
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from typing_extensions import Self, override

from lineside.errors import BrokerError, MessageError
from lineside.messages import Message, Result, Status, decode
from lineside.mqtt import Hooks, Incoming, MqttClient
from lineside.sequence import SequenceSet
from lineside.settings import MqttSettings
from lineside.topics import Topic, Topics, check_name, parse_topic

log = logging.getLogger(__name__)

QUEUE: Final = 100_000
"""Messages that wait to be taken at most; then new ones are dropped and counted."""

MAX_TRACKS: Final = 10_000
"""Boots and streams that are kept track of at most; then the oldest is forgotten."""

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
    """

    site: str
    station: str
    boot: str
    stream: str
    first: int
    last: int

    @override
    def __str__(self) -> str:
        numbers = f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"
        return f"{self.site}/{self.station}/{self.stream} {numbers} of boot {self.boot}"


@dataclass
class Track:
    """What is known of one boot and stream.

    Attributes:
        seen: the sequence numbers that arrived.
        floor: the first number that was to come to us; None while that isn't known.
        published_through: how far the station says it has published.
        duplicates: results that arrived again.
    """

    seen: SequenceSet = field(default_factory=SequenceSet)
    floor: int | None = None
    published_through: int = 0
    duplicates: int = 0

    def missing(self) -> Iterator[tuple[int, int]]:
        """Ranges of numbers that were published since we listen, and did not arrive."""
        if self.floor is None:
            return iter(())
        return self.seen.missing(self.floor, self.published_through)


class Tracker:
    """Counts, duplicates and gaps of all stations. Pure: it is told of messages.

    Who comes late has missed nothing: of a boot that ran already, the first result that arrives
    tells where to begin. A boot that begins while its station is known is expected from 1 on.
    """

    def __init__(self) -> None:
        self.tracks: dict[Key, Track] = {}
        self._known: set[tuple[str, str]] = set()

    def take(self, message: Message, *, retained: bool = False) -> bool:
        """Note a message.

        Args:
            message: what came.
            retained: whether the broker had kept it.

        Returns:
            Whether it is new: False for a result that arrived before.
        """
        if isinstance(message, Result):
            track = self._track((message.site, message.station, message.boot, message.stream))
            if track.floor is None:
                track.floor = message.seq
            new = track.seen.add(message.seq)
            track.duplicates += not new
            return new
        if isinstance(message, Status):
            for line in message.ledger:
                track = self._track((message.site, message.station, line.boot, line.stream))
                if track.floor is None and line.last == 0 and not retained:
                    track.floor = 1
                track.published_through = max(track.published_through, line.published_through)
            self._known.add((message.site, message.station))
        return True

    def _track(self, key: Key) -> Track:
        track = self.tracks.get(key)
        if track is None:
            track = self.tracks[key] = Track(floor=1 if key[:2] in self._known else None)
            if len(self.tracks) > MAX_TRACKS:
                del self.tracks[next(iter(self.tracks))]
        return track

    def gaps(self) -> list[Gap]:
        """What was published and did not arrive."""
        return [
            Gap(*key, first, last)
            for key, track in self.tracks.items()
            for first, last in track.missing()
        ]

    @property
    def missing(self) -> int:
        """How many results were published and did not arrive."""
        return sum(gap.last - gap.first + 1 for gap in self.gaps())

    @property
    def duplicates(self) -> int:
        """How many results arrived again."""
        return sum(track.duplicates for track in self.tracks.values())


@dataclass(frozen=True, slots=True)
class Received:
    """A message with all that came with it.

    Attributes:
        message: what it says.
        topic: where it was published.
        payload: its bytes.
        retained: whether the broker had kept it, so that it may be old.
        mono_ns: when it came, in ns of this machine's monotonic clock.
    """

    message: Message
    topic: Topic
    payload: bytes
    retained: bool
    mono_ns: int


class Subscriber:
    """Messages of stations, as they come. See the module for an example.

    It connects in the background when it is entered or first asked, and stays connected for
    ever. Results that arrive again are counted and not given again; what is no message of a
    station is counted and logged.

    Args:
        mqtt: the broker, as a URL or with all settings. Their prefix is where the stations are.
        site: the site to listen to; `+` for all.
        station: the station to listen to; `+` for all.

    Attributes:
        tracker: counts, duplicates and gaps.
        counts: how many messages of each kind were given; `refused` for what was no message,
            `dropped` for what was not taken in time.

    Raises:
        SettingsError: the broker's settings contradict themselves.
        MessageError: no site or station may be called so.
    """

    def __init__(self, mqtt: MqttSettings | str, *, site: str = "+", station: str = "+") -> None:
        if isinstance(mqtt, str):
            mqtt = MqttSettings(url=mqtt)
        for what, name in (("site", site), ("station", station)):
            if name != "+":
                check_name(what, name)
        self.tracker = Tracker()
        self.counts: Counter[str] = Counter()
        self._prefix = mqtt.prefix
        topics = Topics(site, station, mqtt.prefix)
        filters = (topics.result("+"), topics.status(), topics.health(), topics.event())
        self._client = MqttClient(mqtt, f"lineside-{uuid.uuid4().hex[:14]}", subscriptions=filters)
        self._queue: queue.Queue[Incoming] = queue.Queue(QUEUE)
        self._refused: tuple[str, ...] = ()
        self._started = False
        self._was_connected = False

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection."""
        return self._client.connected

    @property
    def error(self) -> str | None:
        """Why there is no connection, in one line; None while there is one."""
        return self._client.error

    def start(self) -> None:
        """Begin to connect. Called by all that needs it."""
        if not self._started:
            self._started = True
            hooks = Hooks(on_message=self._on_message, on_subscribed=self._on_subscribed)
            self._client.start(hooks)

    def close(self) -> None:
        """End the connection."""
        self._client.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Message]:
        """Messages for ever, waiting for each.

        Raises:
            BrokerError: the broker refuses us.
        """
        while True:
            received = self.take(1.0)
            if received is not None:
                yield received.message

    def take(self, timeout_s: float) -> Received | None:
        """The next message, with all that came with it.

        Args:
            timeout_s: how long to wait for it.

        Returns:
            None if none came within the time.

        Raises:
            BrokerError: the broker refuses us, and never accepted us before.
        """
        self.start()
        until = time.monotonic() + timeout_s
        while True:
            self._check()
            left = until - time.monotonic()
            try:
                incoming = self._queue.get(timeout=max(0.0, min(left, 0.2)))
            except queue.Empty:
                if left <= 0:
                    return None
                continue
            received = self._read(incoming)
            if received is not None:
                return received

    def received(self, until: Callable[[], bool]) -> Iterator[Received]:
        """Messages until `until()` is true; it is asked several times a second.

        Raises:
            BrokerError: the broker refuses us.
        """
        while not until():
            received = self.take(0.1)
            if received is not None:
                yield received

    def _check(self) -> None:
        self._was_connected |= self._client.connected
        if self._client.refused and not self._was_connected:
            raise BrokerError(self._client.error)
        if self._refused:
            msg = f"broker {self._client.address} refuses the subscription {self._refused[0]}"
            raise BrokerError(msg)

    def _read(self, incoming: Incoming) -> Received | None:
        try:
            topic = parse_topic(incoming.topic, self._prefix)
            message = decode(topic.kind, incoming.payload)
        except MessageError as error:
            self.counts["refused"] += 1
            log.warning("%s: %s", incoming.topic, error)
            return None
        if not self.tracker.take(message, retained=incoming.retained):
            return None
        self.counts[topic.kind] += 1
        return Received(message, topic, incoming.payload, incoming.retained, incoming.mono_ns)

    # On the client's thread.

    def _on_message(self, incoming: Incoming) -> None:
        try:
            self._queue.put_nowait(incoming)
        except queue.Full:
            self.counts["dropped"] += 1

    def _on_subscribed(self, refused: tuple[str, ...]) -> None:
        self._refused = refused
