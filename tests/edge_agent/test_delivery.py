"""Keeper, publisher and client together: from a result in memory to a subscriber, or to disk."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.errors import MessageError, StorageError
from lineside.mqtt import Hooks, MqttClient
from lineside.settings import MqttSettings, OutboxSettings, StationSettings
from lineside.topics import Topics
from lineside_agent.custody import BusyError
from lineside_agent.keeper import Keeper
from lineside_agent.outbox import Outbox
from lineside_agent.publisher import WINDOW, Publisher
from tests.support.broker import Mosquitto, free_port, wait_for
from tests.support.examples import result
from tests.support.listener import Listener
from tests.support.relay import Relay

TOPICS = Topics("ulm", "press4")


class Delivery:
    """Keeper, publisher and client, as the agent puts them together."""

    def __init__(self, url: str, path: Path, *, protocol: str = "5", **options: object) -> None:
        self.boot = str(uuid.uuid4())
        echo = protocol == "3.1.1"
        mqtt = MqttSettings(url=url, protocol=protocol)  # type: ignore[arg-type]
        self.client = MqttClient(
            mqtt,
            "press4",
            subscriptions=Publisher.subscriptions(TOPICS) if echo else (),
            backoff_s=(0.02, 0.1),
        )
        self.publisher = Publisher(self.client.publish, TOPICS, echo=echo)
        self.keeper = Keeper(
            OutboxSettings(path=str(path), **options),  # type: ignore[arg-type]
            StationSettings(site="ulm", name="press4"),
            self.boot,
            self.publisher,
            ["top"],
        )

    def start(self) -> None:
        self.keeper.start()
        self.client.start(
            Hooks(
                on_subscribed=self.publisher.on_subscribed,
                on_message=self.publisher.on_message,
                on_disconnect=self.publisher.on_disconnect,
            )
        )

    def put(self, count: int, *, wait: bool = True) -> int:
        """Give so many results; how many were kept."""
        kept = 0
        for _ in range(count):
            kept += self.keeper.put(result(boot=self.boot), wait=wait)
        return kept

    def drain(self, timeout: float = 20) -> None:
        wait_for(lambda: self.keeper.pending == 0, timeout, "everything published")

    def stop(self) -> bool:
        written = self.keeper.stop()
        self.client.stop()
        return written

    def __enter__(self) -> Delivery:  # noqa: PYI034
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()


def numbers(boot: str, last: int) -> list[tuple[str, int]]:
    return [(boot, n) for n in range(1, last + 1)]


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
        wait_for(lambda: len(set(listener.results())) == 1200)
        assert sorted(set(listener.results())) == numbers(it.boot, 1200)
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
            wait_for(lambda: it.publisher.refusal == "Not authorized")
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
        assert later.publisher.refusal is None


@pytest.mark.broker
def test_a_refusal_that_ends_while_we_run(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineside_agent.publisher.RETRY_S", 0.2)
    with guarded(tmp_path) as broker, Delivery(broker.url, path) as it:
        it.put(5)
        wait_for(lambda: it.publisher.refusal is not None)
        (broker.folder / "acl").write_text("topic readwrite #\n")
        assert broker.process is not None
        broker.process.send_signal(1)  # SIGHUP: it reads its files again
        it.drain()
        assert it.publisher.refusal is None


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


def limit_disk(outbox: Outbox, pages: int) -> None:
    """SQLite's own limit stands for the disk's: the error and its path are the same."""
    database = outbox._connection  # noqa: SLF001
    database.pragma("max_page_count", database.pragma("page_count") + pages)


def opened(it: Delivery) -> Outbox:
    outbox = it.keeper._outbox  # noqa: SLF001
    assert outbox is not None
    return outbox


@pytest.mark.broker
def test_a_full_disk_holds_results_in_memory_and_says_what_was_dropped(
    broker: Mosquitto, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineside_agent.keeper.RETRY_S", 0.05)
    with Listener(broker.url) as listener, Delivery(broker.url, path, waiting=100) as it:
        it.put(10)
        it.drain()
        limit_disk(opened(it), 0)
        # The newest page may still have room for a few.
        wait_for(lambda: it.put(1, wait=False) == 0 or it.keeper.problem is not None)
        wait_for(lambda: it.keeper.problem is not None)
        assert "the disk is full; free some space" in (it.keeper.problem or "")
        dropped = 0
        for _ in range(300):
            dropped += 1 - it.put(1, wait=False)
        assert dropped >= 200
        limit_disk(opened(it), 10_000)
        wait_for(lambda: it.keeper.problem is None)
        it.put(5)
        it.drain()
        wait_for(lambda: "results_lost" in {event.kind for event in listener.events()})
        kinds = {event.kind: event for event in listener.events()}
        assert set(kinds) == {"outbox_failed", "outbox_back", "results_lost"}
        assert kinds["results_lost"].details == {"dropped": {"top": dropped}}
        assert "outbox.waiting is 100" in kinds["results_lost"].message
        # What was kept has no gap: those that were dropped never got a number.
        last = it.keeper.ledger[0].last
        wait_for(lambda: len(listener.results()) == it.keeper.ledger[0].last >= last)
        assert listener.results() == numbers(it.boot, len(listener.results()))


@pytest.mark.broker
def test_a_file_that_is_corrupt_at_the_start(broker: Mosquitto, path: Path) -> None:
    path.write_bytes(b"this is no database" * 100)
    with Listener(broker.url) as listener, Delivery(broker.url, path) as it:
        it.put(10)
        it.drain()
        wait_for(lambda: len(listener.results()) == 10)
        wait_for(lambda: len(listener.events()) == 1)
        event = listener.events()[0]
        assert event.kind == "outbox_quarantined"
        assert event.details == {"file": "outbox.sqlite.corrupt-1"}
        assert path.with_name("outbox.sqlite.corrupt-1").read_bytes().startswith(b"this is no")


@pytest.mark.broker
def test_a_file_that_is_damaged_while_it_is_in_use(broker: Mosquitto, path: Path) -> None:
    with Listener(broker.url) as listener, Delivery(broker.url, path) as it:
        it.put(500)
        it.drain()
        database = opened(it)._connection  # noqa: SLF001 - so that it reads what is on disk
        for pragma in ("wal_checkpoint(truncate)", "shrink_memory"):
            database.execute(f"PRAGMA {pragma}").fetchall()
        with path.open("r+b") as file:
            file.write(b"\x5a" * path.stat().st_size)
        it.put(500)
        wait_for(lambda: it.put(1) and len(set(listener.results())) >= 1000, 20)
        it.drain()
        wait_for(lambda: "outbox_quarantined" in {event.kind for event in listener.events()})
        heard = sorted(set(listener.results()))
        assert heard == numbers(it.boot, len(heard))


@pytest.mark.broker
def test_more_than_may_be_kept_goes_and_is_named(path: Path, broker: Mosquitto) -> None:
    with Delivery(f"mqtt://127.0.0.1:{free_port()}", path, max_results=1000) as first:
        first.put(1500)
        wait_for(lambda: first.keeper.waiting == 0 and first.keeper.pending <= 1001)
    with Listener(broker.url) as listener, Delivery(broker.url, path) as second:
        second.drain()
        wait_for(lambda: "results_lost" in {event.kind for event in listener.events()})
        lost = {
            number
            for event in listener.events()
            if event.kind == "results_lost"
            for part in event.details["lost"]
            for number in range(part["first"], part["last"] + 1)
        }
        wait_for(lambda: len(listener.results()) + len(lost) >= 1500)
        heard = {seq for _, seq in listener.results()}
        assert heard | lost == set(range(1, 1501))
        # Those that the client had been given may have reached the broker: they stay.
        assert lost == set(range(min(lost), max(lost) + 1))
        assert min(lost) <= WINDOW + 1
        assert 500 <= len(lost) <= 511


def test_what_is_asked_is_read_between_commits(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it = Delivery(f"mqtt://127.0.0.1:{free_port()}", path)
    answers: list[object] = []

    def read(outbox: Outbox) -> list[int]:
        return [seq for seq, _ in outbox.results(it.boot, "top", 1, 10, 10)]

    def fails(outbox: Outbox) -> None:
        msg = f"{outbox.path.name} can't be read"
        raise StorageError(msg)

    with it:
        it.put(5)
        wait_for(lambda: it.keeper.waiting == 0)
        it.keeper.ask(read, answers.append)
        it.keeper.ask(fails, answers.append)
        wait_for(lambda: len(answers) == 2)
        assert answers[0] == [1, 2, 3, 4, 5]
        assert str(answers.pop()) == "outbox.sqlite can't be read"
        monkeypatch.setattr("lineside_agent.questions.MAX_ASKED", 0)
        it.keeper.ask(read, answers.append)
        assert isinstance(answers.pop(), StorageError)
        assert it.put(1) == 1
    it.keeper.ask(read, answers.append)
    assert isinstance(answers.pop(), StorageError)


def test_a_message_that_is_too_long_is_refused(path: Path) -> None:
    with Delivery(f"mqtt://127.0.0.1:{free_port()}", path) as it:
        long = result(reasons=["x" * 100_000])
        with pytest.raises(MessageError, match="is not kept: at most 65536"):
            it.keeper.put(long, wait=True)
        assert it.put(1) == 1
        wait_for(lambda: it.keeper.waiting == 0)
        assert it.keeper.ledger[0].last in {0, 1}


def test_a_second_agent_is_refused(path: Path) -> None:
    with (
        Delivery(f"mqtt://127.0.0.1:{free_port()}", path),
        pytest.raises(BusyError, match="is used by another agent"),
    ):
        Delivery(f"mqtt://127.0.0.1:{free_port()}", path).start()
