"""The keeper: accepted triggers, answers, what a cut leaves, and when it commits."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lineside.errors import MessageError
from lineside_agent.answers import Answers
from lineside_agent.outbox import Outbox
from lineside_agent.past import Answer
from tests.support.broker import wait_for
from tests.support.keeping import Keeping


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite"


def test_an_accepted_trigger_is_answered_by_its_result(path: Path) -> None:
    told: list[bool] = []
    with Keeping(path) as it:
        first = it.keeper.accept("top", b'{"id": 1}', then=lambda: told.append(True))
        second = it.keeper.accept("top", b'{"id": 2}', then=lambda: told.append(True))
        wait_for(lambda: told == [True, True])
        assert first is not None
        assert it.put(1, journal=first) == 1
    with Keeping(path) as later:
        assert second is not None
        assert later.keeper.unanswered == [(second, "top", b'{"id": 2}')]
        third = later.keeper.accept("top", b"{}")
        assert third is not None
        assert third > second
        assert later.put(1, journal=second) == later.put(1, journal=third) == 1
        assert later.keeper.unanswered == []
    with Keeping(path) as last:
        assert last.keeper.unanswered == []


def test_accepting_reserves_room_for_the_result(path: Path) -> None:
    it = Keeping(path, waiting=100)
    it.keeper.start()  # without a broker thread: nothing else moves
    numbers = [it.keeper.accept("top", b"{}") for _ in range(120)]
    accepted = [number for number in numbers if number is not None]
    assert len(accepted) == 100
    assert it.put(1, wait=False) == 0
    assert [it.put(1, wait=False, journal=number) for number in accepted] == [1] * 100
    it.written()
    assert it.keeper.accept("top", b"{}") is not None
    with pytest.raises(MessageError, match="is not kept: at most 65536"):
        it.keeper.accept("top", b"x" * 70_000)
    assert it.keeper.stop()
    assert it.keeper.accept("top", b"{}") is None


def test_a_trigger_that_cannot_be_written_yet_is_accepted_later(path: Path) -> None:
    """Its part is looked at already: refused, it would be sent again and give a second result."""
    with Keeping(path, waiting=100) as it:
        opened = it.keeper._outbox  # noqa: SLF001 - SQLite's own limit stands for the disk's
        assert opened is not None
        database = opened._connection  # noqa: SLF001
        database.pragma("max_page_count", database.pragma("page_count"))
        told: list[bool] = []
        numbers: list[int | None] = []
        while it.keeper.problem is None:
            numbers.append(it.keeper.accept("top", b"x" * 5000, then=lambda: told.append(True)))
        accepted = [number for number in numbers if number is not None]
        assert len(told) < len(accepted)
        assert it.keeper.accept("top", b"{}") is None
        assert it.put(1, wait=False, journal=accepted[-1]) == 1
        database.pragma("max_page_count", 1_000_000)
        wait_for(lambda: len(told) == len(accepted))
    with Keeping(path) as later:
        assert [number for number, _, _ in later.keeper.unanswered] == accepted[:-1]


PROGRAM = """
import os
import sys
from pathlib import Path
from tests.support.keeping import Keeping
it = Keeping(Path(sys.argv[1]), connected=False)
it.keeper.start()
n = 0
while True:
    n += 1
    if n % 10 == 0:
        said = b"A %d\\n" % n
        number = it.keeper.accept("top", b"%d" % n, then=lambda said=said: os.write(1, said))
        if n % 20 == 0:
            it.put(1, journal=number)
    else:
        it.put(1)
        os.write(1, b"P %d\\n" % n)
"""


@pytest.mark.parametrize("after", [5, 40, 700])
def test_after_a_kill_the_event_says_what_may_be_missing(path: Path, after: int) -> None:
    accepted: list[int] = []
    given = 0
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if not line.endswith("\n"):
                break  # it was killed in the middle of a word
            kind, _, number = line.partition(" ")
            given = max(given, int(number))
            if kind == "A":
                accepted.append(int(number))
            if given >= after:
                child.kill()
    with Keeping(path) as it:
        wait_for(lambda: "cut_off" in it.broker.kinds())
        event = it.broker.events[0]
        stream = event.details["streams"][0]
        # Each n gave a result, but for every twentieth from the tenth on.
        numbers = given - (given + 10) // 20
        missing = max(0, numbers - stream["last"])
        assert missing <= stream["lost_at_most"]
        assert f"at most {stream['lost_at_most']} untriggered results" in event.message
        assert stream["unanswered"] == len(it.keeper.unanswered)
        left = {int(trigger) for _, _, trigger in it.keeper.unanswered}
        on_disk = stream["last"]
        # Every trigger that was said to be on disk is unanswered now, or has its result.
        for n in accepted:
            has_result = n % 20 == 0 and n - (n + 10) // 20 <= on_disk
            assert (n in left) != has_result
        for journal, name, _ in it.keeper.unanswered:
            assert it.put(1, stream=name, journal=journal) == 1
        assert it.keeper.unanswered == []
        it.drain()
        assert it.keeper.ledger[-1].last in {0, on_disk}


def test_triggers_outlive_a_damaged_file(path: Path) -> None:
    with Keeping(path) as it:
        number = it.keeper.accept("top", b"{}")
        it.put(300)
        it.drain()
        opened = it.keeper._outbox  # noqa: SLF001 - so that it reads what is on disk
        assert opened is not None
        for pragma in ("wal_checkpoint(truncate)", "shrink_memory"):
            opened._connection.execute(f"PRAGMA {pragma}").fetchall()  # noqa: SLF001
        with path.open("r+b") as file:
            file.write(b"\x5a" * path.stat().st_size)
        wait_for(lambda: it.put(1) and "outbox_quarantined" in it.broker.kinds())
        it.written()
    with Keeping(path) as later:
        assert later.keeper.unanswered == [(number, "top", b"{}")]


def test_answers_are_durable_and_the_oldest_go(path: Path) -> None:
    with Keeping(path) as it:
        it.keeper.keep_answer("mes", "a", b"first")
        it.keeper.keep_answer("mes", "a", b"second")
        told: list[bool] = []
        it.keeper.accept(
            "top", b"{}", answer=("mes", "b", b"accepted"), then=lambda: told.append(True)
        )
        wait_for(lambda: told == [True])
        assert it.keeper.get_answer("mes", "a") == b"second"
    with Keeping(path) as later:
        assert later.keeper.get_answer("mes", "a") == b"second"
        assert later.keeper.get_answer("mes", "b") == b"accepted"
        assert later.keeper.get_answer("other", "b") is None


def test_the_bounds_of_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside_agent.answers.MAX_ANSWERS", 3)
    answers = Answers(1000)
    answers.load([Answer(7, "mes", "old", b"x" * 100)])
    for n in range(3):
        answers.keep("mes", f"{n}", b"x" * 200)
    assert answers.get("mes", "old") is None
    assert answers.forgotten == 7
    assert [answer.number for answer in answers.unsaved(300)] == [8, 9]
    assert [answer.number for answer in answers.unsaved(300, [("mes", "2")])] == [10, 8]
    answers.saved(answers.unsaved(10_000))
    assert not answers.waiting
    answers.keep("mes", "long", b"x" * 251)
    assert answers.get("mes", "long") is None
    for n in range(10, 15):
        answers.keep("mes", f"{n}", b"x" * 250)
    assert [answers.get("mes", f"{n}") is not None for n in range(10, 15)] == [False, False] + (
        [True] * 3
    )


def test_an_interval_of_zero_commits_at_once(path: Path) -> None:
    with Keeping(path, commit_ms=0) as it:
        began = time.monotonic()
        for n in range(1, 51):
            it.put(1)
            wait_for(lambda n=n: len(it.broker.results) == n)
        at_once = time.monotonic() - began
    with Keeping(path, commit_ms=100) as it:
        began = time.monotonic()
        for n in range(1, 6):
            it.put(1)
            wait_for(lambda n=n: len(it.broker.results) == n)
        later = time.monotonic() - began
    assert at_once / 50 < 0.1
    assert later >= 0.4


def test_what_found_no_room_is_said_also_where_a_stop_follows_at_once(path: Path) -> None:
    with Keeping(path, waiting=100, connected=False) as it:
        kept = it.put(2000, wait=False)
    with Keeping(path) as again:
        again.drain()
        said = [e.details["dropped"] for e in again.broker.events if e.kind == "results_lost"]
    assert kept < 2000
    assert sum(dropped["top"] for dropped in said) == 2000 - kept


def test_a_cut_is_said_until_that_is_on_disk_and_never_again(path: Path) -> None:
    Outbox(path, "first").close(clean=False)
    unsaid = Keeping(path)
    unsaid.keeper._open()  # noqa: SLF001 - a kill before the first commit
    assert unsaid.keeper._outbox is not None  # noqa: SLF001
    unsaid.keeper._outbox.close(clean=False)  # noqa: SLF001
    for expected in ({"first", unsaid.boot}, set()):
        with Keeping(path) as it:
            it.put(1)
            it.drain()
            cut = {e.details["cut_off"] for e in it.broker.events if e.kind == "cut_off"}
        assert cut == expected


def test_what_is_pending_is_never_counted_too_low(tmp_path: Path) -> None:
    """A result that goes from memory to disk while somebody counts is somewhere."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with Keeping(tmp_path / "outbox.sqlite", connected=False, commit_ms=1) as it:
            for count in range(1, 15_000):
                it.put(1)
                assert it.keeper.pending >= count
    finally:
        sys.setswitchinterval(before)
