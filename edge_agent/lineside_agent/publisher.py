"""What is on disk goes to the broker: live results, then events, then the backlog, until done.

    offer (live) ──┐
                   ├─▶ sent: at most WINDOW ──▶ MqttClient ──▶ done ──▶ taken by the keeper
    refill (disk) ─┘         │     ▲
                             │     └── replay: on request, while nothing else waits
                             └─ refused: kept, and tried again later

MQTT 5: a message is done when the broker acknowledged it with success. MQTT 3.1.1 has no word
for a refusal, so there it is done when it came back to us, since we subscribe to our own
results; one that was acknowledged and does not come back within ECHO_S counts as unconfirmed
and is not repeated for ever.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Literal

from lineside.errors import BrokerError
from lineside.mqtt import Delivery, Incoming, Outgoing
from lineside.topics import Topics
from lineside_agent.records import EVENTS, Row, State
from lineside_agent.underway import Awaited, Gate, Replay

WINDOW: Final = 64
"""Messages handed to the client at most; it has up to 20 of them in flight."""

LIVE: Final = 1000
"""Live messages held in memory at most; others wait on disk and come as backlog."""

PAGE: Final = 1000
"""Messages read from disk at once."""

REPLAYED: Final = 10
"""Replayed messages handed to the client at most: half of what it has in flight, so that a live
result finds room at once."""

ECHO_S: Final = 10.0
"""Seconds that a message may take to come back over MQTT 3.1.1."""

ECHOES: Final = 1000
"""Acknowledged messages whose echo is awaited at most."""

RETRY_S: Final = 30.0
"""Seconds until a refused message is tried again."""

REFUSED: Final = 1000
"""Refused messages held in memory at most; others wait on disk."""


class Publisher:
    """Feeds the MQTT client from memory and notes what became of each message.

    Its methods may be called from any thread and never wait for disk or network.

    Args:
        send: gives a message to the client, such as `MqttClient.publish`; what it refuses with a
            BrokerError, it is given again later.
        topics: of the station.
        echo: whether a message is done only when it came back (MQTT 3.1.1).

    Attributes:
        wake: called when there is something for the keeper to do.
        refused: how many messages the broker refused, each time anew.
        results: how results go, and why the broker refuses them, where it does.
        events: the same of events, which another rule of the broker may be about.
        delivery: `unconfirmed` while messages are acknowledged and don't come back.
    """

    def __init__(
        self,
        send: Callable[[Outgoing], None],
        topics: Topics,
        *,
        echo: bool,
    ) -> None:
        self._send = send
        self._topics = topics
        self._echo = echo
        self._lock = threading.Lock()
        self._live: deque[Row] = deque()
        self._events: deque[Row] = deque()
        self._backlog: deque[Row] = deque()
        self._sent: dict[int, Row] = {}
        self._refused: dict[int, tuple[Row, float]] = {}
        self._awaited: dict[tuple[str, bytes], Awaited] = {}
        self._done: list[tuple[int, State]] = []
        self._held: set[int] = set()
        self._orphans: set[int] = set()
        self._replay: Replay | None = None
        self.wake: Callable[[], None] = lambda: None
        self.refused = 0
        self.results = Gate()
        self.events = Gate()
        self.delivery: Literal["confirmed", "unconfirmed"] = "confirmed"

    @classmethod
    def subscriptions(cls, topics: Topics) -> tuple[str, ...]:
        """What a client subscribes to, to hear its own messages back."""
        return (topics.result("+"), topics.event())

    # What the keeper calls.

    def offer(self, rows: Iterable[Row]) -> None:
        """Take what was committed just now; what there is no room for comes back as backlog."""
        with self._lock:
            for row in rows:
                if len(self._live) >= LIVE:
                    break
                (self._events if row.stream == EVENTS else self._live).append(row)
                self._held.add(row.id)
            self._pump()

    def refill(self, rows: Iterable[Row]) -> None:
        """Take messages read from disk; those that are held already are left out."""
        with self._lock:
            for row in rows:
                if row.id not in self._held:
                    self._behind(row).append(row)
                    self._held.add(row.id)
            self._pump()

    def wants_backlog(self, pending: int) -> bool:
        """Whether to read from disk, where `pending` messages are not done."""
        held = len(self._held) - len(self._orphans)
        return len(self._backlog) < PAGE // 2 and pending > held

    @property
    def done_count(self) -> int:
        """How many messages are done and not taken."""
        return len(self._done)

    def take_done(self) -> list[tuple[int, State]]:
        """What is done, since the last call."""
        with self._lock:
            done, self._done = self._done, []
            return done

    def give_back(self, done: list[tuple[int, State]]) -> None:
        """What was taken could not be noted on disk."""
        with self._lock:
            self._done[:0] = done

    def withdraw(self, numbers: Sequence[int]) -> list[int]:
        """Give up messages that must go from the disk.

        Args:
            numbers: their ids.

        Returns:
            Those that are held no more, or never were. The others may have reached the broker.
        """
        with self._lock:
            held = self._held.intersection(numbers)
            if held:
                rows = (*self._live, *self._events, *self._backlog)
                waiting = {row.id for row in rows} | self._refused.keys()
                gone = held & waiting
                self._live = deque(row for row in self._live if row.id not in gone)
                self._events = deque(row for row in self._events if row.id not in gone)
                self._backlog = deque(row for row in self._backlog if row.id not in gone)
                for number in gone & self._refused.keys():
                    del self._refused[number]
                self._held -= gone
                self._orphans -= gone
                held -= gone
            return [number for number in numbers if number not in held]

    def forget(self, done: Iterable[tuple[int, State]]) -> None:
        """What was taken is noted on disk, so the backlog won't bring it again."""
        with self._lock:
            numbers = [number for number, _ in done]
            self._held.difference_update(numbers)
            self._orphans.difference_update(numbers)

    def orphan(self) -> None:
        """The file that what is held came from is gone: it is still sent, but is on no disk."""
        with self._lock:
            self._orphans.update(self._held)

    # What the desk calls.

    def replay(self, topic: str, payloads: Sequence[bytes], then: Callable[[int], None]) -> bool:
        """Send messages again, in order, while nothing live and no backlog waits.

        What becomes of them changes neither what is done nor what is refused.

        Args:
            topic: where.
            payloads: as they were; a page of them.
            then: called once, on the client's thread, with how many the broker acknowledged. It
                does not get the rest once it has refused one.

        Returns:
            False if another replay is on its way; then nothing is sent.
        """
        replay = Replay(topic, deque(payloads), then)
        if not payloads:
            then(0)
            return True
        with self._lock:
            if self._replay is not None:
                return False
            self._replay = replay
            self._pump()
        return True

    # What the client calls.

    def on_message(self, message: Incoming) -> None:
        """A message came: perhaps our own, back from the broker."""
        with self._lock:
            awaited = self._awaited.pop((message.topic, message.payload), None)
            if awaited is None:
                return
            self.delivery = "confirmed"
            if awaited.row is not None:
                self._finish(awaited.row, State.CONFIRMED)
            self._pump()

    def on_subscribed(self, refused: tuple[str, ...]) -> None:
        """The broker answered our subscriptions."""
        if self._echo and set(refused) & set(self.subscriptions(self._topics)):
            with self._lock:
                self.delivery = "unconfirmed"

    def on_disconnect(self) -> None:
        """The connection was lost: what was acknowledged and did not come back goes again.

        What was not acknowledged, the client sends again itself.
        """
        with self._lock:
            rows = [a.row for a in self._awaited.values() if a.row is not None]
            again = [row for row in rows if row.id not in self._sent]
            for row in reversed(again):
                self._behind(row).appendleft(row)
            self._awaited = {
                key: a
                for key, a in self._awaited.items()
                if a.row is not None and a.row.id in self._sent
            }
            self._pump()

    def tick(self) -> None:
        """Look at the clock: echoes that did not come, refused messages to try again."""
        now = time.monotonic()
        with self._lock:
            for key, awaited in list(self._awaited.items()):
                if awaited.until is None or awaited.until > now:
                    continue
                if awaited.row is not None:
                    self.delivery = "unconfirmed"
                    self._finish(awaited.row, State.UNCONFIRMED)
                del self._awaited[key]
            for row, again_at in list(self._refused.values()):
                if again_at <= now:
                    del self._refused[row.id]
                    self._behind(row).append(row)
            self._pump()

    # Behind the lock.

    def _pump(self) -> None:
        """Hand over what waits, as far as the windows go."""
        self._pump_rows()
        replay = self._replay
        if replay is not None and self._next() is None and not self.results.refusals:
            while replay.waiting and replay.on_way < REPLAYED:
                answered = partial(self._replayed, replay)
                try:
                    self._send(Outgoing(replay.topic, replay.waiting[0], on_done=answered))
                except BrokerError:
                    return
                replay.on_way += 1
                replay.waiting.popleft()

    def _behind(self, row: Row) -> deque[Row]:
        """Where a message waits that is not a live result."""
        return self._events if row.stream == EVENTS else self._backlog

    def _next(self) -> deque[Row] | None:
        """What is to go next: live results, then events, then the backlog."""
        if self._live and self.results.is_open:
            return self._live
        if self._events and self.events.is_open:
            # The same event once more has to wait: whose echo came could not be said.
            twin = self._awaited.get((self._topics.event(), self._events[0].payload))
            if twin is None or twin.row is None:
                return self._events
        return self._backlog if self._backlog and self.results.is_open else None

    def _pump_rows(self) -> None:
        """Hand over what waits, as far as the window goes."""
        while len(self._sent) < WINDOW and (waiting := self._next()) is not None:
            if self._echo and self.delivery == "confirmed" and len(self._awaited) >= ECHOES:
                return
            row = waiting[0]
            is_event = row.stream == EVENTS
            topic = self._topics.event() if is_event else self._topics.result(row.stream)
            answered = partial(self._answered, row, topic)
            try:
                self._send(Outgoing(topic, row.payload, on_done=answered))
            except BrokerError:  # it has too much of others to send: again at the next tick
                return
            waiting.popleft()
            if len(self._backlog) == PAGE // 2 - 1:
                self.wake()
            self._sent[row.id] = row
            self._gate(row).on_way += 1
            if self._echo:
                self._await_echo((topic, row.payload), row)

    def _await_echo(self, key: tuple[str, bytes], row: Row) -> None:
        if len(self._awaited) >= 2 * ECHOES:  # only where echoes don't come
            oldest = next(iter(self._awaited))
            if self._awaited[oldest].row is None:
                del self._awaited[oldest]
        self._awaited[key] = Awaited(row)

    def _answered(self, row: Row, topic: str, delivery: Delivery) -> None:
        """The broker acknowledged a message, or refused it."""
        with self._lock:
            if self._sent.pop(row.id, None) is None:
                return  # forgotten meanwhile
            self._gate(row).on_way -= 1
            if not delivery.ok:
                self._refuse(row, topic, delivery.reason)
            else:
                self._gate(row).taken()
                if self._echo:
                    self._acknowledged((topic, row.payload), row)
                else:
                    self._finish(row, State.CONFIRMED)
            self._pump()

    def _replayed(self, replay: Replay, delivery: Delivery) -> None:
        """The broker acknowledged a replayed message, or refused it."""
        with self._lock:
            replay.on_way -= 1
            if delivery.ok:
                replay.sent += 1
            else:
                replay.waiting.clear()
            self._pump()
            if replay.waiting or replay.on_way:
                return
            self._replay = None
        replay.then(replay.sent)

    def _acknowledged(self, key: tuple[str, bytes], row: Row) -> None:
        awaited = self._awaited.get(key)
        if awaited is None:
            return  # it came back already
        awaited.until = time.monotonic() + ECHO_S
        if self.delivery == "unconfirmed":
            awaited.row = None
            self._finish(row, State.UNCONFIRMED)

    def _refuse(self, row: Row, topic: str, reason: str) -> None:
        self._awaited.pop((topic, row.payload), None)
        self._gate(row).refused(reason)
        self.refused += 1
        if len(self._refused) < REFUSED:
            self._refused[row.id] = (row, time.monotonic() + RETRY_S)
        else:
            self._held.discard(row.id)
            self._orphans.discard(row.id)

    def _gate(self, row: Row) -> Gate:
        return self.events if row.stream == EVENTS else self.results

    def _finish(self, row: Row, state: State) -> None:
        self._done.append((row.id, state))
        if len(self._done) == PAGE // 2:
            self.wake()
