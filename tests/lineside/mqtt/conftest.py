"""Clients that are stopped at the end of a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lineside.mqtt import Hooks, MqttClient
from lineside.settings import MqttSettings
from tests.support.clients import QUICK, Connect


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes and starts clients, and stops them at the end."""
    made: list[MqttClient] = []

    def start(
        url: str, *, hooks: Hooks | None = None, client_id: str = "tester", **options: object
    ) -> MqttClient:
        subscriptions = options.pop("subscriptions", ())
        will = options.pop("will", None)
        settings = MqttSettings(url=url, **options)  # type: ignore[arg-type]
        client = MqttClient(settings, client_id, subscriptions=subscriptions, backoff_s=QUICK)  # type: ignore[arg-type]
        made.append(client)
        client.start(hooks, will=will)  # type: ignore[arg-type]
        return client

    yield start
    for client in made:
        client.stop(0.5)
