"""Subscribing to stations, knowing what is a duplicate, what is missing, and getting it again.

    from lineside.messages import Result
    from lineside.subscriber import Gap, Subscriber

    with Subscriber("mqtt://localhost", repair=True) as subscriber:
        for message in subscriber:
            if isinstance(message, Result) and message.verdict == "ng":
                print(message.station, message.part.id, message.label, message.score)
            elif isinstance(message, Gap):
                print("missed:", message)

Each result is given once, in whatever order it comes. What was published and did not arrive is
asked for again, by itself: see `lineside.tracker` for what is missing, and `lineside.repair` for
when it is asked for. What no station keeps any more comes as a `Gap` that is lost.
"""

from __future__ import annotations

import logging
import queue
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec
from typing_extensions import Self

from lineside import commands
from lineside.commands import Response
from lineside.errors import BrokerError, MessageError, SettingsError
from lineside.messages import Event, Health, Message, Result, Status, decode
from lineside.mqtt import Delivery, Hooks, Incoming, MqttClient, Outgoing
from lineside.repair import Ask, Pace, Repair
from lineside.settings import MqttSettings
from lineside.topics import Topic, Topics, check_name, parse_topic
from lineside.tracker import Gap, Since, Tracker

__all__ = ["Gap", "Pace", "Received", "Subscriber"]

log = logging.getLogger(__name__)

QUEUE: Final = 100_000
"""Messages that wait to be taken at most; then new ones are dropped and counted."""

TURN_S: Final = 0.05
"""Seconds between looks at what there is to ask for."""

Item = Result | Status | Health | Event | Gap
"""What a subscriber gives: what stations say, and gaps that nobody can close."""


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

    message: Result | Status | Health | Event
    topic: Topic
    payload: bytes
    retained: bool
    mono_ns: int


class Subscriber:
    """Messages of stations, as they come. See the module for an example.

    It connects in the background when it is entered or first asked, and stays connected for
    ever. Results that arrive again are counted and not given again; what is no message of a
    station is counted and logged. All the rest happens while it is asked for messages, by one
    thread at a time: who does not ask gets no repair.

    Args:
        mqtt: the broker, as a URL or with all settings. Their prefix is where the stations are.
        site: the site to listen to; `+` for all.
        station: the station to listen to; `+` for all.
        repair: whether to ask the stations for what is missing, and to give a `Gap` for what is
            lost. At the broker it needs the right to publish commands to them.
        since: `now`, or `kept`: also everything that the stations still keep from before, which
            takes `repair`.
        pace: how fast and how patiently to ask.

    Attributes:
        requester: our name in the topics of responses and replays, and at the broker.
        tracker: counts, duplicates, gaps and losses.
        counts: how many messages of each kind were given (replayed results as `replay`);
            `refused` for what was no message, `dropped` for what was not taken in time.

    Raises:
        SettingsError: the broker's settings contradict themselves, or `since` and `repair` do.
        MessageError: no site or station may be called so.
    """

    def __init__(
        self,
        mqtt: MqttSettings | str,
        *,
        site: str = "+",
        station: str = "+",
        repair: bool = False,
        since: Since = "now",
        pace: Pace | None = None,
    ) -> None:
        if isinstance(mqtt, str):
            mqtt = MqttSettings(url=mqtt)
        for what, name in (("site", site), ("station", station)):
            if name != "+":
                check_name(what, name)
        if since == "kept" and not repair:
            msg = "since 'kept' is refused without repair: what is kept has to be asked for"
            raise SettingsError(msg)
        self.requester = f"lineside-{uuid.uuid4().hex[:14]}"
        self.tracker = Tracker(since=since)
        self.counts: Counter[str] = Counter()
        self._prefix = mqtt.prefix
        self._repair = Repair(self.tracker, self.requester, pace or Pace()) if repair else None
        topics = Topics(site, station, mqtt.prefix)
        filters = [topics.result("+"), topics.status(), topics.health(), topics.event()]
        if repair:
            filters += [topics.response(self.requester), topics.replay(self.requester, "+")]
        self._client = MqttClient(mqtt, self.requester, subscriptions=filters)
        # What came, and what else happened on the client's thread, in one order.
        self._queue: queue.SimpleQueue[Incoming | Callable[[], None]] = queue.SimpleQueue()
        self._lost: deque[Gap] = deque()
        self._turn_at = 0.0
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

    @property
    def troubles(self) -> dict[tuple[str, str], str]:
        """For each site and station that can't be asked for what is missing: why, in one line."""
        return {} if self._repair is None else self._repair.troubles

    def start(self) -> None:
        """Begin to connect. Called by all that needs it."""
        if not self._started:
            self._started = True
            hooks = Hooks(
                on_message=self._on_message,
                on_subscribed=self._on_subscribed,
                on_disconnect=lambda: self._queue.put(self._away),
            )
            self._client.start(hooks)

    def close(self) -> None:
        """End the connection."""
        self._client.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Item]:
        """Messages for ever, waiting for each; with repair also what is lost.

        Raises:
            BrokerError: the broker refuses us.
        """
        while True:
            received = self.take(1.0)
            if received is not None:
                yield received if isinstance(received, Gap) else received.message

    def take(self, timeout_s: float) -> Received | Gap | None:
        """The next message, with all that came with it; with repair also what is lost.

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
            if self._lost:
                return self._lost.popleft()
            left = until - time.monotonic()
            try:
                item = self._queue.get(timeout=max(0.0, min(left, TURN_S)))
            except queue.Empty:
                self._turn(time.monotonic())
                if left <= 0:
                    return None
                continue
            if not isinstance(item, Incoming):
                item()
                continue
            received = self._read(item)
            self._turn(item.mono_ns / 1e9)
            if received is not None:
                return received

    def received(self, until: Callable[[], bool]) -> Iterator[Received | Gap]:
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
        now = incoming.mono_ns / 1e9
        try:
            topic = parse_topic(incoming.topic, self._prefix)
            message = decode("result" if topic.kind == "replay" else topic.kind, incoming.payload)
            _check_sender(topic, message)
            if isinstance(message, Response):
                self._answered(message, now)
                return None
        except MessageError as error:
            self.counts["refused"] += 1
            log.warning("%s: %s", incoming.topic, error)
            return None
        replayed = topic.kind == "replay"
        new = self.tracker.take(message, retained=incoming.retained, replayed=replayed)
        if self._repair is not None:
            if isinstance(message, Status):
                self._repair.heard(message, now)
            elif replayed and isinstance(message, Result):
                key = (message.site, message.station, message.boot, message.stream)
                self._repair.arrived(key, now)
        self._tell_lost()
        if not new:
            return None
        self.counts[topic.kind] += 1
        return Received(message, topic, incoming.payload, incoming.retained, incoming.mono_ns)

    def _answered(self, response: Response, now: float) -> None:
        if self._repair is not None:
            try:
                self._repair.answered(response, now)
            except msgspec.ValidationError as error:
                msg = f"the details of the response are refused: {error}"
                raise MessageError(msg) from error
            self._tell_lost()
            self._turn_at = 0.0

    def _tell_lost(self) -> None:
        news = self.tracker.news
        if news and self._repair is not None:
            self._lost.extend(news)
        news.clear()

    def _turn(self, now: float) -> None:
        """Ask for what is due.

        `now` is when what we have taken so far came, so that what is still in the queue is not
        asked for, and not taken for silence.
        """
        if self._repair is None or now < self._turn_at:
            return
        self._turn_at = now + TURN_S
        for ask in self._repair.due(now):
            self._ask(ask)

    def _ask(self, ask: Ask) -> None:
        topic = Topics(ask.site, ask.station, self._prefix).command()
        payload = commands.encode(ask.command)
        log.debug("asking %s/%s: %s", ask.site, ask.station, payload)
        sent = partial(self._on_sent, ask.command.id)
        expiry_s = max(1, round(ask.command.expires_s))
        self._client.publish(Outgoing(topic, payload, on_done=sent, expiry_s=expiry_s))

    def _away(self) -> None:
        self.tracker.away()
        if self._repair is not None:
            self._repair.away()

    # On the client's thread.

    def _on_message(self, incoming: Incoming) -> None:
        if self._queue.qsize() < QUEUE:
            self._queue.put(incoming)
        else:
            self.counts["dropped"] += 1

    def _on_subscribed(self, refused: tuple[str, ...]) -> None:
        self._refused = refused
        if self._repair is not None:
            self._queue.put(self._repair.connected)

    def _on_sent(self, command_id: str, delivery: Delivery) -> None:
        if self._repair is not None:
            refusal = None if delivery.ok else delivery.reason
            self._queue.put(partial(self._repair.sent, command_id, refusal, time.monotonic()))


def _check_sender(topic: Topic, message: Message) -> None:
    """What a station may say is ruled by its topics, so nobody speaks for another.

    Raises:
        MessageError: the message names another site, station or stream than its topic.
    """
    said, ruled = [message.site, message.station], [topic.site, topic.station]
    if isinstance(message, Result):
        said.append(message.stream)
        ruled.append(topic.stream or "")
    if said != ruled:
        msg = f"a message of {'/'.join(said)} is refused on a topic of {'/'.join(ruled)}"
        raise MessageError(msg)
