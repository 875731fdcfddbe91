"""The camera run: its judgement, on courses that are known, and its short form."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults import lenses, spells
from tests.faults.cameras import Look
from tests.faults.ear import Heard, Said, read_event
from tests.faults.spells import KINDS, Course, Spell
from tests.support.shared import shared

S = 1_000_000_000
BLACK = Spell("top", "black", 10 * S, 14 * S)


def said(at_s: float, name: str, *, over: bool = False, health: bool = False) -> Said:
    return Said(round(at_s * S), "top", name, over, health)


def heard(at_s: float, stamp_s: float, verdict: str = "ok") -> Heard:
    look = Look("top", "a", round(at_s * 10), verdict, round(stamp_s * S), "frame", 0)
    return Heard(round(at_s * S), look, "score<review")


def given(stamp_s: float, fault: str | None, *, refused: str | None = None) -> dict[str, Any]:
    stamp = round(stamp_s * S)
    return {"mono_ns": stamp, "at_ns": stamp, "fault": fault, "shows": stamp, "refused": refused}


LOG = [given(10.2, "black"), given(11.0, "black"), given(14.1, None)]
SEEN = [said(11.2, "black"), said(12.0, "black", health=True)]
WELL = [said(15.5, "black", over=True)]


def course(spell: Spell, words: list[Said], results: list[Heard]) -> Course:
    (one,) = spells.follow([spell], words, results, LOG)
    return one


def test_a_fault_is_timed_from_its_first_frame_to_the_first_word_and_the_last() -> None:
    one = course(BLACK, SEEN + WELL, [heard(9, 9), heard(14.3, 14.1)])
    assert (one.seen_s, one.back_s) == (pytest.approx(1.0), pytest.approx(1.5))
    assert (one.by_health, one.called, one.given) == (True, frozenset(), 2)
    assert spells.judge([one]) == []


def test_a_verdict_on_a_frame_of_before_is_no_recovery() -> None:
    one = course(BLACK, SEEN + WELL, [heard(14.3, 9.9), heard(19.0, 18.9)])
    assert one.back_s == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("words", "results", "line"),
    [
        (WELL, [heard(14.3, 14.1)], "unseen"),
        ([said(11, "frozen"), said(12, "frozen", over=True)], [heard(14.3, 14.1)], "unseen"),
        ([said(13.3, "black"), *WELL], [heard(14.3, 14.1)], "late"),
        (SEEN, [heard(14.3, 14.1)], "lost"),
        (SEEN + WELL, [], "lost"),
        (SEEN + WELL, [heard(14.3, 14.1, "no_read")], "lost"),
        ([*SEEN, said(24.1, "black", over=True)], [heard(14.3, 14.1)], "lost"),
        (SEEN + WELL + [said(16, "moved")], [heard(14.3, 14.1)], "lost"),
    ],
)
def test_courses_that_are_wrong(words: list[Said], results: list[Heard], line: str) -> None:
    found = spells.judge([course(BLACK, words, results)])
    assert [one.partition(":")[0] for one in found] == [line]


def test_what_is_harmless_must_not_be_called_anything() -> None:
    late = Spell("top", "0.5 s late from now on", 10 * S, 14 * S)
    results = [heard(14.3, 14.1)]
    assert spells.judge([course(late, [], results)]) == []
    words = [said(12, "no frames"), said(13, "lost", over=True)]
    assert "alarm: " in spells.judge([course(late, words, results)])[0]


def test_what_was_said_of_a_healthy_camera_is_an_alarm() -> None:
    looks = [heard(2, 2)]
    words = [said(1, "no frames"), said(5, "black", health=True), said(11, "no frames"), *WELL]
    assert spells.alarms(words, looks, 10 * S) == []
    assert spells.alarms([said(9, "black")], looks) == ["alarm: black of top at 9.000"]


def test_verdicts_on_frames_with_a_fault_are_counted_but_not_those_of_before() -> None:
    stale = Spell("top", "stale buffer, 10 s old", 10 * S, 14 * S)
    again = {**given(9.0, "stale"), "at_ns": 11 * S}
    log = [given(9.0, None), again, given(12.0, "stale")]
    results = [heard(9.1, 9.0, "ng"), heard(12.1, 12.0)]
    (one,) = spells.follow([stale], [], results, log)
    assert (one.given, one.verdicts) == (2, Counter(ok=1))


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("camera 'top' gives no frames: nothing for 2 s", "no frames"),
        ("camera 'top': its process ended (SIGSEGV)", "process ended"),
        ("camera 'top': the virtual line is unplugged", "unplugged"),
        ("camera 'top' gives no frame that can be trusted: stamp: an old frame", "old frames"),
        ("camera 'top' gives no frame that can be trusted: driver: the frame", "marked frames"),
        ("camera 'top' gives no frame that can be trusted: frame: corrupt", "damaged frames"),
        ("camera 'top' is on strike", "lost"),
    ],
)
def test_names_of_losses(message: str, name: str) -> None:
    event = {"kind": "camera_lost", "message": message, "details": {"camera": "top"}}
    assert read_event(event, 5) == Said(5, "top", name)
    event = {"kind": "started", "message": message, "details": {}}
    assert read_event(event, 5) is None


def test_each_camera_gets_its_share_of_each_kind() -> None:
    names = ["a", "b", "c", "d"]
    plans = lenses.make_plans(names, 8, seed=0)
    assert plans == lenses.make_plans(names, 8, seed=0)
    assert [Counter(plans[name]) for name in names] == [Counter(dict.fromkeys(KINDS, 2))] * 4


@pytest.mark.broker
@pytest.mark.timeout(200)
def test_each_fault_of_a_camera_is_seen_and_none_gives_a_wrong_verdict(tmp_path: Path) -> None:
    outcome = lenses.run(tmp_path, shared("data"), times=1, warm_up_s=0, seed=0)
    assert outcome.violations == []
    assert outcome.faults == dict.fromkeys(KINDS, 1)
    assert outcome.cameras["healthy"] > 100
    assert all(outcome.cameras[fault] == 0 for fault in ("black", "overexposed", "error"))
