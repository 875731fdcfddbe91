"""What MQTT 5 says beside a message, and what it limits."""

from __future__ import annotations

import queue
import subprocess
import time

import pytest

from lineside.mqtt import Delivery, Outgoing
from lineside.mqtt.packets import MAX_PACKET_BYTES
from tests.support.broker import Mosquitto, wait_for
from tests.support.clients import Connect, Inbox
from tests.support.program import program


def pub(broker: Mosquitto, *arguments: str, stdin: bytes = b"") -> None:
    """What another program sends: mosquitto_pub, over MQTT 5."""
    subprocess.run(
        [
            program("mosquitto_pub", "mosquitto-clients"),
            "-p",
            f"{broker.port}",
            "-V",
            "5",
            "-q",
            "1",
            *arguments,
        ],
        input=stdin,
        check=True,
        timeout=20,
    )


@pytest.mark.broker
def test_what_mqtt_5_says_beside_a_message(broker: Mosquitto, connect: Connect) -> None:
    inbox = Inbox(connect, broker.url, "a/#")
    asked = ["-D", "publish", "response-topic", "r/me", "-D", "publish", "correlation-data", "7"]
    pub(broker, "-t", "a/b", "-m", "ask", *asked)
    wait_for(lambda: inbox.payloads == [b"ask"])
    assert (inbox.heard[0].response_topic, inbox.heard[0].correlation) == ("r/me", b"7")
    client = connect(broker.url)
    client.publish(Outgoing("a/b", b"answer", correlation=b"\x00\xff", expiry_s=60))
    client.publish(Outgoing("a/b", b"plain"))
    wait_for(lambda: inbox.payloads == [b"ask", b"answer", b"plain"])
    assert [m.correlation for m in inbox.heard] == [b"7", b"\x00\xff", None]
    assert [m.response_topic for m in inbox.heard] == ["r/me", None, None]


@pytest.mark.broker
def test_under_3_1_1_nothing_is_said_beside_a_message(broker: Mosquitto, connect: Connect) -> None:
    inbox = Inbox(connect, broker.url, "a/#")
    client = connect(broker.url, protocol="3.1.1")
    client.publish(Outgoing("a/b", b"1", correlation=b"7", expiry_s=60))
    wait_for(lambda: inbox.payloads == [b"1"])
    assert inbox.heard[0].correlation is None


@pytest.mark.broker
def test_the_broker_forgets_what_has_expired(broker: Mosquitto, connect: Connect) -> None:
    client = connect(broker.url)
    for topic, expiry_s in (("a/short", 1), ("a/long", 60)):
        answers = queue.SimpleQueue[Delivery]()
        client.publish(Outgoing(topic, b"1", retain=True, expiry_s=expiry_s, on_done=answers.put))
        assert answers.get(timeout=10).ok
    kept = ["a/long", "a/short"]
    deadline = time.monotonic() + 10
    while len(kept) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.2)  # the broker's clock counts seconds
        inbox = Inbox(connect, broker.url, "a/#", "z/#")
        wait_for(lambda i=inbox: any(m.topic == "a/long" for m in i.heard))  # type: ignore[misc]
        kept = [message.topic for message in inbox.heard]
    assert kept == ["a/long"]


@pytest.mark.broker
def test_a_packet_that_would_fill_the_memory_is_not_taken(
    broker: Mosquitto, connect: Connect
) -> None:
    inbox = Inbox(connect, broker.url, "a/#")
    pub(broker, "-t", "a/b", "-s", stdin=b"x" * (MAX_PACKET_BYTES + 1))
    pub(broker, "-t", "a/b", "-s", stdin=b"y" * 1_000_000)
    wait_for(lambda: inbox.heard)
    assert [len(payload) for payload in inbox.payloads] == [1_000_000]
    assert broker.log.count("New client connected") == 3
