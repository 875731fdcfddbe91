"""A limit on escapes: kept on val, kept on average in truth, and how sure that is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lineside.decision import defect_scores, softmax
from lineside.errors import InputError
from lineside.escapes import parts_needed, said
from lineside.limits import Costs, choose_decision, choose_limits
from lineside.manifest import DecisionSpec, EscapeEvidence, LimitSpec
from lineside.metrics import verdict_figures
from tests.lineside.test_limits import BAD, LABELS, SORTING, line, quantized

APART = 3.0
"""Half the distance of good and bad parts in log odds, of variance 2 x 3."""


def lowest(limits: LimitSpec) -> float:
    return min(limit for limit in (limits.review, limits.ng) if limit is not None)


def true_rate(decision: DecisionSpec) -> float:
    """The share of all bad parts there ever will be that passes as ok."""
    limit = lowest(decision.limits)
    if limit == 0.0:
        return 0.0
    odds = decision.temperature * np.log(limit / (1 - limit))
    return float(stats.norm.cdf((odds - APART) / np.sqrt(2 * APART)))


def chosen(seed: int, count: int, rate: float) -> DecisionSpec:
    truth, logits = line(seed, count=count, apart=APART)
    return choose_decision(truth, logits, LABELS, max_escapes=rate)


@pytest.mark.parametrize(("count", "rate"), [(60, 0.01), (60, 0.05), (150, 0.02), (450, 0.03)])
def test_the_rate_is_kept_in_truth_on_average(count: int, rate: float) -> None:
    rates = [true_rate(chosen(seed, count, rate)) for seed in range(40)]
    error = np.std(rates) / np.sqrt(len(rates))
    assert 0.1 * rate < np.mean(rates) < rate + 2 * error


def test_the_upper_bound_holds_as_often_as_it_says() -> None:
    decisions = [chosen(seed, 150, 0.04) for seed in range(100)]
    kept = [true_rate(one) <= one.escapes.upper for one in decisions if one.escapes is not None]
    assert len(kept) == 100
    assert np.mean(kept) >= 0.9


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rate", [0.005, 0.02, 0.1])
def test_the_rate_is_kept_on_val_by_both_models(seed: int, rate: float) -> None:
    truth, logits = line(seed)
    twin = quantized(logits)
    decision = choose_decision(truth, logits, LABELS, max_escapes=rate, twin=twin)
    found = [verdict_figures(truth, one, LABELS, decision) for one in (logits, twin)]
    assert decision.escapes is not None
    assert decision.escapes.parts == found[0].bad_parts
    assert decision.escapes.escapes == max(one.escapes for one in found)
    assert decision.escapes.escapes <= rate * found[0].bad_parts


def test_of_too_few_parts_none_may_pass() -> None:
    truth, logits = line(count=30)
    decision = choose_decision(truth, logits, LABELS, max_escapes=0.001)
    assert verdict_figures(truth, logits, LABELS, decision).escapes == 0


def test_a_wide_limit_changes_nothing() -> None:
    truth, logits = line()
    plain = choose_limits(truth, logits, LABELS, temperature=1.0)
    for rate in (0.9, 1.0):
        assert choose_limits(truth, logits, LABELS, temperature=1.0, max_escapes=rate) == plain


def test_a_narrower_limit_lowers_the_limits() -> None:
    truth, logits = line(count=900)
    found = [
        lowest(choose_limits(truth, logits, LABELS, temperature=1.0, max_escapes=rate))
        for rate in (1.0, 0.1, 0.05, 0.01, 0.002)
    ]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) > 3


def test_bad_parts_that_score_nothing_let_nothing_pass() -> None:
    truth, logits = line()
    worst = np.where(np.arange(len(truth))[:, np.newaxis] % 4 == 0, [-900.0, 900.0], logits)
    limits = choose_limits(truth, worst, LABELS, temperature=1.0, max_escapes=0.05)
    assert lowest(limits) == 0.0
    decision = DecisionSpec(score="p_not_good", temperature=1.0, limits=limits)
    assert verdict_figures(truth, worst, LABELS, decision).ok == 0


def test_where_looking_twice_never_pays_the_one_limit_keeps_the_rate() -> None:
    truth, logits = line()
    limits = choose_limits(
        truth, logits, LABELS, temperature=1.0, costs=Costs(2, 1, 0.9), max_escapes=0.02
    )
    scores = defect_scores(softmax(logits), LABELS)[truth == BAD]
    assert np.mean(scores < lowest(limits)) <= 0.02


def test_when_sorting_it_is_the_share_of_all_images() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(3, size=400)
    logits = random.normal(0, 1.2, (400, 3))
    logits[np.arange(400), truth] += 2.0
    decision = choose_decision(truth, logits, SORTING, max_escapes=0.03)
    plain = choose_decision(truth, logits, SORTING, costs=Costs(escape=1.0))
    assert decision.escapes is not None
    assert decision.escapes.parts == 400
    assert verdict_figures(truth, logits, SORTING, decision).escapes <= 0.03 * 400
    assert verdict_figures(truth, logits, SORTING, plain).escapes > 0.03 * 400


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.01, float("nan")])
def test_a_rate_that_is_none(rate: float) -> None:
    truth, logits = line()
    with pytest.raises(InputError, match=r"a limit on escapes must lie above 0 and up to 1, such"):
        choose_decision(truth, logits, LABELS, max_escapes=rate)


# What is said of it


@pytest.mark.parametrize("rate", [0.2, 0.05, 0.01, 0.001])
def test_parts_needed_are_just_enough(rate: float) -> None:
    needed = parts_needed(rate)
    for parts, enough in ((needed, True), (needed - 1, False)):
        assert ((1 - rate) ** parts <= 0.05) == enough


def test_what_is_said_of_few_of_more_and_of_enough() -> None:
    def text(parts: int, upper: float) -> str:
        found = EscapeEvidence(max_rate=0.01, parts=parts, escapes=0, upper=upper)
        return said(found, sorting=False)

    assert text(18, 0.1533) == (
        "At most 1 % of the bad parts are to pass as ok: on val 0 of 18 do. That leaves up to "
        "15.3 % possible (95 % confidence); to show 1 % takes 299 bad parts of which none does. "
        "With so few the limit is an estimate, nothing more."
    )
    assert text(120, 0.0247).endswith("On average over such sets of images it is kept.")
    assert text(400, 0.0075) == (
        "At most 1 % of the bad parts are to pass as ok: on val 0 of 400 do, which shows it: with "
        "95 % confidence no more than 0.75 % will."
    )
