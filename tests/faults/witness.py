"""Who listens: an independent subscriber, and `lineside.subscriber` that repairs."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from typing_extensions import Self, override

from lineside.messages import Event, Result
from lineside.mqtt.backoff import Backoff
from lineside.settings import MqttSettings
from lineside.subscriber import Gap, Pace, Subscriber
from tests.faults.counting import History
from tests.faults.plain import PlainClient
from tests.faults.truth import SITE


class Witness(PlainClient):
    """A plain client with a persistent session, QoS 1. It counts, and repairs nothing.

    Args:
        port: of the broker.

    Attributes:
        history: what it heard.
        events: what the station said happened, each once.
    """

    def __init__(self, port: int) -> None:
        filters = [(f"{SITE}/result/+", 1), (f"{SITE}/event", 1)]
        super().__init__("witness", port, filters, keep_session=True)
        self._seen: set[bytes] = set()
        self.history = History()
        self.events: list[dict[str, Any]] = []

    @override
    def _on_message(self, message: paho.MQTTMessage) -> None:
        payload = bytes(message.payload)
        if not message.topic.endswith("/event"):
            self.history.take(payload)
        elif payload not in self._seen:
            self._seen.add(payload)
            self.events.append(json.loads(payload))


class Repairer:
    """`lineside.subscriber.Subscriber`, as a plant would use it, on a thread of its own.

    Args:
        port: where it connects: a proxy, so that it loses connections too.

    Attributes:
        history: what it gave.
        gaps: what it says is gone for good.
        events: by kind, as far as it heard them.
        failure: why its thread ended; None while it runs.
    """

    def __init__(self, port: int) -> None:
        settings = MqttSettings(url=f"mqtt://127.0.0.1:{port}")
        pace = Pace(settle_s=0.3, answer_s=3.0, pause_s=(0.3, 2.0))
        self.subscriber = Subscriber(settings, repair=True, since="kept", pace=pace)
        # After some resets it would wait for half a minute, and everybody for it.
        self.subscriber._client._backoff = Backoff(0.2, 2.0)  # noqa: SLF001 - no setting
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="repairer", daemon=True)
        self.history = History(keep=True)
        self.gaps: list[Gap] = []
        self.events: Counter[str] = Counter()
        self.failure: BaseException | None = None

    @property
    def missing(self) -> int:
        """How many results it knows of and does not have."""
        return self.subscriber.tracker.missing

    def _run(self) -> None:
        try:
            for received in self.subscriber.received(self._ending.is_set):
                if isinstance(received, Gap):
                    self.gaps.append(received)
                elif isinstance(received.message, Result):
                    self.history.take(received.payload)
                elif isinstance(received.message, Event):
                    self.events[received.message.kind] += 1
        except BaseException as error:  # noqa: BLE001 - the trial reads it
            self.failure = error

    def __enter__(self) -> Self:
        self.subscriber.start()
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._ending.set()
        self._thread.join(10)
        self.subscriber.close()


def steady(condition: Callable[[], bool]) -> Callable[[], bool]:
    """A condition that has to be true for ten looks in a row."""
    looks = 0

    def held() -> bool:
        nonlocal looks
        looks = looks + 1 if condition() else 0
        return looks >= 10

    return held
