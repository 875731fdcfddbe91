"""What a subscriber hears of all stations at a broker."""

from __future__ import annotations

from typing import TypeVar

from typing_extensions import Self

from lineside.messages import KINDS, Event, Message, Result, Status, decode
from lineside.mqtt import Hooks, Incoming, MqttClient
from lineside.settings import MqttSettings
from lineside.topics import parse_topic
from tests.support.broker import wait_for

M = TypeVar("M", Result, Status, Event)


class Listener:
    """Subscribes to everything, and keeps it.

    Args:
        broker: its URL; or its settings, where somebody must be who they are.
        protocol: the version of MQTT, with a URL.

    Attributes:
        heard: all messages, as they came.
        subscribed: how often the broker has confirmed the subscription.
    """

    def __init__(self, broker: str | MqttSettings, protocol: str = "5") -> None:
        if isinstance(broker, str):
            broker = MqttSettings(url=broker, protocol=protocol)  # type: ignore[arg-type]
        self.heard: list[Incoming] = []
        self._messages: list[Message] = []
        self._read = 0
        self.subscribed = 0
        self._client = MqttClient(
            broker,
            "listener",
            subscriptions=("lineside/#",),
            backoff_s=(0.02, 0.05),
        )

    def messages(self) -> list[Message]:
        """All messages of stations, as they came."""
        # Each is read once, however often somebody looks: the thread that hears needs the time.
        for message in self.heard[self._read :]:
            self._read += 1
            kind = parse_topic(message.topic).kind
            if kind in KINDS:
                self._messages.append(decode(kind, message.payload))
        return list(self._messages)

    def of(self, struct: type[M]) -> list[M]:
        """All messages of one kind, as they came."""
        return [message for message in self.messages() if isinstance(message, struct)]

    def results(self) -> list[tuple[str, int]]:
        """Boot and number of each result, as they came."""
        return [(result.boot, result.seq) for result in self.of(Result)]

    def events(self) -> list[Event]:
        """All events."""
        return self.of(Event)

    def states(self) -> list[str]:
        """State and reasons of each status, without repetitions."""
        said = [" ".join([status.state, *status.reasons]) for status in self.of(Status)]
        return [s for n, s in enumerate(said) if n == 0 or said[n - 1] != s]

    def _subscribed(self, _refused: tuple[str, ...]) -> None:
        self.subscribed += 1

    def __enter__(self) -> Self:
        self._client.start(Hooks(on_message=self.heard.append, on_subscribed=self._subscribed))
        wait_for(lambda: self.subscribed)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._client.stop()
