"""Temperature and limits: checked against what they minimise, found by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from lineside.decision import Decision, defect_scores, softmax
from lineside.errors import InputError
from lineside.limits import Costs, choose_decision, choose_limits, fit_temperature
from lineside.manifest import DecisionSpec, Label, LimitSpec
from lineside.metrics import verdict_figures

pytest.importorskip("scipy", reason="choosing limits needs the extra 'report'")

BAD, GOOD = 0, 1
LABELS = (Label(name="crack", good=False), Label(name="ok", good=True))
SORTING = tuple(Label(name=name, good=True) for name in ("glass", "metal", "paper"))

Floats = npt.NDArray[np.float64]


def line(
    seed: int = 0, *, count: int = 400, apart: float = 1.17, scale: float = 1.0
) -> tuple[npt.NDArray[np.intp], Floats]:
    """Parts as a hard line has them: a third bad, scores that overlap, true log odds as logits."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(count) > 1 / 3).astype(np.intp)
    # Of two normal distributions 2 a apart with variance 2 a, x is the log of the odds.
    odds = np.where(truth == BAD, apart, -apart) + np.sqrt(2 * apart) * rng.standard_normal(count)
    return truth, scale * np.stack([odds / 2, -odds / 2], axis=1)


def quantized(logits: Floats, step: float = 0.04) -> Floats:
    """What int8 makes of logits."""
    noise = np.random.default_rng(1).normal(0, step, logits.shape)
    return np.asarray(np.round((logits + noise) / step) * step)


def cost(limits: LimitSpec, truth: npt.NDArray[np.intp], scores: Floats, costs: Costs) -> float:
    """The cost that the limits should minimise, counted part by part."""
    bad = truth == BAD
    ng = scores >= (2.0 if limits.ng is None else limits.ng)
    review = ~ng & (scores >= (2.0 if limits.review is None else limits.review))
    ok = ~ng & ~review
    each = costs.escape * (ok & bad) + costs.reject * (ng & ~bad) + costs.review * review
    return float(each[bad].mean() / 2 + each[~bad].mean() / 2)


# ---- temperature


@pytest.mark.parametrize("wrong", [0.8, 1.0, 2.0, 5.0])
def test_the_temperature_undoes_a_wrong_scale(wrong: float) -> None:
    truth, logits = line(count=20_000)
    # These odds are of equally many good and bad parts.
    same = np.concatenate([np.flatnonzero(truth == k)[:6000] for k in (BAD, GOOD)])
    assert fit_temperature(truth[same], wrong * logits[same]) == pytest.approx(wrong, rel=0.05)


def test_no_other_temperature_is_likelier() -> None:
    truth, logits = line(scale=3.0)
    found = fit_temperature(truth, logits)

    def loss(temperature: float) -> float:
        p = softmax(logits, temperature)[np.arange(len(truth)), truth]
        return float(-np.log(p).mean())

    assert loss(found) < min(loss(found * 0.97), loss(found * 1.03))


def test_few_right_answers_do_not_make_endless_confidence() -> None:
    assert fit_temperature(np.array([0, 1]), np.array([[2.0, 0], [0, 2.0]])) >= 0.5


# ---- limits


@pytest.mark.parametrize("seed", range(5))
def test_a_hard_line_stays_a_line(seed: int) -> None:
    truth, logits = line(seed)
    decision = choose_decision(truth, logits, LABELS, twin=quantized(logits))
    found = verdict_figures(truth, quantized(logits), LABELS, decision)
    # Not nearly everything goes to review, nor to ng.
    assert 0.05 < found.review_rate < 0.45
    assert found.ok > 0.25 * found.images
    assert found.ng > 0.2 * found.images
    assert found.escape_rate is not None
    assert found.escape_rate < 0.15


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("costs", [Costs(), Costs(1, 1, 0.4), Costs(5, 1, 0.5), Costs(1, 3, 0.6)])
def test_limits_are_nearly_as_good_as_any(seed: int, costs: Costs) -> None:
    truth, logits = line(seed)
    scores = defect_scores(softmax(logits), LABELS)
    limits = choose_limits(truth, logits, LABELS, temperature=1.0, costs=costs)
    grid = np.linspace(0, 1, 41)
    best = min(
        cost(LimitSpec(review=review, ng=ng), truth, scores, costs)
        for review, ng in itertools.combinations(grid, 2)
    )
    # The best of 820 pairs on these very images follows their noise: it can't be met.
    assert cost(limits, truth, scores, costs) < best + 0.06


@pytest.mark.parametrize("costs", [Costs(), Costs(1, 1, 0.4), Costs(5, 1, 0.5)])
def test_limits_follow_from_the_costs_where_probabilities_are_true(costs: Costs) -> None:
    truth, logits = line(count=50_000)
    limits = choose_limits(truth, logits, LABELS, temperature=1.0, costs=costs)
    # ok where E p < V, ng where R (1 - p) < V.
    assert limits.review == pytest.approx(costs.review / costs.escape, abs=0.05)
    assert limits.ng == pytest.approx(1 - costs.review / costs.reject, abs=0.05)


def test_a_dearer_escape_makes_fewer_of_them() -> None:
    truth, logits = line()
    escapes = []
    for escape in (1.2, 2.0, 5.0, 20.0):
        decision = choose_decision(truth, logits, LABELS, costs=Costs(escape=escape))
        escapes.append(verdict_figures(truth, logits, LABELS, decision).escapes)
    assert escapes == sorted(escapes, reverse=True)
    assert escapes[0] > escapes[-1]


def test_where_looking_twice_never_pays_there_is_one_limit() -> None:
    truth, logits = line(count=5000)
    limits = choose_limits(truth, logits, LABELS, temperature=1.0, costs=Costs(2, 1, 0.9))
    assert limits.review is None
    # ok where E p < R (1 - p).
    assert limits.ng == pytest.approx(1 / 3, abs=0.05)


def test_where_nothing_overlaps_what_is_between_goes_to_review() -> None:
    truth = np.array([BAD] * 10 + [GOOD] * 10)
    odds = np.where(truth == BAD, 1.5, -1.5)
    logits = np.stack([odds, -odds], axis=1)
    low, high = sorted(set(defect_scores(softmax(logits), LABELS).round(9)))
    limits = choose_limits(truth, logits, LABELS, temperature=1.0)
    assert limits.review is not None
    assert limits.ng is not None
    assert low < limits.review < limits.ng < high
    assert limits.review == pytest.approx(low + (high - low) / 3, abs=0.05)
    assert limits.ng == pytest.approx(low + (high - low) * 2 / 3, abs=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_the_twin_keeps_verdicts_from_flipping(seed: int) -> None:
    truth, logits = line(seed)
    int8 = quantized(logits)

    def flips(decision: DecisionSpec) -> int:
        decide = Decision(decision, LABELS)
        both = zip(int8, logits, strict=True)
        return sum(decide(one).verdict != decide(other).verdict for one, other in both)

    found = flips(choose_decision(truth, logits, LABELS, twin=int8))
    assert found <= 4
    assert found <= flips(choose_decision(truth, logits, LABELS))


def test_a_twin_that_answers_something_else_makes_no_limits_of_its_own() -> None:
    truth, logits = line()
    ruined = np.random.default_rng(0).normal(0, 0.1, logits.shape)
    found = choose_decision(truth, logits, LABELS, twin=ruined)
    alone = choose_decision(truth, logits, LABELS)
    assert found.temperature == alone.temperature
    scores = defect_scores(softmax(logits, alone.temperature), LABELS)
    costs = [cost(one.limits, truth, scores, Costs()) for one in (found, alone)]
    assert costs[0] < costs[1] + 0.05
    # So its verdicts differ, and parity will say so.
    decide = Decision(found, LABELS)
    both = zip(ruined, logits, strict=True)
    assert sum(decide(one).verdict != decide(other).verdict for one, other in both) > 200


def test_no_score_lies_on_a_limit() -> None:
    truth, logits = line()
    limits = choose_limits(truth, logits, LABELS, temperature=1.0, twin=quantized(logits))
    scores = {*defect_scores(softmax(logits), LABELS)}
    scores |= {*defect_scores(softmax(quantized(logits)), LABELS)}
    assert limits.review not in scores
    assert limits.ng not in scores


def test_when_sorting_the_unsure_go_to_review() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 3000)
    logits = 2.0 * np.eye(3)[truth] + rng.normal(0, 1, (3000, 3))
    decision = choose_decision(truth, logits, SORTING)
    assert (decision.score, decision.limits.ng) == ("uncertainty", None)
    found = verdict_figures(truth, logits, SORTING, decision)
    assert 0.05 < found.review_rate < 0.5
    wrong = float((logits.argmax(axis=1) != truth).mean())
    assert found.escapes / found.images < 0.6 * wrong


def test_the_same_images_give_the_same_limits() -> None:
    truth, logits = line()
    assert choose_decision(truth, logits, LABELS) == choose_decision(truth, logits, LABELS)


# ---- what can't be


def test_no_bad_part_is_refused() -> None:
    truth, logits = line()
    only = truth == GOOD
    with pytest.raises(InputError, match=r"none of the \d+ images shows a bad part"):
        choose_limits(truth[only], logits[only], LABELS, temperature=1.0)
    with pytest.raises(InputError, match=r"none of the \d+ images shows a good part"):
        choose_limits(truth[~only], logits[~only], LABELS, temperature=1.0)


def test_logits_that_are_no_numbers_are_refused() -> None:
    truth, logits = line()
    logits[7, 0] = np.nan
    with pytest.raises(InputError, match=r"not finite .* first for image 7"):
        choose_decision(truth, logits, LABELS)
    with pytest.raises(InputError, match="images with logits are expected, got 0"):
        fit_temperature(truth[:0], logits[:0])


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_a_cost_must_be_a_positive_number(wrong: float) -> None:
    with pytest.raises(InputError, match="the cost 'escape' must be a number above 0, got"):
        Costs(escape=wrong)
