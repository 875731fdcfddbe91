"""The client's queue, while other threads put messages into it."""
# ruff: noqa: SLF001 - the queue itself is tested

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

import pytest

from lineside.mqtt import Delivery, MqttClient, Outgoing
from lineside.settings import MqttSettings
from tests.support.broker import Mosquitto, wait_for

SECONDS = 2.0


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_a_lost_connection_drops_qos_0_whoever_publishes_meanwhile() -> None:
    client = MqttClient(MqttSettings(url="mqtt://127.0.0.1:1"), "press4")
    until = time.monotonic() + SECONDS
    given = 0

    def publish() -> None:
        nonlocal given
        while time.monotonic() < until:
            if len(client._queue) < 500:
                client.publish(Outgoing("a", b"%d" % given, qos=1))
                client.publish(Outgoing("a", b"", qos=0))
                given += 1

    thread = threading.Thread(target=publish)
    thread.start()
    kept: list[int] = []
    while thread.is_alive():
        client._drop_qos0()
        if len(client._queue) >= 400:
            taken = [client._queue.popleft() for _ in range(300)]
            kept += [int(message.payload) for message in taken if message.qos]
    thread.join()
    client._drop_qos0()
    kept += [int(message.payload) for message in client._queue]
    assert kept == list(range(given))


@pytest.mark.broker
def test_a_message_that_can_be_none_is_refused_and_the_next_one_goes(broker: Mosquitto) -> None:
    client = MqttClient(MqttSettings(url=broker.url), "press4")
    said: list[tuple[str, Delivery]] = []
    for topic in ("a/+", "a/b"):
        client.publish(Outgoing(topic, b"1", on_done=lambda d, t=topic: said.append((t, d))))  # type: ignore[misc]
    client.start()
    wait_for(lambda: len(said) == 2)
    assert [(topic, delivery.ok) for topic, delivery in said] == [("a/+", False), ("a/b", True)]
    assert "wildcard" in said[0][1].reason
    assert client.connections == 1
    assert client.stop()
