"""Who gets through to another one's topics, judged by what one hears who may hear everything."""

from __future__ import annotations

import contextlib
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from lineside_deploy.plant import authority as sign
from lineside_deploy.plant.plant import open_plant
from tests.support.broker import wait_for
from tests.support.plant import PlantBroker

pytestmark = pytest.mark.broker

VICTIM = "lineside/ulm/press4"
IDENTITIES = ("none", "wrong authority", "expired", "revoked", "another station's", "wildcard")
REVOKED_S = 10.0


class Client:
    """A client of paho's own, to which the broker may say no."""

    def __init__(self, broker: PlantBroker, identity: Path | None, will: str = "") -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.codes: list[int] = []
        self.ended = False
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=uuid.uuid4().hex,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        context = ssl.create_default_context(cafile=broker.folder / "authority/ca.pem")
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if identity is not None:
            context.load_cert_chain(identity)
        self.client.tls_set_context(context)
        if will:
            self.client.will_set(will, b"will", qos=1)
        self.connected = False
        self.client.on_connect = self._on_connect
        self.client.on_message = lambda _c, _d, found: self.heard.append(
            (found.topic, found.payload)
        )
        self.client.on_subscribe = lambda _c, _d, _mid, codes, _p: self.codes.extend(
            code.value for code in codes
        )
        self.client.on_publish = lambda _c, _d, _mid, code, _p: self.codes.append(code.value)
        self.client.on_disconnect = self._on_disconnect
        try:
            self.client.connect("127.0.0.1", broker.port)
            self.client.loop_start()
        except OSError:  # the handshake failed
            self.ended = True
        wait_for(lambda: self.connected or self.ended, 10)

    def _on_connect(
        self,
        _client: object,
        _data: object,
        _flags: object,
        code: ReasonCode,
        _more: Properties | None,
    ) -> None:
        self.connected, self.ended = not code.is_failure, code.is_failure

    def _on_disconnect(self, *_words: object) -> None:
        self.connected, self.ended = False, True

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish, and wait for whatever the broker says."""
        before = len(self.codes)
        self.client.publish(topic, payload, qos=1)
        wait_for(lambda: len(self.codes) > before or self.ended, 10)

    def subscribe(self, *filters: str) -> None:
        """Subscribe, and wait for whatever the broker says."""
        before = len(self.codes)
        self.client.subscribe([(one, 1) for one in filters])
        wait_for(lambda: len(self.codes) > before or self.ended, 10)

    def vanish(self) -> None:
        """Go without a word, so that the broker publishes the will."""
        self.client.loop_stop()
        sock = self.client.socket()
        if sock is not None:
            sock.close()

    def close(self) -> None:
        """Take leave."""
        with contextlib.suppress(Exception):
            self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlantBroker]:
    with PlantBroker(tmp_path_factory.mktemp("broker") / "plant") as broker:
        yield broker


@pytest.fixture(scope="module")
def identities(broker: PlantBroker) -> dict[str, Path | None]:
    """Of each who should not get through; and of those who should."""
    folder = broker.folder.parent
    found: dict[str, Path | None] = {
        "none": None,
        "victim": broker.station("ulm/press4"),
        "another station's": broker.station("ulm/press5"),
        "revoked": broker.station("ulm/press6"),
        "observer": broker.user("observer"),
        "commander": broker.user("commander", "--may-command"),
    }
    broker.command("station", "revoke", "ulm/press6")
    broker.wait()
    stranger = sign.new_authority("stranger", datetime.now(timezone.utc))
    past = datetime.now(timezone.utc) - timedelta(days=1000)
    with open_plant(broker.folder) as plant:
        ours = plant.authority()
    now = datetime.now(timezone.utc)
    for who, authority, name, when in (
        ("wrong authority", stranger, "ulm/press4", now),
        ("expired", ours, "ulm/press4", past),
        ("wildcard", ours, "+/+", now),
        ("wildcard half", ours, "ulm/+", now),
        ("wildcard all", ours, "#", now),
    ):
        key = sign.new_key()
        signed = sign.sign_client(authority, key.public_key(), name, now=when)
        path = folder / f"{who.replace(' ', '-')}.pem"
        path.write_bytes(sign.key_pem(key) + signed.public_bytes(sign.Encoding.PEM))
        found[who] = path
    return found


@pytest.fixture
def connect(
    broker: PlantBroker, identities: dict[str, Path | None]
) -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def connected(who: str, will: str = "") -> Client:
        made.append(Client(broker, identities[who], will))
        return made[-1]

    yield connected
    for client in made:
        client.close()


@pytest.fixture
def observer(connect: Callable[..., Client]) -> Client:
    client = connect("observer")
    client.subscribe("lineside/#")
    return client


def marked(client: Client, after: Client) -> list[tuple[str, bytes]]:
    """What a client has heard by the time that it hears what the victim publishes last."""
    mark = uuid.uuid4().bytes
    after.publish(f"{VICTIM}/event", mark)
    wait_for(lambda: (f"{VICTIM}/event", mark) in client.heard, 10)
    return [one for one in client.heard if one[0] != f"{VICTIM}/event"]


ATTACKERS = [*IDENTITIES, "wildcard half", "wildcard all"]


@pytest.mark.parametrize("who", ATTACKERS)
@pytest.mark.parametrize("what", ["result/top", "command"])
def test_nobody_else_publishes_there(
    connect: Callable[..., Client], observer: Client, who: str, what: str
) -> None:
    rightful = connect("commander" if what == "command" else "victim")
    rightful.publish(f"{VICTIM}/{what}", b"rightful")
    attacker = connect(who)
    attacker.publish(f"{VICTIM}/{what}", b"attack")
    heard = marked(observer, connect("victim"))
    assert heard == [(f"{VICTIM}/{what}", b"rightful")]


@pytest.mark.parametrize("who", ATTACKERS)
def test_nobody_else_hears_it(connect: Callable[..., Client], observer: Client, who: str) -> None:
    attacker = connect(who)
    attacker.subscribe("lineside/#", f"{VICTIM}/result/top", f"{VICTIM}/#", "#")
    connect("victim").publish(f"{VICTIM}/result/top", b"secret")
    heard = marked(observer, connect("victim"))
    assert (f"{VICTIM}/result/top", b"secret") in heard
    time.sleep(0.2)
    assert attacker.heard == []


@pytest.mark.parametrize("who", ATTACKERS)
def test_nobody_else_has_a_last_will_there(
    connect: Callable[..., Client], observer: Client, who: str
) -> None:
    topic = f"{VICTIM}/status"
    attacker, rightful = connect(who, will=topic), connect("victim", will=topic)
    attacker.vanish()
    rightful.vanish()
    wait_for(lambda: (topic, b"will") in observer.heard, 10)
    assert marked(observer, connect("victim")) == [(topic, b"will")]


def test_only_whom_it_was_given_commands(connect: Callable[..., Client], observer: Client) -> None:
    for who in ("observer", "victim"):
        connect(who).publish(f"{VICTIM}/command", b"attack")
    connect("observer").publish(f"{VICTIM}/result/top", b"attack")
    connect("commander").publish(f"{VICTIM}/result/top", b"attack")
    assert marked(observer, connect("victim")) == []


def test_a_live_session_ends_with_its_certificate(
    broker: PlantBroker, connect: Callable[..., Client], identities: dict[str, Path | None]
) -> None:
    identities["traitor"] = broker.station("ulm/press9")
    traitor, other = connect("traitor"), connect("victim")
    traitor.publish("lineside/ulm/press9/result/top", b"before")
    assert traitor.codes[-1] < 0x80
    began = time.monotonic()
    done = broker.command("station", "revoke", "ulm/press9")
    wait_for(lambda: traitor.ended, REVOKED_S)
    assert time.monotonic() - began < REVOKED_S
    assert done.stdout == (
        "ulm/press9: revoked (1 certificate)\n"
        "the broker has started anew: all others are back by themselves\n"
    )
    broker.wait()
    assert not connect("traitor").connected
    wait_for(lambda: other.ended, REVOKED_S)
    assert connect("victim").connected
    identities["traitor"] = broker.station("ulm/press9")  # a new one is let in
    assert connect("traitor").connected
