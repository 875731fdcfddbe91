"""Keeper, publisher and client, as the agent puts them together."""

from __future__ import annotations

import uuid
from pathlib import Path

from lineside.mqtt import Hooks, MqttClient
from lineside.settings import MqttSettings, OutboxSettings, StationSettings
from lineside.topics import Topics
from lineside_agent.keeper import Keeper
from lineside_agent.publisher import Publisher
from tests.support.broker import wait_for
from tests.support.examples import result

TOPICS = Topics("ulm", "press4")


class Delivery:
    """Keeper, publisher and client, as the agent puts them together."""

    def __init__(self, url: str, path: Path, *, protocol: str = "5", **options: object) -> None:
        self.boot = str(uuid.uuid4())
        echo = protocol == "3.1.1"
        mqtt = MqttSettings(url=url, protocol=protocol)  # type: ignore[arg-type]
        self.client = MqttClient(
            mqtt,
            "press4",
            subscriptions=Publisher.subscriptions(TOPICS) if echo else (),
            backoff_s=(0.02, 0.1),
        )
        self.publisher = Publisher(self.client.publish, TOPICS, echo=echo)
        self.keeper = Keeper(
            OutboxSettings(path=str(path), **options),  # type: ignore[arg-type]
            StationSettings(site="ulm", name="press4"),
            self.boot,
            self.publisher,
            ["top"],
        )

    def start(self) -> None:
        self.keeper.start()
        self.client.start(
            Hooks(
                on_subscribed=self.publisher.on_subscribed,
                on_message=self.publisher.on_message,
                on_disconnect=self.publisher.on_disconnect,
            )
        )

    def put(self, count: int, *, wait: bool = True) -> int:
        """Give so many results; how many were kept."""
        kept = 0
        for _ in range(count):
            kept += self.keeper.put(result(boot=self.boot), wait=wait)
        return kept

    def drain(self, timeout: float = 20) -> None:
        wait_for(lambda: self.keeper.pending == 0, timeout, "everything published")

    def stop(self) -> bool:
        written = self.keeper.stop()
        self.client.stop()
        return written

    def __enter__(self) -> Delivery:  # noqa: PYI034
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()


def numbers(boot: str, last: int) -> list[tuple[str, int]]:
    """Boot and number of a boot's results up to `last`."""
    return [(boot, n) for n in range(1, last + 1)]
