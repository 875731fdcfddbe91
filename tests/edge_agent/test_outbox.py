"""The outbox on a real disk, with real SQLite."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from lineside.errors import StorageError
from lineside_agent.custody import BusyError, CorruptError, DiskFullError, quarantine
from lineside_agent.outbox import Outbox
from lineside_agent.past import Answer, Known
from lineside_agent.records import EVENTS, Aside, Entry, Row, State
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
    first = Outbox(path, "boot-1", streams=["side"])
    assert first.past.cut_off == {}
    entries = [Entry("top", n, b"x") for n in range(1, 6)]
    first.commit(entries, aside=Aside(granted={"top": 23}, accepted=[(4, "side", b"{}")]))
    first.close(clean=False)
    second = Outbox(path, "boot-2")
    assert second.past.cut_off == {
        "boot-1": [Known("side", 0, 8, 1), Known("top", 5, 18, 0)],
    }
    second.close(clean=False)
    third = Outbox(path, "boot-3")  # the second had not committed that it has said so
    assert list(third.past.cut_off) == ["boot-1", "boot-2"]
    assert third.past.cut_off["boot-1"] == second.past.cut_off["boot-1"]
    third.commit([Entry(EVENTS, 1, b"cut_off")], aside=Aside(ended=["boot-1", "boot-2"]))
    third.close(clean=True)
    fourth = Outbox(path, "boot-4")
    assert fourth.past.cut_off == {}
    fourth.close(clean=True)


def test_accepted_triggers_stay_until_their_result_is_there(path: Path) -> None:
    outbox = Outbox(path, "boot-1")
    triggers = [(n, "top", b'{"n": %d}' % n) for n in (1, 2, 3)]
    outbox.commit(aside=Aside(accepted=triggers))
    # 5 is answered in the transaction that would journal it.
    both = Aside(accepted=[(4, "side", b"4"), (5, "top", b"5")])
    outbox.commit([Entry("top", 1, b"x", 2), Entry("top", 2, b"x", 5)], aside=both)
    outbox.close(clean=True)
    outbox = Outbox(path, "boot-2")
    left = [triggers[0], triggers[2], (4, "side", b"4")]
    assert outbox.past.unanswered == left
    outbox.commit([Entry("top", 1, b"x", 3)])
    outbox.close(clean=False)
    outbox = Outbox(path, "boot-3")
    assert outbox.past.unanswered == [triggers[0], (4, "side", b"4")]
    outbox.close(clean=True)


def test_answers_are_kept_until_they_are_forgotten(path: Path) -> None:
    outbox = Outbox(path, "boot-1")
    answers = [Answer(n, "mes", f"id-{n}", b"%d" % n) for n in range(1, 6)]
    outbox.commit(aside=Aside(answers=answers[:4]))
    again = Answer(6, "mes", "id-4", b"again")
    outbox.commit(aside=Aside(answers=[answers[4], again], forgotten=2))
    outbox.close(clean=True)
    outbox = Outbox(path, "boot-2")
    assert outbox.past.answers == [answers[2], answers[4], again]
    outbox.close(clean=True)


# As the first version wrote it. Not made from the code, which would hide a change of an old step.
VERSION_1 = """
CREATE TABLE boots (boot TEXT PRIMARY KEY, ended INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE series (
    series INTEGER PRIMARY KEY, boot TEXT NOT NULL, stream TEXT NOT NULL, UNIQUE (boot, stream)
) STRICT;
CREATE TABLE messages (
    id INTEGER PRIMARY KEY, series INTEGER NOT NULL, seq INTEGER NOT NULL,
    state INTEGER NOT NULL, at REAL NOT NULL, payload BLOB NOT NULL, UNIQUE (series, seq)
) STRICT;
CREATE INDEX pending ON messages (series, seq) WHERE state = 0;
CREATE INDEX published ON messages (at) WHERE state > 0;
INSERT INTO boots VALUES ('old', 0);
INSERT INTO series VALUES (1, 'old', 'top'), (2, 'old', '');
INSERT INTO messages VALUES
    (1, 1, 1, 1, 7.5, x'61'), (2, 1, 2, 0, 0, x'62'), (3, 2, 1, 0, 0, x'63');
PRAGMA application_id = 1818848869;
PRAGMA user_version = 1;
"""


def test_a_file_of_the_first_version_is_taken_over(path: Path) -> None:
    path.parent.mkdir()
    old = apsw.Connection(str(path))
    old.execute("PRAGMA journal_mode = wal").fetchall()
    old.execute(VERSION_1).fetchall()
    old.close()
    outbox = Outbox(path, "boot-2")
    assert outbox.past.cut_off == {"old": [Known("top", 2, None, 0)]}
    assert (outbox.pending, outbox.kept, outbox.next_id) == (2, 1 + 1, 4)
    assert outbox.results("old", "top", 1, 9, 9) == [(1, b"a"), (2, b"b")]
    outbox.commit([Entry("top", 1, b"d")], aside=Aside(accepted=[(1, "top", b"{}")]))
    assert [row.payload for row in outbox.backlog((0, 0), 9)] == [b"b", b"c", b"d"]
    outbox.close(clean=True)
    outbox = Outbox(path, "boot-3")
    assert outbox.past.unanswered == [(1, "top", b"{}")]
    outbox.close(clean=True)


def test_what_was_committed_survives_a_kill(path: Path) -> None:
    program = """
import sys
from pathlib import Path
from lineside_agent.outbox import Outbox
from lineside_agent.records import Entry
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
    assert outbox.expire(retention_s=1000, limit=99).results == 0
    assert outbox.kept == 6
    assert outbox.expire(retention_s=-1, limit=2).results == 2
    pruned = outbox.expire(retention_s=-1, limit=99)
    assert (pruned.results, pruned.pending) == (1, 0)
    assert (outbox.kept, outbox.pending) == (3, 3)
    assert seqs(outbox.backlog((0, 0), 10)) == [4, 5, 6]


def test_the_oldest_go_and_which_they_were_is_noted_until_it_is_told(path: Path) -> None:
    outbox = Outbox(path, "boot-1")
    fill(outbox, 1, 4)
    outbox.close(clean=True)
    outbox = Outbox(path, "boot-2")
    rows = fill(outbox, 1, 3) + fill(outbox, 1, 2, "side") + fill(outbox, 4, 6)
    fill(outbox, 1, 1, EVENTS)
    outbox.commit([], [(row.id, State.CONFIRMED) for row in rows[1:3]])
    assert outbox.discard(9).results == 2
    assert outbox.losses(9) == (0, [])
    # In the order in which they were made: the streams of a boot are mixed.
    ids = outbox.oldest(8)
    assert [(row.stream, row.seq) for row in outbox.backlog((0, 0), 99) if row.id in ids] == [
        *(("top", n) for n in (1, 2, 3, 4, 1, 4)),
        *(("side", n) for n in (1, 2)),
    ]
    assert outbox.lose(ids[:3]).pending == 3
    assert outbox.lose(ids[3:6]).results == 3
    number, lost = outbox.losses(9)
    assert lost == [
        Loss("boot-1", "top", 1, 4),
        Loss("boot-2", "side", 1, 1),
        Loss("boot-2", "top", 1, 1),
    ]
    # What is being told is not made longer.
    outbox.lose(ids[6:], told=number)
    outbox.close(clean=False)
    outbox = Outbox(path, "boot-3")
    outbox.commit([Entry(EVENTS, 1, b"told")], aside=Aside(told=number))
    assert outbox.losses(9)[1] == [Loss("boot-2", "side", 2, 2), Loss("boot-2", "top", 4, 4)]
    left = {(row.stream, row.seq) for row in outbox.backlog((0, 0), 10)}
    assert left == {("top", 5), ("top", 6), (EVENTS, 1)}
    assert (outbox.kept, outbox.pending) == (2, 4)
    outbox.expire(retention_s=1000, limit=9)
    assert [line.boot for line in outbox.ledger()] == ["boot-2"]
    outbox.close(clean=True)


def test_events_are_bounded_and_displace_no_result(outbox: Outbox) -> None:
    fill(outbox, 1, 3)
    fill(outbox, 1, 8, EVENTS)
    assert (outbox.kept, outbox.pending) == (3, 11)
    assert outbox.surplus(8, 99) == []
    assert len(outbox.surplus(5, 2)) == 2
    pruned = outbox.delete(outbox.surplus(5, 99))
    assert (pruned.results, pruned.events) == (0, 3)
    assert (outbox.kept, outbox.pending) == (3, 8)
    left = [row.seq for row in outbox.backlog((0, 0), 20) if row.stream == EVENTS]
    assert left == [4, 5, 6, 7, 8]


def test_what_is_free_in_the_file_is_given_back(path: Path) -> None:
    outbox = Outbox(path, "boot-1")
    outbox.commit([Entry("top", n, b"x" * 900) for n in range(1, 2001)])
    size, free = outbox.room()
    assert free == 0
    outbox.lose(outbox.oldest(1500))
    assert outbox.room()[1] > size // 2
    outbox.shrink(1_000_000)
    assert outbox.room()[0] == size - 1_000_000 // 4096 * 4096
    outbox.close(clean=True)
    assert path.stat().st_size < size - 990_000
    Outbox(path, "boot-1").close(clean=True)


def test_a_full_disk_is_said_and_nothing_is_half_written(outbox: Outbox) -> None:
    fill(outbox, 1, 100)
    database = outbox._connection  # noqa: SLF001 - SQLite's own limit stands for the disk's
    database.pragma("max_page_count", database.pragma("page_count") + 4)
    committed = [100]

    def flood() -> None:
        while True:
            fill(outbox, committed[-1] + 1, committed[-1] + 10)
            committed.append(committed[-1] + 10)

    with pytest.raises(DiskFullError, match="the disk is full; free some space"):
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
    newer.execute("PRAGMA user_version = 3").fetchall()
    newer.close()
    with pytest.raises(BusyError, match="was written by a newer lineside: update"):
        Outbox(path, "boot-1")


def test_a_folder_that_can_not_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"Not a directory|File exists"):
        Outbox(tmp_path / "file" / "outbox.sqlite", "boot-1")
