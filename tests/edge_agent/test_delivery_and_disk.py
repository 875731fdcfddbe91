"""Delivery while the disk is full, damaged, limited, or used by another."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.errors import MessageError, StorageError
from lineside_agent.custody import BusyError
from lineside_agent.outbox import Outbox
from lineside_agent.publisher import WINDOW
from tests.support.broker import Mosquitto, free_port, wait_for
from tests.support.delivering import Delivery, numbers
from tests.support.examples import result
from tests.support.listener import Listener


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite"


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
