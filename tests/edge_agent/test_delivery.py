"""Delivery: every result arrives, whatever line and broker do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside_agent.publisher import WINDOW
from tests.support.broker import Mosquitto, free_port, wait_for
from tests.support.delivering import Delivery, numbers
from tests.support.listener import Listener
from tests.support.relay import Relay


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite"


@contextlib.contextmanager
def embedded_broker() -> Iterator[str]:
    iotcore = pytest.importorskip("iotcore", reason="iotcore comes with the extra 'demo'")
    port = free_port()
    with iotcore.Broker(port=port, listen="127.0.0.1"):
        yield f"mqtt://127.0.0.1:{port}"


@pytest.mark.broker
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_every_result_arrives_once(broker: Mosquitto, path: Path, protocol: str) -> None:
    with Listener(broker.url) as listener, Delivery(broker.url, path, protocol=protocol) as it:
        assert it.put(3000) == 3000
        it.drain()
        wait_for(lambda: len(listener.results()) >= 3000)
        assert sorted(listener.results()) == numbers(it.boot, 3000)
        wait_for(lambda: it.keeper.ledger[0].published_through == 3000)
        line = it.keeper.ledger[0]
        assert (line.boot, line.stream, line.first, line.last) == (it.boot, "top", 1, 3000)
        assert it.publisher.delivery == "confirmed"


def test_the_embedded_broker_confirms_by_echo(path: Path) -> None:
    with (
        embedded_broker() as url,
        Listener(url, "3.1.1") as listener,
        Delivery(url, path, protocol="3.1.1") as it,
    ):
        it.put(2000)
        it.drain()
        wait_for(lambda: len(listener.results()) >= 2000)
        assert sorted(listener.results()) == numbers(it.boot, 2000)
        assert it.publisher.delivery == "confirmed"


@pytest.mark.broker
def test_an_outage_longer_than_memory_loses_nothing(broker: Mosquitto, path: Path) -> None:
    """More than the publisher holds in memory: the rest comes back from disk."""
    with (
        Relay(broker.port) as relay,
        Listener(broker.url) as listener,
        Delivery(f"mqtt://127.0.0.1:{relay.port}", path) as it,
    ):
        it.put(100)
        it.drain()
        relay.closed = True
        relay.cut()
        it.put(4000)
        wait_for(lambda: it.keeper.waiting == 0)
        assert it.keeper.pending == 4000
        relay.closed = False
        it.put(100)
        it.drain()
        wait_for(lambda: len(listener.results()) >= 4200)
        assert sorted(listener.results()) == numbers(it.boot, 4200)
        wait_for(lambda: it.keeper.ledger[0].published_through == 4200)


@pytest.mark.broker
def test_a_restart_publishes_what_the_last_boot_left(broker: Mosquitto, path: Path) -> None:
    first = Delivery(f"mqtt://127.0.0.1:{free_port()}", path)
    with first:
        first.put(1500)
        wait_for(lambda: first.keeper.waiting == 0)
    with Listener(broker.url) as listener, Relay(broker.port) as relay:
        relay.closed = True  # until there are live results beside the backlog
        with Delivery(f"mqtt://127.0.0.1:{relay.port}", path) as second:
            second.put(10)
            wait_for(lambda: second.keeper.waiting == 0)
            relay.closed = False
            second.drain()
        wait_for(lambda: len(listener.results()) >= 1510)
        assert sorted(listener.results()) == sorted(
            numbers(first.boot, 1500) + numbers(second.boot, 10)
        )
        # Live results go before the backlog, but for what the client had been given already.
        last_live = max(n for n, (boot, _) in enumerate(listener.results()) if boot == second.boot)
        assert last_live < WINDOW + 10
        assert listener.events() == []


@pytest.mark.broker
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_cut_lines_lose_nothing(broker: Mosquitto, path: Path, protocol: str) -> None:
    with (
        Relay(broker.port) as relay,
        Listener(broker.url) as listener,
        Delivery(f"mqtt://127.0.0.1:{relay.port}", path, protocol=protocol) as it,
    ):
        for _ in range(8):
            it.put(150)
            time.sleep(0.05)
            relay.cut()
        it.drain()
        all_of_them = set(numbers(it.boot, 1200))

        def missing() -> str:
            numbers = sorted(n for _, n in all_of_them.difference(listener.results()))
            return (
                f"nothing missing (delivery {it.publisher.delivery}, {it.keeper.pending} pending, "
                f"{relay.connections} connections, missing {numbers}; {broker.log[-3000:]})"
            )

        wait_for(lambda: all_of_them <= set(listener.results()), what=missing)
        assert set(listener.results()) == all_of_them
        assert relay.connections >= 5


ACL = "topic read #\ntopic write lineside/ulm/press4/status\n"


def guarded(tmp_path: Path, acl: str = ACL) -> Mosquitto:
    folder = tmp_path / "guarded"
    return Mosquitto(folder, f"acl_file {folder / 'acl'}", files={"acl": acl})


@pytest.mark.broker
def test_a_refusal_under_mqtt_5_is_no_success_and_heals(tmp_path: Path, path: Path) -> None:
    with guarded(tmp_path) as broker:
        with Delivery(broker.url, path) as it:
            it.put(20)
            wait_for(lambda: it.publisher.results.reason == "Not authorized")
            time.sleep(0.5)
            assert it.keeper.pending == 20
            assert it.keeper.ledger[0].published_through == 0
            # It asks with one message at a time and pauses: no flood.
            assert broker.log.count("Denied PUBLISH") < 70
        broker.kill()
    allowed = guarded(tmp_path, "topic readwrite #\n")
    with allowed, Listener(allowed.url) as listener, Delivery(allowed.url, path) as later:
        later.drain()
        wait_for(lambda: len(listener.results()) >= 20)
        assert sorted(listener.results()) == numbers(it.boot, 20)
        assert later.publisher.results.reason is None


@pytest.mark.broker
def test_a_refusal_that_ends_while_we_run(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineside_agent.publisher.RETRY_S", 0.2)
    with guarded(tmp_path) as broker, Delivery(broker.url, path) as it:
        it.put(5)
        wait_for(lambda: it.publisher.results.reason is not None)
        (broker.folder / "acl").write_text("topic readwrite #\n")
        assert broker.process is not None
        broker.process.send_signal(1)  # SIGHUP: it reads its files again
        it.drain()
        assert it.publisher.results.reason is None


@pytest.mark.broker
def test_without_an_echo_delivery_is_unconfirmed_and_nothing_is_repeated(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under 3.1.1 mosquitto acknowledges what it then drops."""
    monkeypatch.setattr("lineside_agent.publisher.ECHO_S", 0.3)
    with guarded(tmp_path) as broker, Delivery(broker.url, path, protocol="3.1.1") as it:
        it.put(50)
        wait_for(lambda: it.publisher.delivery == "unconfirmed")
        it.drain()
        it.put(2000)
        it.drain()
        assert broker.log.count("Denied PUBLISH") == 2050
        assert it.publisher.delivery == "unconfirmed"
        (broker.folder / "acl").write_text("topic readwrite #\n")
        assert broker.process is not None
        broker.process.send_signal(1)

        def confirmed() -> bool:
            return it.put(1) == 1 and it.publisher.delivery == "confirmed"

        wait_for(confirmed)


@pytest.mark.broker
def test_events_wait_on_disk_too(broker: Mosquitto, path: Path) -> None:
    with Delivery(f"mqtt://127.0.0.1:{free_port()}", path) as first:
        first.keeper.event("camera_lost", "camera 'cam0' is gone", camera="cam0")
    with Listener(broker.url) as listener, Delivery(broker.url, path) as second:
        second.drain()
        wait_for(lambda: len(listener.events()) == 1)
        event = listener.events()[0]
        assert (event.kind, event.boot, event.details) == (
            "camera_lost",
            first.boot,
            {"camera": "cam0"},
        )
