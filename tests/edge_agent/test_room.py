"""A disk that is small, and one that somebody else fills."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside_agent.room import Room
from tests.support.broker import wait_for
from tests.support.disk import tiny_disk
from tests.support.keeping import Keeping


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with tiny_disk(tmp_path / "disk", kib=2048) as folder:
        yield folder


def used(folder: Path) -> int:
    """Bytes of all files there; one may be deleted meanwhile."""
    found = 0
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += file.stat().st_blocks * 512
    return found


def fill_up(folder: Path) -> Path:
    """Somebody else's file, as large as it can be."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        block = b"x" * 4096
        try:
            while file.write(block) == len(block):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return ballast


def keys(it: Keeping, last: int, stream: str = "top") -> list[tuple[str, str, int]]:
    return [(it.boot, stream, n) for n in range(1, last + 1)]


def test_the_parts_of_the_limit(tmp_path: Path, disk: Path) -> None:
    large = Room(tmp_path / "not" / "yet" / "outbox.sqlite", 500)
    assert large.limit == 500_000_000
    assert large.file == 500_000_000 - 2 * large.reserve
    small = Room(disk / "outbox.sqlite", 500)
    assert small.limit == 2048 * 1024 * 4 // 5
    assert small.restore()
    assert used(disk) == pytest.approx(small.reserve, abs=4096)
    ballast = fill_up(disk)
    assert small.release()
    assert not small.restore()
    ballast.unlink()
    assert small.restore()


def test_a_small_disk_without_a_broker_keeps_the_newest_and_names_the_rest(disk: Path) -> None:
    with Keeping(disk / "outbox.sqlite", connected=False) as it:
        most = 0
        for _ in range(150):
            assert it.put(60) == 60
            assert it.put(40, stream="side") == 40
            most = max(most, used(disk))
        it.written()
        assert it.keeper.problem is None
        assert most <= 2048 * 1024 * 4 // 5
        it.broker.connect()
        it.drain()
        wait_for(lambda: len(it.broker.results) + len(it.broker.lost()) >= 15_000)
        assert it.keeper.problem is None
        lost = it.broker.lost()
        heard = it.broker.results
        assert len(heard) + len(lost) == 15_000
        assert sorted(heard + lost) == sorted(keys(it, 9000) + keys(it, 6000, "side"))
        # The oldest are gone, but for those that the broker may have had.
        assert 400 < len(heard) < 2000
        newest = {n for _, stream, n in heard if stream == "top"}
        assert set(range(8800, 9001)) <= newest


def test_a_small_disk_with_a_broker_goes_on_and_loses_nothing(disk: Path) -> None:
    with Keeping(disk / "outbox.sqlite", waiting=200) as it:
        for _ in range(40):
            it.put(100)
            it.drain()
            assert used(disk) <= 2048 * 1024 * 4 // 5
        assert it.broker.results == keys(it, 4000)
        assert it.broker.events == []
        wait_for(lambda: it.keeper.ledger[0].first > 2000)


def test_while_somebody_else_fills_the_disk_results_wait(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineside_agent.keeper.RETRY_S", 0.1)
    with Keeping(disk / "outbox.sqlite", waiting=500) as it:
        it.put(100)
        it.drain()
        reserve = disk / "outbox.sqlite.reserve"
        assert reserve.exists()
        for episode in (1, 2):
            ballast = fill_up(disk)
            wait_for(lambda: it.put(9, wait=False) >= 0 and it.keeper.problem is not None)
            assert "the disk is full" in (it.keeper.problem or "")
            # The reserve lets the event out while the disk is still full.
            wait_for(lambda n=episode: it.broker.kinds().count("outbox_failed") == n)
            assert it.keeper.accept("top", b"{}") is None
            waits = sum(it.put(1, wait=False) for _ in range(600))
            assert waits < 600
            ballast.unlink()
            wait_for(lambda: it.keeper.problem is None)
            assert reserve.exists()
            it.drain()
            wait_for(lambda n=episode: it.broker.kinds().count("results_lost") == n)
            event = [e for e in it.broker.events if e.kind == "results_lost"][-1]
            assert event.details == {"dropped": {"top": 600 - waits}}
        assert it.broker.kinds().count("outbox_back") == 2
        last = it.keeper.ledger[0].last
        wait_for(lambda: it.keeper.ledger[0].last == len(it.broker.results) >= last)
        assert it.broker.results == keys(it, len(it.broker.results))
        assert it.broker.lost() == []


def test_what_was_moved_aside_counts_and_goes_first(disk: Path) -> None:
    path = disk / "outbox.sqlite"
    path.write_bytes(b"no database at all " * 20_000)
    with Keeping(path, connected=False) as it:
        aside = disk / "outbox.sqlite.corrupt-1"
        assert aside.exists()
        most = 0
        while aside.exists():
            it.put(50)
            most = max(most, used(disk))
        it.written()
        assert it.keeper.problem is None
        assert most <= 2048 * 1024 * 4 // 5
        it.broker.connect()
        it.drain()
        assert it.broker.lost() == []
        assert it.broker.kinds() == ["outbox_quarantined"]


def test_a_lower_limit_makes_the_file_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state" / "outbox.sqlite"
    with Keeping(path) as it:
        it.put(4000)
        it.drain()
    assert used(path.parent) > 3_000_000
    monkeypatch.setattr("lineside_agent.schedule.PRUNE_S", 0.05)
    with Keeping(path, max_mb=1) as it:
        wait_for(lambda: used(path.parent) <= 1_000_000)
        it.put(100)
        it.drain()
        assert it.broker.lost() == []
        assert used(path.parent) <= 1_000_000
