"""The MQTT client against real brokers: mosquitto, and the embedded one that the demo uses."""

from __future__ import annotations

import queue
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lineside.errors import SettingsError
from lineside.mqtt import Delivery, Hooks, Incoming, MqttClient, Outgoing
from lineside.mqtt.packets import MAX_PACKET_BYTES
from lineside.settings import MqttSettings
from tests.faults.proxy import Proxy
from tests.support.broker import Mosquitto, free_port, rude_server, wait_for
from tests.support.pki import Pki, broker_certificate, make_pki
from tests.support.relay import Relay

QUICK = (0.02, 0.1)  # s, so that tests need not wait for a real backoff
Connect = Callable[..., MqttClient]


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


class Inbox:
    """What a subscriber hears."""

    def __init__(self, connect: Connect, url: str, *filters: str, **options: object) -> None:
        self.heard: list[Incoming] = []
        ready = queue.SimpleQueue[tuple[str, ...]]()
        hooks = Hooks(on_message=self.heard.append, on_subscribed=ready.put)
        client_id = f"inbox-{uuid.uuid4().hex}"  # two of one name would fight for their place
        connect(url, client_id=client_id, hooks=hooks, subscriptions=filters, **options)
        self.refused = ready.get(timeout=10)

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.heard]


def send(client: MqttClient, topic: str, payload: bytes, **options: bool) -> Delivery:
    answers = queue.SimpleQueue[Delivery]()
    client.publish(Outgoing(topic, payload, on_done=answers.put, **options))
    return answers.get(timeout=10)


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


PASSWORDS = {"passwords": "", "acl": "user ann\ntopic read allowed/#\ntopic write allowed/#\n"}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that knows ann, whose password is `right secret`, and lets her write allowed/#."""
    import shutil
    import subprocess

    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto_passwd is not installed")
    folder = tmp_path / "broker"
    broker = Mosquitto(
        folder,
        "allow_anonymous false",
        f"password_file {folder / 'passwords'}",
        f"acl_file {folder / 'acl'}",
        files=PASSWORDS,
    )
    command = ["mosquitto_passwd", "-b", str(folder / "passwords"), "ann", "right secret"]
    subprocess.run(command, check=True, capture_output=True)
    (tmp_path / "right").write_text("right secret\n")
    (tmp_path / "wrong").write_text("wrong secret\n")
    with broker:
        yield broker


@pytest.mark.broker
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_refused_password_is_one_line_without_the_password(
    guarded: Mosquitto,
    tmp_path: Path,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    protocol: str,
) -> None:
    password = str(tmp_path / "wrong")
    client = connect(guarded.url, username="ann", password_file=password, protocol=protocol)
    assert not client.wait_connected(5)
    assert client.refused
    line = f"broker 127.0.0.1:{guarded.port} refuses the password of user 'ann' ("
    wait_for(lambda: (client.error or "").startswith(line), what=line)
    # It keeps trying, with the password that is in the file by then.
    (tmp_path / "wrong").write_text("right secret")
    wait_for(lambda: client.connected)
    assert not client.refused
    assert "secret" not in caplog.text


@pytest.mark.broker
def test_a_broker_that_wants_a_password_says_so(guarded: Mosquitto, connect: Connect) -> None:
    client = connect(guarded.url)
    assert not client.wait_connected(5)
    wait_for(lambda: "wants a user name and a password" in (client.error or ""))


@pytest.mark.broker
def test_a_missing_password_file_is_named(broker: Mosquitto, connect: Connect) -> None:
    client = connect(broker.url, username="ann", password_file="/no/such/file")  # noqa: S106
    wait_for(lambda: "/no/such/file can't be read: No such file" in (client.error or ""))


@pytest.mark.broker
@pytest.mark.parametrize(("protocol", "ok"), [("5", False), ("3.1.1", True)])
def test_what_the_acl_forbids_is_no_success_under_mqtt_5(
    guarded: Mosquitto, tmp_path: Path, connect: Connect, protocol: str, *, ok: bool
) -> None:
    """Under 3.1.1 mosquitto acknowledges it, which is why results wait for their echo there."""
    who = {"username": "ann", "password_file": str(tmp_path / "right"), "protocol": protocol}
    inbox = Inbox(connect, guarded.url, "allowed/#", "forbidden/#", **who)
    client = connect(guarded.url, **who)
    forbidden = send(client, "forbidden/b", b"1")
    assert forbidden == Delivery(ok=ok, reason="Success" if ok else "Not authorized")
    assert send(client, "allowed/b", b"2").ok
    wait_for(lambda: inbox.payloads == [b"2"])


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki") / "pki")


def tls(pki: Pki, *more: str) -> tuple[str, ...]:
    return (
        f"cafile {pki.ca}",
        f"certfile {pki.broker}",
        f"keyfile {pki.broker_key}",
        *more,
    )


@pytest.mark.broker
def test_tls_with_an_authority_of_ones_own(tmp_path: Path, pki: Pki, connect: Connect) -> None:
    with Mosquitto(tmp_path / "broker", *tls(pki)) as broker:
        url = broker.url.replace("mqtt:", "mqtts:")
        client = connect(url, ca_file=str(pki.ca))
        assert client.wait_connected(5), client.error
        assert send(client, "a/b", b"x" * 100_000).ok

        stranger = connect(url, ca_file=str(pki.stranger), client_id="2")
        wait_for(lambda: "is not trusted" in (stranger.error or ""))
        assert "check ca_file" in (stranger.error or "")
        assert stranger.fault is None

        named = connect(url.replace("127.0.0.1", "localhost"), ca_file=str(pki.ca), client_id="3")
        wait_for(lambda: "Hostname mismatch" in (named.error or ""))

        system = connect(url, client_id="4")
        wait_for(lambda: "set ca_file to the authority" in (system.error or ""))

        key = connect(url, ca_file=str(pki.broker_key), client_id="5")
        wait_for(lambda: "holds no certificate" in (key.error or ""))

        plain = connect(broker.url, client_id="6")
        wait_for(lambda: "perhaps it speaks only TLS there" in (plain.error or ""))
        assert not any(c.connected for c in (stranger, named, system, key, plain))


@pytest.mark.broker
@pytest.mark.parametrize(
    ("begins_in_days", "fault", "says"),
    [
        (1, "cert_not_yet_valid", "certificate is not yet valid"),
        (-2, "cert_expired", "certificate has expired"),
    ],
)
def test_what_a_wrong_clock_does_to_tls_has_a_name_and_passes(
    tmp_path: Path, pki: Pki, connect: Connect, begins_in_days: int, fault: str, says: str
) -> None:
    """As on a device that starts in 1970, and gets the time only later."""
    wrong = broker_certificate(pki, tmp_path / "wrong.pem", begins_in_days=begins_in_days)
    lines = (f"cafile {pki.ca}", f"certfile {wrong}", f"keyfile {pki.broker_key}")
    broker = Mosquitto(tmp_path / "broker", *lines)
    with broker:
        client = connect(broker.url.replace("mqtt:", "mqtts:"), ca_file=str(pki.ca))
        wait_for(lambda: client.fault == fault, what=fault)
        assert f"is refused: {says} ({fault}). It is " in (client.error or "")
        assert "set its clock" in (client.error or "")
        assert client.connections == 0
    wrong.write_bytes(pki.broker.read_bytes())
    with broker:
        assert client.wait_connected(10), client.error
        assert (client.fault, client.connections) == (None, 1)


@pytest.mark.broker
def test_tls_where_there_is_none(broker: Mosquitto, pki: Pki, connect: Connect) -> None:
    client = connect(broker.url.replace("mqtt:", "mqtts:"), ca_file=str(pki.ca))
    wait_for(lambda: "speaks no TLS there" in (client.error or ""))
    assert not client.connected


@pytest.mark.broker
def test_a_client_certificate(tmp_path: Path, pki: Pki, connect: Connect) -> None:
    lines = tls(pki, "require_certificate true", "use_identity_as_username true")
    with Mosquitto(tmp_path / "broker", *lines) as broker:
        url = broker.url.replace("mqtt:", "mqtts:")
        ca = str(pki.ca)
        client = connect(url, ca_file=ca, cert_file=str(pki.client), key_file=str(pki.client_key))
        assert client.wait_connected(5), client.error
        wait_for(lambda: "u'client'" in broker.log)

        without = connect(url, ca_file=ca, client_id="2")
        wait_for(lambda: "wants a client certificate" in (without.error or ""))

        mixed = connect(
            url, ca_file=ca, cert_file=str(pki.client), key_file=str(pki.broker_key), client_id="3"
        )
        wait_for(lambda: "are no certificate and its private key" in (mixed.error or ""))


def test_a_server_that_drops_connections(connect: Connect) -> None:
    with rude_server() as port:
        client = connect(f"mqtt://127.0.0.1:{port}")
        line = f"broker 127.0.0.1:{port} closed the connection without an answer"
        wait_for(lambda: (client.error or "").startswith(line), what=line)
        assert "3.1.1" in (client.error or "")


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


def pub(broker: Mosquitto, *arguments: str, stdin: bytes = b"") -> None:
    """What another program sends: mosquitto_pub, over MQTT 5."""
    subprocess.run(
        ["mosquitto_pub", "-p", f"{broker.port}", "-V", "5", "-q", "1", *arguments],
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
