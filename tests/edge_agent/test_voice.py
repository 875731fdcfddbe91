"""What a station says of itself, while the broker is stuck or not to be believed."""

from __future__ import annotations

import contextlib
import queue
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.errors import BrokerError
from lineside.messages import Status, decode
from lineside.mqtt import Hooks, Incoming, MqttClient, Outgoing
from lineside.mqtt.client import MAX_IN_FLIGHT, MAX_QUEUED
from lineside.settings import Settings
from lineside_agent.commands import Audit
from lineside_agent.models import Roster
from lineside_agent.voice import Voice
from tests.support.broker import Mosquitto, wait_for
from tests.support.clients import QUICK
from tests.support.examples import BOOT
from tests.support.home import settings
from tests.support.keeping import Keeping
from tests.support.pki import broker_certificate, make_pki

STATUS = "lineside/ulm/press4/status"


class Speaking:
    """A station that looks at nothing and speaks.

    Its events and results do not go to the broker, but to the keeper's own in memory.
    """

    def __init__(self, wanted: Settings, folder: Path, keeping: Keeping) -> None:
        self.client = MqttClient(wanted.mqtt, "press4", backoff_s=QUICK)
        self.voice = Voice(
            wanted,
            BOOT,
            streams=[],
            keeper=keeping.keeper,
            publisher=keeping.publisher,
            roster=Roster(wanted, BOOT, keeping.keeper.event, Audit(folder / "audit.jsonl", BOOT)),
            client=self.client,
        )
        self.keeping = keeping

    def faults(self) -> list[str | None]:
        """The reasons of the events that name a fault."""
        self.voice.tick()
        events = self.keeping.broker.events
        return [event.details.get("reason") for event in events if event.kind == "broker_fault"]

    def connected(self) -> bool:
        self.voice.tick()
        return self.client.connected


@contextlib.contextmanager
def speaking(wanted: Settings, folder: Path) -> Iterator[Speaking]:
    with Keeping(folder / "outbox.sqlite") as keeping:
        station = Speaking(wanted, folder, keeping)
        station.client.start(Hooks(on_connect=station.voice.greet), will=station.voice.will)
        try:
            yield station
        finally:
            station.client.stop()


def crowd(client: MqttClient) -> None:
    """Fill its window and its queue; the broker must have stopped confirming."""

    def taken() -> bool:
        try:
            client.publish(Outgoing("elsewhere", b"x"))
        except BrokerError:
            return False
        return True

    for _ in range(MAX_IN_FLIGHT + MAX_QUEUED):
        wait_for(taken)
    assert not taken()


@pytest.mark.broker
def test_a_full_client_ends_nothing_and_the_status_is_said_later(
    tmp_path: Path, broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    heard: queue.SimpleQueue[Incoming] = queue.SimpleQueue()
    wanted = settings(tmp_path, broker.url, "")
    listener = MqttClient(wanted.mqtt, "listener", subscriptions=(STATUS,))
    listener.start(Hooks(on_message=heard.put))

    def state() -> str:
        status = decode("status", heard.get(timeout=10).payload)
        assert isinstance(status, Status)
        return status.state

    with speaking(wanted, tmp_path) as station:
        assert state() == "online"
        wait_for(lambda: station.client.idle)
        assert broker.process is not None
        broker.process.send_signal(signal.SIGSTOP)
        try:
            crowd(station.client)
            station.voice.resting = True
            station.voice.goodbye()
            station.keeping.publisher.delivery = "unconfirmed"
            station.voice.greet()
            station.voice.tick()
            assert station.client.connected
        finally:
            broker.process.send_signal(signal.SIGCONT)
        assert any("does not hear that the station stops" in text for text in caplog.messages)
        wait_for(lambda: station.client.idle)
        station.voice.tick()
        assert state() == "online"
    listener.stop()


@pytest.mark.broker
def test_a_fault_of_the_broker_that_comes_back_is_an_event_again(tmp_path: Path) -> None:
    pki = make_pki(tmp_path / "pki")
    early = broker_certificate(pki, tmp_path / "early.pem", begins_in_days=1).read_bytes()
    used = tmp_path / "used.pem"
    lines = (f"cafile {pki.ca}", f"certfile {used}", f"keyfile {pki.broker_key}")
    used.write_bytes(early)
    broker = Mosquitto(tmp_path / "broker", *lines)
    wanted = settings(tmp_path, broker.url.replace("mqtt:", "mqtts:"), f'ca_file = "{pki.ca}"')
    fault = "cert_not_yet_valid"
    with speaking(wanted, tmp_path) as station:
        with broker:
            wait_for(lambda: station.faults() == [fault])
        wait_for(lambda: "nothing listens there" in (station.client.error or ""))
        assert station.faults() == [fault]
        with broker:  # the same one still: nobody was connected meanwhile
            wait_for(lambda: station.client.fault == fault)
            assert station.faults() == [fault]
        used.write_bytes(pki.broker.read_bytes())
        with broker:
            wait_for(station.connected)
        used.write_bytes(early)
        with broker:
            wait_for(lambda: station.faults() == [fault, fault])
