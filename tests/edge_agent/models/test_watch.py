"""The rule by which a new model must go: pure, so that each of its constants is met exactly."""

from __future__ import annotations

import math

import pytest

from lineside_agent.models.watch import (
    FAR_OVER,
    FEW,
    GRACE_MS,
    JUDGED,
    LONG_MS,
    WATCHED,
    WATCHED_S,
    Figure,
    Speed,
    Watch,
    expected_ms,
)

HERE = "Raspberry Pi 5, aarch64, 4 cores"
BENCH = "workstation, x86_64, 16 cores"


def watch(expected: float, now_s: float = 0.0) -> Watch:
    """A watch that expects so many milliseconds."""
    return Watch(Speed(None, expected), Speed(None, 1.0), now_s)


def test_the_old_one_tells_how_much_slower_this_station_is() -> None:
    new, old = Figure(2.0, BENCH, 1), Figure(0.5, BENCH, 1)
    assert expected_ms(Speed(new, 99.0), Speed(old, 1.5)) == 2.0 * 3


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (None, Figure(0.5, BENCH, 1)),
        (Figure(2.0, BENCH, 1), None),
        (Figure(2.0, BENCH, 1), Figure(0.5, HERE, 1)),
        (Figure(2.0, BENCH, 4), Figure(0.5, BENCH, 1)),
    ],
)
def test_figures_of_different_machines_say_nothing(new: Figure | None, old: Figure | None) -> None:
    assert expected_ms(Speed(new, 7.0), Speed(old, 1.5)) == 7.0


@pytest.mark.parametrize(
    "measured",
    [
        {},
        {"device": HERE},
        {"device": HERE, "invoke_ms_p50": None},
        {"device": HERE, "invoke_ms_p50": True},
        {"device": HERE, "invoke_ms_p50": "fast"},
        {"device": HERE, "invoke_ms_p50": 0},
        {"device": HERE, "invoke_ms_p50": -1.0},
        {"device": HERE, "invoke_ms_p50": math.inf},
        {"device": HERE, "invoke_ms_p50": math.nan},
        {"device": None, "invoke_ms_p50": 1.0},
        {"device": HERE, "invoke_ms_p50": 1.0, "threads": "all"},
    ],
)
def test_what_a_manifest_says_may_be_of_no_use(measured: dict[str, object]) -> None:
    assert Figure.of(measured) is None
    good = {"device": HERE, "invoke_ms_p50": 1, "threads": 2}
    assert Figure.of(good) == Figure(1.0, HERE, 2)


def test_a_fast_model_has_some_grace_and_a_slow_one_a_factor() -> None:
    assert watch(0.05).limit_ms == 0.05 + GRACE_MS
    assert watch(40.0).limit_ms == FAR_OVER * 40.0


def test_slow_is_judged_when_there_are_enough() -> None:
    seen = watch(10.0)
    for _ in range(JUDGED - 1):
        assert seen.see(49.0 + 1.01) is None
    why = seen.see(50.01)
    assert why == "it takes 50 ms, 10 ms were expected here and 50 ms are far over"


def test_very_slow_is_judged_at_once() -> None:
    seen = watch(10.0)
    each = LONG_MS / FEW + 1
    for _ in range(FEW - 1):
        assert seen.see(each) is None
    assert seen.see(each) is not None


def test_a_hiccup_is_not_slow() -> None:
    seen = watch(1.0)
    for n in range(WATCHED):
        # Just under half of them: bursts of nine in twenty.
        assert seen.see(100.0 if n % JUDGED < JUDGED // 2 - 1 else 1.0) is None
    assert seen.passed(0.0)


def test_slow_may_begin_late() -> None:
    seen = watch(1.0)
    for _ in range(500):
        assert seen.see(1.0) is None
    reasons = [seen.see(1.0 + GRACE_MS + 0.01) for _ in range(JUDGED)]
    assert reasons[JUDGED // 2] is not None


def test_it_passes_by_number_or_by_time() -> None:
    seen = watch(1.0, now_s=100.0)
    for _ in range(WATCHED - 1):
        seen.see(1.0)
    assert not seen.passed(100.0)
    seen.see(1.0)
    assert seen.passed(100.0)
    slow_line = watch(1.0, now_s=100.0)
    for _ in range(JUDGED - 1):
        slow_line.see(1.0)
    assert not slow_line.passed(100.0 + WATCHED_S)
    slow_line.see(1.0)
    assert not slow_line.passed(99.0 + WATCHED_S)
    assert slow_line.passed(100.0 + WATCHED_S)
