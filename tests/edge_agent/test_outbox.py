"""The outbox on a real disk, with real SQLite."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from lineside.errors import StorageError
from lineside_agent.custody import BusyError, CorruptError, quarantine
from lineside_agent.outbox import EVENTS, Entry, Outbox, Row, State
from lineside_agent.retention import Loss


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "outbox.sqlite"


@pytest.fixture
def outbox(path: Path) -> Iterator[Outbox]:
    outbox = Outbox(path, "boot-1")
    yield outbox
    outbox.close(clean=True)


def fill(outbox: Outbox, first: int, last: int, stream: str = "top") -> list[Row]:
    payloads = [(n, f"{stream} {n}".encode()) for n in range(first, last + 1)]
    return outbox.commit([Entry(stream, n, payload) for n, payload in payloads])


def seqs(rows: list[Row]) -> list[int]:
    return [row.seq for row in rows]


def test_what_is_committed_is_the_backlog_until_it_is_done(outbox: Outbox) -> None:
    rows = fill(outbox, 1, 5)
    assert [(r.stream, r.seq, r.payload) for r in rows[:2]] == [
        ("top", 1, b"top 1"),
        ("top", 2, b"top 2"),
    ]
    assert outbox.backlog((0, 0), 10) == rows
    assert (outbox.pending, outbox.kept) == (5, 5)
    outbox.commit([], [(rows[1].id, State.CONFIRMED), (rows[2].id, State.UNCONFIRMED)])
    assert seqs(outbox.backlog((0, 0), 10)) == [1, 4, 5]
    assert (outbox.pending, outbox.kept) == (3, 5)
    # Told twice, it counts once.
    outbox.commit([], [(rows[1].id, State.CONFIRMED)])
    assert outbox.pending == 3


def test_the_backlog_comes_in_pages_oldest_boot_first(path: Path) -> None:
    outbox = Outbox(path, "boot-1")
    fill(outbox, 1, 3)
    outbox.close(clean=True)
    outbox = Outbox(path, "boot-2")
    fill(outbox, 1, 3)
    fill(outbox, 1, 2, "side")
    found, after = [], (0, 0)
    while page := outbox.backlog(after, 3):
        after = (page[-1].series, page[-1].seq)
        found += [(row.stream, row.seq) for row in page]
    assert found == [("top", n) for n in (1, 2, 3, 1, 2, 3)] + [("side", 1), ("side", 2)]
    outbox.close(clean=True)


def test_the_ledger(path: Path) -> None:
    outbox = Outbox(path, "boot-1")
    rows = fill(outbox, 1, 4)
    fill(outbox, 1, 1, EVENTS)
    outbox.commit([], [(row.id, State.CONFIRMED) for row in rows if row.seq != 3])
    outbox.close(clean=True)
    outbox = Outbox(path, "boot-2")
    outbox.commit([], [(row.id, State.CONFIRMED) for row in fill(outbox, 1, 2, "side")])
    fill(outbox, 1, 2)
    lines = [(x.boot, x.stream, x.first, x.last, x.published_through) for x in outbox.ledger()]
    assert lines == [
        ("boot-2", "top", 1, 2, 0),
        ("boot-2", "side", 1, 2, 2),
        ("boot-1", "top", 1, 4, 2),
    ]
    outbox.close(clean=True)


def test_results_of_a_boot_and_stream_by_their_numbers(path: Path) -> None:
    outbox = Outbox(path, "boot-1")
    rows = fill(outbox, 1, 6)
    fill(outbox, 1, 9, "side")
    outbox.commit([], [(row.id, State.CONFIRMED) for row in rows[:4]])
    outbox.close(clean=True)
    outbox = Outbox(path, "boot-2")
    fill(outbox, 1, 9)
    assert outbox.results("boot-1", "top", 2, 5, 3) == [
        (2, b"top 2"),
        (3, b"top 3"),
        (4, b"top 4"),
    ]
    assert outbox.results("boot-1", "top", 5, 99, 3) == [(5, b"top 5"), (6, b"top 6")]
    assert outbox.results("boot-3", "top", 1, 9, 3) == []
    assert outbox.results("boot-1", "none", 1, 9, 3) == []
    outbox.close(clean=True)


def test_a_boot_that_ended_without_a_stop_is_said_once(path: Path) -> None:
    first = Outbox(path, "boot-1")
    assert first.cut_off == []
    first.close(clean=False)
    second = Outbox(path, "boot-2")
    assert second.cut_off == ["boot-1"]
    second.close(clean=True)
    third = Outbox(path, "boot-3")
    assert third.cut_off == []
    third.close(clean=True)


def test_what_was_committed_survives_a_kill(path: Path) -> None:
    program = """
import sys
from pathlib import Path
from lineside_agent.outbox import Entry, Outbox
outbox = Outbox(Path(sys.argv[1]), "boot-1")
seq = 0
while True:
    outbox.commit([Entry("top", seq := seq + 1, b"x" * 500) for _ in range(3)])
    print(seq, flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) >= 60:
                break
        child.kill()
        committed = max([60, *map(int, child.stdout.read().split("\n")[:-1])])
    outbox = Outbox(path, "boot-2")
    found = seqs(outbox.backlog((0, 0), 100_000))
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= committed
    assert len(found) % 3 == 0  # a transaction is there whole or not at all
    outbox.close(clean=True)


def test_one_agent_at_a_time(outbox: Outbox, path: Path) -> None:
    assert outbox.pending == 0
    with pytest.raises(BusyError, match="is used by another agent: stop that one"):
        Outbox(path, "boot-2")


def test_retention_deletes_only_what_was_published_long_ago(outbox: Outbox) -> None:
    rows = fill(outbox, 1, 6)
    outbox.commit([], [(row.id, State.CONFIRMED) for row in rows[:3]])
    assert outbox.prune(retention_s=1000, max_results=1000).results == 0
    assert outbox.kept == 6
    pruned = outbox.prune(retention_s=-1, max_results=1000)
    assert (pruned.results, pruned.pending, pruned.lost) == (3, 0, [])
    assert (outbox.kept, outbox.pending) == (3, 3)
    assert seqs(outbox.backlog((0, 0), 10)) == [4, 5, 6]


def test_too_many_published_ones_go_first_then_the_loss_is_said(path: Path) -> None:
    outbox = Outbox(path, "boot-1")
    fill(outbox, 1, 4)
    outbox.close(clean=True)
    outbox = Outbox(path, "boot-2")
    rows = fill(outbox, 1, 6)
    fill(outbox, 1, 1, EVENTS)
    outbox.commit([], [(row.id, State.CONFIRMED) for row in rows[1:3]])
    assert outbox.prune(retention_s=1000, max_results=8).lost == []
    assert outbox.kept == 8
    lost = outbox.prune(retention_s=1000, max_results=2).lost
    # Of the second boot 2 and 3 had been published: they are no loss.
    assert lost == [
        Loss("boot-1", "top", 1, 4),
        Loss("boot-2", "top", 1, 1),
        Loss("boot-2", "top", 4, 4),
    ]
    assert (outbox.kept, outbox.pending) == (2, 3)
    left = {(row.stream, row.seq) for row in outbox.backlog((0, 0), 10)}
    assert left == {("top", 5), ("top", 6), (EVENTS, 1)}
    assert [line.boot for line in outbox.ledger()] == ["boot-2"]
    outbox.close(clean=True)


def test_the_loss_is_made_in_steps_of_a_hundredth(outbox: Outbox) -> None:
    fill(outbox, 1, 1001)
    assert outbox.prune(retention_s=1000, max_results=1000).lost == [Loss("boot-1", "top", 1, 11)]
    assert outbox.kept == 990
    assert outbox.prune(retention_s=1000, max_results=1000).lost == []


def test_events_are_bounded_and_displace_no_result(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineside_agent.outbox.MAX_EVENTS", 5)
    fill(outbox, 1, 3)
    fill(outbox, 1, 8, EVENTS)
    assert (outbox.kept, outbox.pending) == (3, 11)
    pruned = outbox.prune(retention_s=1000, max_results=3)
    assert (pruned.results, pruned.events, pruned.lost) == (0, 3, [])
    assert (outbox.kept, outbox.pending) == (3, 8)
    left = [row.seq for row in outbox.backlog((0, 0), 20) if row.stream == EVENTS]
    assert left == [4, 5, 6, 7, 8]


def test_a_full_disk_is_said_and_nothing_is_half_written(outbox: Outbox) -> None:
    fill(outbox, 1, 100)
    database = outbox._connection  # noqa: SLF001 - SQLite's own limit stands for the disk's
    database.pragma("max_page_count", database.pragma("page_count") + 4)
    committed = [100]

    def flood() -> None:
        while True:
            fill(outbox, committed[-1] + 1, committed[-1] + 10)
            committed.append(committed[-1] + 10)

    with pytest.raises(StorageError, match="the disk is full; free some space"):
        flood()
    kept = committed[-1]
    assert (outbox.kept, outbox.pending) == (kept, kept)
    database.pragma("max_page_count", 1_000_000)
    fill(outbox, kept + 1, kept + 3)
    assert seqs(outbox.backlog((0, 0), 10_000)) == list(range(1, kept + 4))


@pytest.mark.parametrize("how", ["garbage", "middle", "cut"])
def test_a_corrupt_file_is_refused_and_moved_aside(path: Path, how: str) -> None:
    outbox = Outbox(path, "boot-1")
    fill(outbox, 1, 2000)
    outbox.close(clean=True)
    data = path.read_bytes()
    broken = {
        "garbage": b"no database at all" * 1000,
        "middle": data[:9000] + b"\x5a" * 8000 + data[17000:],
        "cut": data[: len(data) // 2],
    }
    path.write_bytes(broken[how])
    with pytest.raises(CorruptError, match=r"outbox\.sqlite is damaged"):
        Outbox(path, "boot-2")
    assert quarantine(path).read_bytes()[:50] == broken[how][:50]
    fresh = Outbox(path, "boot-2", first_id=5000)
    assert fill(fresh, 1, 1)[0].id == 5000
    fresh.close(clean=True)


def test_only_a_few_corrupt_files_are_kept(path: Path) -> None:
    path.parent.mkdir()
    for n in range(6):
        path.write_bytes(f"{n}".encode())
        quarantine(path)
    left = {file.name: file.read_text() for file in path.parent.iterdir()}
    assert left == {f"outbox.sqlite.corrupt-{n + 1}": f"{n}" for n in (3, 4, 5)}


def test_the_file_of_another_program_and_of_a_newer_version(path: Path) -> None:
    path.parent.mkdir()
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE t (x); PRAGMA user_version = 3").fetchall()
    other.close()
    with pytest.raises(CorruptError, match="is no outbox but another SQLite file"):
        Outbox(path, "boot-1")
    quarantine(path)
    Outbox(path, "boot-1").close(clean=True)
    newer = apsw.Connection(str(path))
    newer.execute("PRAGMA user_version = 2").fetchall()
    newer.close()
    with pytest.raises(BusyError, match="was written by a newer lineside: update"):
        Outbox(path, "boot-1")


def test_a_folder_that_can_not_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"Not a directory|File exists"):
        Outbox(tmp_path / "file" / "outbox.sqlite", "boot-1")
