"""The MQTT client against real brokers: mosquitto, and the embedded one that the demo uses."""

from __future__ import annotations

import queue
import socket
from pathlib import Path

import pytest

from lineside.errors import SettingsError
from lineside.mqtt import Delivery, Hooks, Incoming, MqttClient, Outgoing
from lineside.mqtt.faults import closed_line
from lineside.settings import MqttSettings
from tests.faults.proxy import Proxy
from tests.support.broker import Mosquitto, free_port, rude_server, wait_for
from tests.support.clients import Connect, Inbox, send
from tests.support.relay import Relay


@pytest.mark.broker
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_message_arrives_and_its_sender_is_told(
    broker: Mosquitto, connect: Connect, protocol: str
) -> None:
    inbox = Inbox(connect, broker.url, "a/#", protocol=protocol)
    client = connect(broker.url, protocol=protocol)
    assert client.wait_connected(5), client.error
    assert client.error is None
    assert send(client, "a/b", b"hello").ok
    wait_for(lambda: inbox.payloads == [b"hello"])
    assert client.stop()
    assert not client.connected


@pytest.mark.broker
def test_a_broker_that_was_never_there_is_waited_for(tmp_path: Path, connect: Connect) -> None:
    broker = Mosquitto(tmp_path / "broker")
    client = connect(broker.url)
    answers = queue.SimpleQueue[Delivery]()
    client.publish(Outgoing("a/b", b"early", on_done=answers.put))
    line = f"no broker at 127.0.0.1:{broker.port}: nothing listens there"
    wait_for(lambda: client.error == line, what=line)
    with broker:
        assert answers.get(timeout=10).ok
        assert client.connected


@pytest.mark.broker
def test_a_killed_broker_loses_nothing_that_was_not_confirmed(
    broker: Mosquitto, connect: Connect
) -> None:
    sent = [f"{n}".encode() for n in range(300)]
    confirmed: list[bytes] = []
    client = connect(broker.url)
    assert client.wait_connected(5)
    heard: list[Incoming] = []
    for number, payload in enumerate(sent):
        if number == 100:
            broker.kill()
        client.publish(
            Outgoing("a/b", payload, on_done=lambda d, p=payload: d.ok and confirmed.append(p))  # type: ignore[misc]
        )
    before = list(confirmed)
    assert len(before) < 300
    broker.start()
    hooks = Hooks(on_message=heard.append)
    connect(broker.url, client_id="inbox", hooks=hooks, subscriptions=("a/#",))
    wait_for(lambda: len(confirmed) == 300)
    assert sorted(confirmed) == sorted(sent)


@pytest.mark.broker
def test_a_cut_line_heals_and_subscriptions_are_renewed(
    broker: Mosquitto, connect: Connect
) -> None:
    with Relay(broker.port) as relay:
        inbox = Inbox(connect, f"mqtt://127.0.0.1:{relay.port}", "a/#")
        client = connect(broker.url)
        assert send(client, "a/b", b"1").ok
        wait_for(lambda: inbox.payloads == [b"1"])
        relay.cut()
        wait_for(lambda: broker.log.count("Received SUBSCRIBE from inbox") == 2)
        assert send(client, "a/b", b"2").ok
        wait_for(lambda: inbox.payloads == [b"1", b"2"])


@pytest.mark.broker
def test_a_reset_in_the_middle_of_sending_is_a_lost_connection_like_any_other(
    broker: Mosquitto, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Some of these resets are noticed while a packet is being sent."""
    done: list[Delivery] = []
    sent = 0
    with Proxy(broker.port) as proxy:
        client = connect(f"mqtt://127.0.0.1:{proxy.port}")
        while proxy.resets < 20:
            wait_for(lambda: client.connected)
            for _ in range(40):
                client.publish(Outgoing("a/b", b"x" * 1000, on_done=done.append))
            sent += 40
            proxy.reset()
        wait_for(lambda: len(done) == sent, 30)
    assert "unforeseen" not in caplog.text


@pytest.mark.broker
def test_receive_maximum_is_kept(tmp_path: Path, connect: Connect) -> None:
    with (
        Mosquitto(tmp_path / "broker", "max_inflight_messages 5") as broker,
        Relay(broker.port) as relay,
    ):
        client = connect(f"mqtt://127.0.0.1:{relay.port}")
        assert client.wait_connected(5)
        relay.answers.clear()
        done: list[Delivery] = []
        for _ in range(50):
            client.publish(Outgoing("a/b", b"<marker>", on_done=done.append))
        wait_for(lambda: relay.sent.count(b"<marker>") == 5)
        # Everything that was sent until now is in the broker's log, and it is five.
        wait_for(lambda: broker.log.count("Received PUBLISH") == 5)
        assert relay.sent.count(b"<marker>") == 5
        relay.answers.set()
        wait_for(lambda: len(done) == 50)
        assert all(delivery.ok for delivery in done)


@pytest.mark.broker
def test_a_message_that_is_too_large_is_refused_and_the_connection_lives(
    tmp_path: Path, connect: Connect
) -> None:
    with Mosquitto(tmp_path / "broker", "max_packet_size 2000") as broker:
        client = connect(broker.url)
        assert client.wait_connected(5)
        assert send(client, "a/b", b"x" * 3000) == Delivery(ok=False, reason="Packet too large")
        assert send(client, "a/b", b"x" * 1000).ok
        assert broker.log.count("New client connected") == 1


def test_a_server_that_drops_connections(connect: Connect) -> None:
    with rude_server() as port:
        client = connect(f"mqtt://127.0.0.1:{port}")
        line = f"broker 127.0.0.1:{port} closed the connection without an answer"
        wait_for(lambda: (client.error or "").startswith(line), what=line)
        assert "3.1.1" in (client.error or "")


def test_a_broker_that_drops_who_shows_a_certificate_may_refuse_that() -> None:
    mqtt = MqttSettings(url="mqtts://b", ca_file="ca", cert_file="c", key_file="c")
    line = closed_line(mqtt, welcomed=False, again=False, detail="", code=0, reason="")
    assert "perhaps it refuses the client certificate or is an older one" in line


def test_a_server_that_says_nothing(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.mqtt.client.CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = connect(f"mqtt://127.0.0.1:{server.getsockname()[1]}")
        wait_for(lambda: "gave no answer within 0.2 s" in (client.error or ""))


def test_a_host_that_has_no_address(connect: Connect) -> None:
    client = connect("mqtt://no-such-host.invalid")
    line = "no broker at no-such-host.invalid:1883: the host name can't be resolved"
    wait_for(lambda: client.error == line, 15, what=line)


@pytest.mark.broker
def test_a_will_is_published_when_the_line_is_cut_and_not_after_a_stop(
    broker: Mosquitto, connect: Connect
) -> None:
    inbox = Inbox(connect, broker.url, "will/#")
    wills = iter([b"first", b"second", b"third"])

    def will() -> Outgoing:
        return Outgoing("will/x", next(wills), retain=True)

    with Relay(broker.port) as relay:
        client = connect(f"mqtt://127.0.0.1:{relay.port}", client_id="mortal", will=will)
        assert client.wait_connected(5)
        relay.cut()
        wait_for(lambda: inbox.payloads == [b"first"])
        assert client.wait_connected(5)
        wait_for(lambda: broker.log.count("as mortal") == 2)
        client.stop()
        wait_for(lambda: "Client mortal disconnected." in broker.log)
    assert inbox.payloads == [b"first"]


@pytest.mark.broker
def test_another_client_of_the_same_name(broker: Mosquitto, connect: Connect) -> None:
    first = connect(broker.url, client_id="same")
    assert first.wait_connected(5)
    lines: list[str | None] = []
    connect(broker.url, client_id="same")
    wait_for(lambda: lines.append(first.error) or "another client of our name" in str(lines))


@pytest.mark.broker
def test_a_mistake_in_a_callback_does_not_end_the_connection(
    broker: Mosquitto, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_args: object) -> None:
        msg = "a mistake"
        raise ValueError(msg)

    hooks = Hooks(on_connect=fail, on_message=fail, on_subscribed=fail)
    client = connect(broker.url, hooks=hooks, subscriptions=("a/#",))
    client.publish(Outgoing("a/b", b"1", on_done=fail))
    assert send(client, "a/b", b"2").ok
    assert client.connected
    assert broker.log.count("New client connected") == 1
    assert "a callback of the MQTT client failed" in caplog.text


def test_settings_that_contradict_themselves_are_refused() -> None:
    for settings, text in [
        (MqttSettings(url="127.0.0.1:1883"), "mqtt://HOST"),
        (MqttSettings(url="mqtt://ann:secret@host"), "no name or password in the URL"),
        (MqttSettings(url="mqtt://host", prefix="a/#"), "mqtt.prefix"),
        (MqttSettings(url="mqtt://host", ca_file="ca.pem"), "need TLS"),
    ]:
        with pytest.raises(SettingsError, match=text):
            MqttClient(settings, "tester")


def test_the_embedded_broker(connect: Connect) -> None:
    iotcore = pytest.importorskip("iotcore", reason="iotcore comes with the extra 'demo'")
    port = free_port()
    url = f"mqtt://127.0.0.1:{port}"
    client = connect(url, protocol="3.1.1")
    with iotcore.Broker(port=port, listen="127.0.0.1"):
        assert client.wait_connected(10), client.error
        inbox = Inbox(connect, url, "a/+/b", protocol="3.1.1")
        for number in range(200):
            client.publish(Outgoing("a/x/b", f"{number}".encode()))
        wait_for(lambda: len(inbox.heard) == 200)
        assert inbox.payloads == [f"{n}".encode() for n in range(200)]
        assert send(client, "a/x/b", b"kept", retain=True).ok
        late = Inbox(connect, url, "a/#", protocol="3.1.1")
        wait_for(lambda: late.payloads == [b"kept"])
        assert late.heard[0].retained
    wait_for(lambda: not client.connected)
    newer = connect(url, client_id="newer")
    with iotcore.Broker(port=port, listen="127.0.0.1"):
        assert client.wait_connected(10), client.error
        wait_for(lambda: "set the protocol to 3.1.1" in (newer.error or ""))
