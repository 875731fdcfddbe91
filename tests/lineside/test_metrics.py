from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest

from lineside.decision import softmax
from lineside.manifest import DecisionSpec, Label, LimitSpec
from lineside.metrics import Figures, figures, verdict_figures

INSPECTION = (Label(name="crack", good=False), Label(name="ok", good=True))
SORTING = tuple(Label(name=name, good=True) for name in ("glass", "metal", "paper"))
LIMITS = DecisionSpec(
    score="p_not_good", temperature=1.0, limits=LimitSpec(review=0.35, ng=0.6), chosen_on="val"
)


def logits_of(p_defect: list[float]) -> np.ndarray:
    """Logits whose softmax gives these defect probabilities."""
    p = np.array(p_defect)
    return np.log(np.stack([p, 1 - p], axis=1))


def random_case(labels: int, seed: int = 0, n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.integers(labels, size=n)
    logits = random.normal(size=(n, labels))
    logits[np.arange(n), truth] += 1.0
    return truth, logits


def share_of_pairs_in_order(higher: np.ndarray, lower: np.ndarray) -> float:
    """What AUROC means, pair by pair."""
    pairs = [(a > b) + (a == b) / 2 for a, b in itertools.product(higher, lower)]
    return float(np.mean(pairs))


def test_a_case_counted_by_hand() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1])
    found = figures(truth, logits_of([0.9, 0.8, 0.7, 0.2, 0.6, 0.1]), INSPECTION)
    assert found.images == 6
    assert found.labels == ["crack", "ok"]
    assert found.confusion == [[3, 1], [1, 1]]
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.balanced_accuracy == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found.per_label["crack"].recall == pytest.approx(3 / 4)
    assert found.per_label["crack"].precision == pytest.approx(3 / 4)
    assert found.per_label["crack"].images == 4
    assert found.per_label["ok"].recall == pytest.approx(1 / 2)
    assert found.per_label["ok"].precision == pytest.approx(1 / 2)
    # Of the 8 pairs, one is in the wrong order: 0.2 of a crack below 0.6 of an ok.
    assert found.auroc == pytest.approx(7 / 8)
    assert found.macro_auroc is None


@pytest.mark.parametrize("good", [(False, True), (True, False), (True, True)])
def test_auroc_counts_pairs_whichever_label_is_bad(good: tuple[bool, bool]) -> None:
    labels = [Label(name=name, good=is_good) for name, is_good in zip("ab", good, strict=True)]
    truth, logits = random_case(2)
    score = softmax(logits)[:, 0]
    expected = share_of_pairs_in_order(score[truth == 0], score[truth == 1])
    assert figures(truth, logits, labels).auroc == pytest.approx(expected)


def test_auroc_counts_ties_half() -> None:
    truth = np.array([0, 0, 1, 1])
    assert figures(truth, np.zeros((4, 2)), INSPECTION).auroc == pytest.approx(0.5)


def test_macro_auroc_is_the_mean_of_one_against_the_rest() -> None:
    truth, logits = random_case(3)
    p = softmax(logits)
    each = [share_of_pairs_in_order(p[truth == k, k], p[truth != k, k]) for k in range(3)]
    found = figures(truth, logits, SORTING)
    assert found.macro_auroc == pytest.approx(np.mean(each))
    assert found.auroc is None


def test_of_many_labels_good_is_told_from_bad_by_the_sum() -> None:
    labels = [Label(name=name, good=name == "b") for name in "abc"]
    truth, logits = random_case(3)
    score = 1 - softmax(logits)[:, 1]
    found = figures(truth, logits, labels)
    expected = share_of_pairs_in_order(score[truth != 1], score[truth == 1])
    assert found.area == found.auroc == pytest.approx(expected)
    assert found.macro_auroc not in (None, found.auroc)
    low, high = found.area_interval or ()
    assert low < expected < high
    only_bad = figures(truth[truth != 1], logits[truth != 1], labels)
    assert (only_bad.auroc, only_bad.area) == (None, only_bad.macro_auroc)


def test_a_label_without_images_counts_for_nothing() -> None:
    truth, logits = random_case(2)
    wider = np.column_stack([logits, np.full(len(truth), -99.0)])
    found = figures(truth, wider, SORTING)
    assert found.per_label["paper"].recall is None
    assert found.per_label["paper"].precision is None
    assert found.per_label["paper"].images == 0
    two = figures(truth, logits, INSPECTION)
    assert found.balanced_accuracy == pytest.approx(two.balanced_accuracy)
    assert found.macro_auroc == pytest.approx(two.auroc)


def test_one_label_alone_has_no_auroc() -> None:
    found = figures(np.zeros(3, np.int64), logits_of([0.9, 0.8, 0.2]), INSPECTION)
    assert found.auroc is None
    assert found.balanced_accuracy == found.accuracy == pytest.approx(2 / 3)
    assert figures(np.zeros(3, np.int64), np.eye(3), SORTING).macro_auroc is None


def test_figures_survive_json() -> None:
    truth, logits = random_case(3)
    found = figures(truth, logits, SORTING)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Figures) == found


@pytest.mark.parametrize(
    ("truth", "logits"),
    [
        (np.zeros(0, np.int64), np.zeros((0, 2))),
        (np.zeros(3, np.int64), np.zeros((4, 2))),
        (np.zeros(3, np.int64), np.zeros((3, 3))),
    ],
    ids=["no image", "other number of images", "other number of labels"],
)
def test_shapes_that_do_not_fit_are_refused(truth: np.ndarray, logits: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"at least one image with 2 logits is expected, got trut"):
        figures(truth, logits, INSPECTION)
    with pytest.raises(ValueError, match=r"at least one image with 2 logits is expected, got trut"):
        verdict_figures(truth, logits, INSPECTION, LIMITS)


def test_verdicts_counted_by_hand() -> None:
    #        bad:    ng   ng   review  ok   good: ng   review  ok   ok   ok
    p_defect = [0.9, 0.61, 0.4, 0.1, 0.7, 0.36, 0.2, 0.1, 0.0001]
    truth = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    found = verdict_figures(truth, logits_of(p_defect), INSPECTION, LIMITS)
    assert (found.images, found.bad_parts) == (9, 4)
    assert (found.ok, found.ng, found.review, found.no_read) == (4, 3, 2, 0)
    assert (found.escapes, found.false_rejects) == (1, 1)
    assert found.escape_rate == pytest.approx(1 / 4)
    assert found.false_reject_rate == pytest.approx(1 / 5)
    assert found.review_rate == pytest.approx(2 / 9)


def test_the_temperature_counts() -> None:
    truth, logits = np.array([0]), logits_of([0.7])
    assert verdict_figures(truth, logits, INSPECTION, LIMITS).ng == 1
    cooler = msgspec.structs.replace(LIMITS, temperature=3.0)  # 0.7 becomes 0.57
    assert verdict_figures(truth, logits, INSPECTION, cooler).review == 1


def test_when_sorting_a_wrong_label_that_passes_is_an_escape() -> None:
    spec = DecisionSpec(score="uncertainty", temperature=1.0, limits=LimitSpec(review=0.3, ng=None))
    p = np.array([[0.9, 0.05, 0.05], [0.9, 0.05, 0.05], [0.4, 0.3, 0.3], [0.3, 0.4, 0.3]])
    found = verdict_figures(np.array([0, 1, 0, 0]), np.log(p), SORTING, spec)
    assert (found.ok, found.ng, found.review) == (2, 0, 2)
    assert (found.bad_parts, found.escapes, found.false_rejects) == (2, 1, 0)


def test_rates_of_nothing_are_null() -> None:
    only_good = verdict_figures(np.array([1, 1]), logits_of([0.1, 0.2]), INSPECTION, LIMITS)
    assert (only_good.escape_rate, only_good.false_reject_rate) == (None, 0.0)
    only_bad = verdict_figures(np.array([0]), logits_of([0.9]), INSPECTION, LIMITS)
    assert (only_bad.escape_rate, only_bad.false_reject_rate) == (0.0, None)


def test_logits_that_are_no_numbers_are_no_read() -> None:
    logits = np.array([[np.nan, 0.0], [5.0, 0.0]])
    found = verdict_figures(np.array([0, 0]), logits, INSPECTION, LIMITS)
    assert (found.no_read, found.ng) == (1, 1)
