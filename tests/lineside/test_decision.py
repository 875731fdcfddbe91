"""From logits to a verdict."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lineside.decision import Decision, defect_scores, softmax, verdict_of
from lineside.manifest import DecisionSpec, Label, LimitSpec

GOOD_BAD = (Label(name="crack", good=False), Label(name="ok", good=True))
THREE = (
    Label(name="crack", good=False),
    Label(name="ok", good=True),
    Label(name="scratch", good=False),
)
SORTING = tuple(Label(name=name, good=True) for name in ("glass", "metal", "paper"))


def spec(
    review: float | None = 0.35, ng: float | None = 0.6, *, temperature: float = 1.0
) -> DecisionSpec:
    return DecisionSpec(
        score="p_not_good", temperature=temperature, limits=LimitSpec(review=review, ng=ng)
    )


def logits_of(score: float) -> list[float]:
    """Two logits whose softmax gives `score` for the first."""
    return [math.log(score / (1 - score)), 0.0]


def test_softmax_is_its_formula() -> None:
    z = np.array([[1.0, 2.0, 4.0]])
    expected = np.exp(z / 2) / np.exp(z / 2).sum()
    assert softmax(z, 2.0) == pytest.approx(expected)


def test_softmax_survives_large_logits() -> None:
    assert softmax([1000.0, -1000.0]).tolist() == [1.0, 0.0]


def test_the_score_is_the_probability_of_all_bad_labels() -> None:
    p = np.array([[0.2, 0.5, 0.3]])
    assert defect_scores(p, THREE) == pytest.approx([0.5])


def test_when_sorting_the_score_is_how_unsure_the_model_is() -> None:
    p = np.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]])
    assert defect_scores(p, SORTING) == pytest.approx([0.5, 0.0])


@pytest.mark.parametrize(
    ("score", "verdict", "reason"),
    [
        (0.0, "ok", "score<review"),
        (0.3499, "ok", "score<review"),
        (0.35, "review", "score>=review"),
        (0.5999, "review", "score>=review"),
        (0.6, "ng", "score>=ng"),
        (1.0, "ng", "score>=ng"),
    ],
)
def test_a_limit_belongs_to_the_worse_side(score: float, verdict: str, reason: str) -> None:
    assert verdict_of(score, spec()) == (verdict, reason)


def test_with_one_limit() -> None:
    assert verdict_of(0.5, spec(review=None)) == ("ok", "score<ng")
    assert verdict_of(0.7, spec(review=None)) == ("ng", "score>=ng")
    assert verdict_of(0.3, spec(ng=None)) == ("ok", "score<review")
    assert verdict_of(0.7, spec(ng=None)) == ("review", "score>=review")


def test_an_answer_is_complete() -> None:
    answer = Decision(spec(), GOOD_BAD)(logits_of(0.9))
    assert (answer.verdict, answer.reasons, answer.label) == ("ng", ("score>=ng",), "crack")
    assert answer.score == pytest.approx(0.9)
    assert [name for name, _ in answer.scores] == ["crack", "ok"]
    assert [p for _, p in answer.scores] == pytest.approx([0.9, 0.1])


def test_the_temperature_softens_the_score() -> None:
    sharp, soft = (Decision(spec(temperature=t), GOOD_BAD)(logits_of(0.9)) for t in (1.0, 3.0))
    assert soft.score is not None
    assert sharp.score is not None
    assert 0.5 < soft.score < sharp.score


def test_the_label_may_be_good_while_the_verdict_is_not() -> None:
    answer = Decision(spec(review=0.2, ng=0.4), GOOD_BAD)(logits_of(0.45))
    assert (answer.verdict, answer.label) == ("ng", "ok")


def test_at_most_five_labels_are_listed() -> None:
    labels = tuple(Label(name=f"l{n}", good=n > 0) for n in range(8))
    answer = Decision(spec(), labels)(np.arange(8.0))
    assert [name for name, _ in answer.scores] == ["l7", "l6", "l5", "l4", "l3"]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_gets_no_verdict(bad: float) -> None:
    answer = Decision(spec(), GOOD_BAD)([bad, 0.0])
    assert (answer.verdict, answer.reasons) == ("no_read", ("outputs_not_finite",))
    assert (answer.label, answer.score, answer.scores) == (None, None, ())


def test_another_count_of_outputs_gets_no_verdict() -> None:
    answer = Decision(spec(), GOOD_BAD)([1.0, 2.0, 3.0])
    assert (answer.verdict, answer.reasons) == ("no_read", ("outputs:3!=2",))


@pytest.mark.parametrize("labels", [GOOD_BAD, THREE, SORTING])
def test_one_picture_is_decided_by_the_same_formulas_as_many(labels: tuple[Label, ...]) -> None:
    logits = np.random.default_rng(0).normal(size=(200, len(labels)), scale=8.0)
    logits[0] = 0.0
    logits[1, 0] = 2000.0
    p = softmax(logits, 1.7)
    scores = defect_scores(p, labels)
    decide = Decision(spec(temperature=1.7), labels)
    for row, each, score in zip(logits, p, scores, strict=True):
        answer = decide(row)
        assert answer.score == pytest.approx(float(score), abs=1e-14)
        assert answer.verdict == verdict_of(float(score), spec())[0]
        order = np.argsort(-each, kind="stable")
        assert [name for name, _ in answer.scores] == [labels[column].name for column in order]
        assert [q for _, q in answer.scores] == pytest.approx(each[order].tolist(), abs=1e-14)
