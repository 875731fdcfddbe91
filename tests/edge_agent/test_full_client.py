"""A client whose queue is full of other messages: nothing of ours is lost or forgotten for it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from lineside.errors import BrokerError
from lineside.messages import encode
from lineside.mqtt import Hooks, MqttClient, Outgoing
from lineside.mqtt.client import MAX_QUEUED
from lineside.settings import MqttSettings
from lineside_agent.commands.mailbox import IN_FLIGHT, MAX_WAITING, Letter, Mailbox
from lineside_agent.publisher import Publisher
from lineside_agent.records import Row
from tests.support.broker import Mosquitto, wait_for
from tests.support.delivering import TOPICS
from tests.support.examples import result
from tests.support.listener import Listener
from tests.support.requests import Outside


@pytest.fixture
def client(broker: Mosquitto) -> Iterator[MqttClient]:
    """Not connected yet, and full."""
    client = MqttClient(MqttSettings(url=broker.url), "press4")
    for _ in range(MAX_QUEUED):
        client.publish(Outgoing("elsewhere", b"x", qos=0))
    with pytest.raises(BrokerError, match="wait for broker"):
        client.publish(Outgoing("elsewhere", b"x", qos=0))
    yield client
    client.stop()


@pytest.mark.broker
def test_results_are_given_again(client: MqttClient, broker: Mosquitto) -> None:
    publisher = Publisher(client.publish, TOPICS, echo=False)
    boot = str(uuid.uuid4())
    rows = []
    for number in range(1, 101):
        payload = encode(result(number, boot=boot))
        rows.append(Row(number, 1, number, "top", payload))
    publisher.offer(rows)
    assert not publisher.wants_backlog(len(rows))
    with Listener(broker.url) as listener:
        client.start(Hooks(on_disconnect=publisher.on_disconnect))
        assert client.wait_connected(10)
        wait_for(lambda: client.idle)
        publisher.tick()
        wait_for(lambda: publisher.done_count == len(rows))
        wait_for(lambda: len(listener.results()) == len(rows))
        assert listener.results() == [(boot, number) for number in range(1, 101)]


def test_many_waiting_answers_are_counted_as_lost() -> None:
    outside = Outside()
    outside.holding = True
    mailbox = Mailbox(outside.publish)
    for _ in range(MAX_WAITING):
        mailbox.answer(Letter("response", b"{}", None))
    outside.full = True
    outside.acknowledge(outside.sent[0])
    assert mailbox.lost == MAX_WAITING - IN_FLIGHT
