"""The truth: the harness's own numbered triggers.

Each is a command `trigger` whose id is its number. It is sent again, with the same id, until the
station answers, through whatever happens in between. What the station accepted it owes a result;
what it refused it owes nothing, and that number is never sent again.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import paho.mqtt.client as paho
from typing_extensions import Self, override

from tests.faults.plain import PlainClient

RESEND_S: Final = 1.0
"""Seconds without an answer after which a trigger is sent again."""

WINDOW: Final = 12
"""Triggers of one requester on their way at a time; a station takes 16."""

PERIOD_S: Final = 0.0125
"""Seconds between two new triggers of one requester; a station takes 100 a second."""

REFUSED_S: Final = 0.2
"""Seconds that a requester waits after a refusal."""

SITE: Final = "lineside/ulm/press4"
"""The station, as its topics begin."""


@dataclass
class Trigger:
    """One trigger that is on its way.

    Attributes:
        id: its number.
        stream: where.
        sent_at: when it was sent last, on the monotonic clock.
        sent: how often.
    """

    id: str
    stream: str
    sent_at: float = 0.0
    sent: int = 0


class Truth(PlainClient):
    """Sends triggers for as long as it may, and remembers what was accepted.

    Args:
        port: of the broker.
        streams: take turns.
        requesters: how many senders there are, since a station bounds what each may ask.
        may: whether a new trigger may be sent now.

    Attributes:
        sent: all triggers: id -> stream.
        accepted: id -> stream.
        refused: id -> why.
        resent: how often one was sent again.
        reasons: refusals by their reason.
    """

    def __init__(
        self,
        port: int,
        streams: Sequence[str],
        *,
        requesters: int = 4,
        may: Callable[[], bool] = lambda: True,
    ) -> None:
        self._streams = streams
        self._may = may
        self._names = [f"plc{n}" for n in range(requesters)]
        super().__init__("truth", port, [(f"{SITE}/response/{name}", 1) for name in self._names])
        self._open: dict[str, dict[str, Trigger]] = {name: {} for name in self._names}
        self._answers: deque[tuple[str, bytes]] = deque()
        self._next_at = dict.fromkeys(self._names, 0.0)
        self._count = 0
        self._ending = threading.Event()
        self._holding = threading.Event()
        self._thread = threading.Thread(target=self._run, name="truth", daemon=True)
        self.failure: BaseException | None = None
        self.sent: dict[str, str] = {}
        self.accepted: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.resent = 0
        self.reasons: Counter[str] = Counter()

    @property
    def unanswered(self) -> int:
        """How many triggers are on their way."""
        return sum(map(len, self._open.values()))

    def hold(self) -> None:
        """Send nothing new; what is on its way is still sent until it is answered."""
        self._holding.set()

    def go_on(self) -> None:
        """Send new ones again."""
        self._holding.clear()

    def _run(self) -> None:
        try:
            while not self._ending.wait(0.004):
                while self._answers:
                    self._answered(*self._answers.popleft())
                if self._client.is_connected():
                    self._send()
        except BaseException as error:  # noqa: BLE001 - the trial reads it
            self.failure = error

    def _send(self) -> None:
        now = time.monotonic()
        for name, waiting in self._open.items():
            for trigger in list(waiting.values()):
                if now - trigger.sent_at > RESEND_S:
                    self._publish(name, trigger)
            free = len(waiting) < WINDOW and now >= self._next_at[name]
            if free and not self._holding.is_set() and self._may():
                self._next_at[name] = now + PERIOD_S
                self._count += 1
                stream = self._streams[self._count % len(self._streams)]
                trigger = Trigger(f"{self._count:07d}", stream)
                waiting[trigger.id] = trigger
                self.sent[trigger.id] = stream
                self._publish(name, trigger)

    def _publish(self, requester: str, trigger: Trigger) -> None:
        command = {
            "schema": "lineside.command/1",
            "id": trigger.id,
            "requester": requester,
            "expires_s": 30,
            "op": "trigger",
            "args": {"stream": trigger.stream, "part_id": f"SN-{trigger.id}"},
        }
        trigger.sent_at = time.monotonic()
        trigger.sent += 1
        self.resent += trigger.sent > 1
        self._client.publish(f"{SITE}/command", json.dumps(command), qos=1)

    def _answered(self, topic: str, payload: bytes) -> None:
        response = json.loads(payload)
        requester = topic.rpartition("/")[2]
        trigger = self._open[requester].pop(response["id"], None)
        if trigger is None:
            return  # answered before
        if response["ok"]:
            self.accepted[trigger.id] = trigger.stream
        else:
            self._next_at[requester] = time.monotonic() + REFUSED_S
            self.refused[trigger.id] = response["reason"]
            self.reasons[response["reason"].split(":")[0]] += 1

    @override
    def _on_message(self, message: paho.MQTTMessage) -> None:
        self._answers.append((message.topic, bytes(message.payload)))

    @override
    def __enter__(self) -> Self:
        super().__enter__()
        self._thread.start()
        return self

    @override
    def __exit__(self, *exc: object) -> None:
        self._ending.set()
        self._thread.join(5)
        super().__exit__(*exc)
