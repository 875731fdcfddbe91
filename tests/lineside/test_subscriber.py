from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.errors import BrokerError, MessageError
from lineside.messages import Message, Result, Status, encode
from lineside.mqtt import MqttClient, Outgoing
from lineside.settings import MqttSettings
from lineside.subscriber import Gap, Subscriber
from lineside.topics import Topics
from tests.support.broker import Mosquitto, free_port, wait_for
from tests.support.examples import BOOT, result, status


def gap(first: int, last: int) -> Gap:
    return Gap("ulm", "press4", BOOT, "top", first, last)


@pytest.fixture
def station(broker: Mosquitto) -> Iterator[MqttClient]:
    client = MqttClient(MqttSettings(url=broker.url), "station")
    client.start()
    yield client
    client.stop()


def publish(client: MqttClient, *messages: Message) -> None:
    topics = Topics("ulm", "press4")
    for message in messages:
        if isinstance(message, Result):
            client.publish(Outgoing(topics.result(message.stream), encode(message)))
        elif isinstance(message, Status):
            client.publish(Outgoing(topics.status(), encode(message), retain=True))
    wait_for(lambda: client.connected and client.idle)


@pytest.mark.broker
def test_messages_come_typed_once_and_with_their_gaps(
    broker: Mosquitto, station: MqttClient, caplog: pytest.LogCaptureFixture
) -> None:
    with Subscriber(broker.url) as subscriber:
        wait_for(lambda: "Sending SUBACK" in broker.log)
        publish(station, status(1, 0, 0), result(1), result(2), result(2), result(4))
        topic = Topics("ulm", "press4").result("top")
        station.publish(Outgoing(topic, b"not json"))
        station.publish(Outgoing(topic + "/more", b"elsewhere"))
        publish(station, status(1, 4, 4))
        got: list[Message] = []
        for message in subscriber:
            got.append(message)
            if isinstance(message, Status) and message.ledger[0].last == 4:
                break
        assert [m.seq for m in got if isinstance(m, Result)] == [1, 2, 4]
        assert subscriber.tracker.gaps() == [gap(3, 3)]
        assert subscriber.tracker.duplicates == 1
        assert subscriber.counts == {"status": 2, "result": 3, "refused": 1}
        assert "result is refused" in caplog.text


@pytest.mark.broker
def test_what_was_lost_while_the_broker_was_away_is_a_gap(
    broker: Mosquitto, station: MqttClient
) -> None:
    with Subscriber(broker.url) as subscriber:
        wait_for(lambda: "Sending SUBACK" in broker.log)
        publish(station, status(1, 0, 0), result(1))
        assert isinstance(subscriber.take(5), object)
        broker.kill()
        broker.start()
        wait_for(lambda: broker.log.count("Sending SUBACK") == 2)
        publish(station, result(3), status(1, 3, 3))
        received = list(subscriber.received(lambda: subscriber.counts["status"] == 2))
        assert {r.message.seq for r in received if isinstance(r.message, Result)} >= {3}
        assert subscriber.tracker.gaps() == [gap(2, 2)]


@pytest.mark.broker
def test_only_the_wanted_station_and_prefix(broker: Mosquitto, station: MqttClient) -> None:
    publish(station, status(1, 0, 0))
    with (
        Subscriber(broker.url, site="ulm", station="press4") as wanted,
        Subscriber(broker.url, station="press5") as other_station,
        Subscriber(MqttSettings(url=broker.url, prefix="plant/a")) as other_prefix,
    ):
        received = wanted.take(5)
        assert received is not None
        assert received.retained
        assert received.topic.kind == "status"
        assert received.payload == encode(received.message)
        assert other_station.take(0.3) is None
        assert other_prefix.take(0.1) is None


@pytest.mark.broker
def test_a_refused_password_is_an_error(tmp_path: Path) -> None:
    with (
        Mosquitto(tmp_path / "broker", "allow_anonymous false") as broker,
        Subscriber(broker.url) as subscriber,
        pytest.raises(BrokerError, match="wants a user name and a password"),
    ):
        next(iter(subscriber))


def test_a_broker_that_is_not_there_is_waited_for() -> None:
    with Subscriber(f"mqtt://127.0.0.1:{free_port()}") as subscriber:
        assert subscriber.take(0.3) is None
        assert "nothing listens there" in (subscriber.error or "")


def test_a_site_that_no_site_can_be_called() -> None:
    with pytest.raises(MessageError, match="site 'a#' is refused"):
        Subscriber("mqtt://localhost", site="a#")
