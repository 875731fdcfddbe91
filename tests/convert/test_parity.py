"""Parity: how many verdicts may flip, and what is said of those that do."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lineside.decision import Decision
from lineside.errors import ConvertError, ParityError
from lineside.limit_rules import LimitRules
from lineside.manifest import DecisionSpec, Label, LimitSpec
from lineside_convert.parity import (
    allowed_flips,
    compare,
    expected_flips,
    require_parity,
    verdict_codes,
)

LABELS = (Label(name="crack", good=False), Label(name="ok", good=True))
SORTED = (*(Label(name=name, good=True) for name in ("glass", "metal", "paper")),)
DECISION = DecisionSpec(score="p_not_good", temperature=1.0, limits=LimitSpec(review=0.35, ng=0.6))


def logits(*scores: float) -> np.ndarray:
    return np.array([[math.log(p / (1 - p)), 0.0] for p in scores])


@pytest.mark.parametrize(
    ("images", "percent", "allowed"),
    [(393, 1.0, 3), (36, 1.0, 1), (1, 0.0, 1), (400, 1.0, 4), (1000, 2.9, 29), (50, 100.0, 50)],
)
def test_one_image_always_may(images: int, percent: float, allowed: int) -> None:
    assert allowed_flips(images, percent) == allowed


def test_a_flip_is_another_verdict_not_another_score() -> None:
    files = ["a.png", "b.png", "c.png"]
    parity, flips = compare(
        files, logits(0.1, 0.34, 0.9), logits(0.3, 0.36, 0.61), DECISION, LABELS
    )
    assert (parity.images, parity.flips, parity.status, parity.split) == (3, 1, "measured", "val")
    assert parity.worst == pytest.approx(0.29)
    assert [flip.line() for flip in flips] == ["b.png (ok 0.340 became review 0.360)"]
    require_parity(parity, flips, 0.0)


def test_when_sorting_another_label_is_another_verdict() -> None:
    labels = [Label(name=name, good=True) for name in ("glass", "metal", "paper")]
    spec = DecisionSpec(score="uncertainty", temperature=1.0, limits=LimitSpec(review=0.3, ng=None))
    before = np.array([[5.0, 0, 0], [5.0, 0, 0], [1.0, 0, 0]])
    after = np.array([[4.0, 0, 0], [0, 5.0, 0], [0, 1.0, 0]])
    _, flips = compare(["a", "b", "c"], before, after, spec, labels)
    # Where it is for review, nobody relies on the label.
    assert [flip.line() for flip in flips] == ["b (ok glass 0.013 became ok metal 0.013)"]


def test_too_many_are_refused_with_names_and_a_way_out() -> None:
    files = [f"ok/{n:02d}.png" for n in range(40)]
    before, after = [0.1] * 40, [0.9] * 12 + [0.1] * 28
    parity, flips = compare(files, logits(*before), logits(*after), DECISION, LABELS)
    with pytest.raises(ParityError) as caught:
        require_parity(parity, flips, 1.0)
    message = str(caught.value)
    assert "differs from the original's on 12 of 40 images of val, at most 1 may" in message
    assert "ok/00.png (ok 0.100 became ng 0.900)" in message
    assert "ok/09.png" in message
    assert "ok/10.png" not in message
    assert "and 2 more" in message
    assert "--max-flips 30" in message
    assert "\n" not in message
    assert isinstance(caught.value, ConvertError)
    require_parity(parity, flips, 30.0)


@pytest.mark.parametrize(("flipped", "images"), [(4, 393), (29, 1000), (7, 36), (2, 3)])
def test_what_is_said_to_be_enough_is_enough(flipped: int, images: int) -> None:
    files = [str(n) for n in range(images)]
    before, after = [0.1] * images, [0.9] * flipped + [0.1] * (images - flipped)
    parity, flips = compare(files, logits(*before), logits(*after), DECISION, LABELS)
    with pytest.raises(ParityError) as caught:
        require_parity(parity, flips, 0.0)
    enough = float(str(caught.value).rpartition(" ")[2])
    require_parity(parity, flips, enough)


def some(count: int, off: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, logits of an original, and by how much another model is off, by chance."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, count)
    odds = np.where(truth == 0, 1.5, -1.5) + rng.standard_normal(count)
    original = np.stack([odds / 2, -odds / 2], axis=1)
    return truth, original, off * rng.standard_normal((2 * count, 2))


def test_flips_to_be_expected_of_other_images() -> None:
    shares = [expected_flips(*some(400, off), LABELS, LimitRules()) for off in (0.0, 0.02, 0.2)]
    assert shares[0] == 0.0
    assert 0.0 < shares[1] < shares[2] < 0.2
    assert expected_flips(*some(400, 0.2), LABELS, LimitRules()) == shares[2]


def test_where_no_limits_can_be_chosen_all_is_to_be_expected() -> None:
    truth, original, differences = some(40, 0.2)
    assert expected_flips(np.zeros_like(truth), original, differences, LABELS, LimitRules()) == 1.0


@pytest.mark.parametrize("labels", [LABELS, SORTED])
def test_the_codes_of_verdicts_tell_apart_what_verdicts_do(labels: tuple[Label, ...]) -> None:
    logits = np.random.default_rng(0).normal(0, 2, (200, len(labels)))
    limits = LimitSpec(review=0.3, ng=None if labels is SORTED else 0.6)
    spec = DecisionSpec(
        score="uncertainty" if labels is SORTED else "p_not_good", temperature=1.3, limits=limits
    )
    answers = [Decision(spec, labels)(row) for row in logits]
    sure = labels is SORTED
    said = [(a.verdict, a.label if sure and a.verdict == "ok" else None) for a in answers]
    pairs = set(zip(verdict_codes(logits, spec, labels).tolist(), said, strict=True))
    assert len(pairs) == len({code for code, _ in pairs}) == len(set(said)) >= 3
