"""Intervals: known values, and how often they hold what is true."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("scipy", reason="intervals need the extra 'report'")
from scipy import stats

from lineside.intervals import area_interval, mean_share_interval, said, share_interval

Truth = npt.NDArray[np.intp]


def test_a_share_has_wilsons_interval() -> None:
    for count, of in ((0, 10), (12, 178), (5, 5)):
        expected = stats.binomtest(count, of).proportion_ci(method="wilson")
        found = share_interval(count, of)
        assert found == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert share_interval(0, 40) == pytest.approx((0.0, 0.0876), abs=1e-4)


def test_the_mean_of_one_share_is_that_share() -> None:
    assert mean_share_interval(np.array([12]), np.array([178])) == pytest.approx(
        share_interval(12, 178)
    )


def test_more_labels_make_the_mean_surer() -> None:
    widths = []
    for labels in (1, 2, 8):
        low, high = mean_share_interval(np.full(labels, 18), np.full(labels, 20))
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
    assert widths[2] == pytest.approx(widths[0] / np.sqrt(8))


@pytest.mark.parametrize("recalls", [(0.9, 0.8), (0.99, 0.99), (0.95, 0.7, 0.99)])
@pytest.mark.parametrize("images", [20, 100])
def test_the_mean_of_shares_is_held(recalls: tuple[float, ...], images: int) -> None:
    random = np.random.default_rng(0)
    of = np.full(len(recalls), images)
    ends = np.array([mean_share_interval(random.binomial(of, recalls), of) for _ in range(600)])
    held = np.mean((ends[:, 0] <= np.mean(recalls)) & (np.mean(recalls) <= ends[:, 1]))
    assert 0.9 < held <= 0.995


def two_groups(seed: int, images: int, apart: float) -> tuple[Truth, npt.NDArray[np.float64]]:
    """Two labels, scores of two normal distributions."""
    random = np.random.default_rng(seed)
    truth = np.repeat([0, 1], images)
    score = random.normal(apart * (truth == 1), 1.0)
    return truth, np.stack([-score, score], axis=1)


@pytest.mark.parametrize(("images", "apart"), [(15, 1.5), (15, 3.5), (30, 4.0), (60, 2.5)])
def test_an_area_is_held_also_near_1(images: int, apart: float) -> None:
    true = stats.norm.cdf(apart / np.sqrt(2))
    ends = [area_interval(*two_groups(seed, images, apart)) for seed in range(400)]
    held = np.mean([low <= true <= high for low, high in filter(None, ends)])
    assert 0.92 < held <= 1.0
    assert None not in ends


def test_two_labels_have_delongs_variance() -> None:
    truth, scores = two_groups(1, 40, 1.5)
    order = scores[truth == 1, 1][:, np.newaxis] > scores[truth == 0, 1]
    area = order.mean()
    variance = order.mean(axis=1).var(ddof=1) / 40 + order.mean(axis=0).var(ddof=1) / 40
    odds = np.log(area / (1 - area))
    error = 1.959964 * np.sqrt(variance) / (area * (1 - area))
    expected = [1 / (1 + np.exp(-(odds + sign * error))) for sign in (-1, 1)]
    assert area_interval(truth, scores) == pytest.approx(expected)


def test_the_mean_area_of_several_labels_is_held() -> None:
    def drawn(seed: int, images: int) -> tuple[Truth, npt.NDArray[np.float64]]:
        random = np.random.default_rng(seed)
        truth = np.repeat(np.arange(4), images)
        scores = random.normal(size=(len(truth), 4))
        scores[np.arange(len(truth)), truth] += np.array([1.0, 1.5, 2.0, 3.0])[truth]
        return truth, scores

    true = np.mean([stats.norm.cdf(apart / np.sqrt(2)) for apart in (1.0, 1.5, 2.0, 3.0)])
    ends = np.array([area_interval(*drawn(seed, 15)) for seed in range(300)])
    held = np.mean((ends[:, 0] <= true) & (true <= ends[:, 1]))
    assert 0.91 < held < 0.99


def test_no_pair_in_the_wrong_order_still_leaves_room() -> None:
    truth = np.array([0, 0, 0, 1, 1, 1])
    scores = np.stack([-truth, truth], axis=1).astype(float)
    low, high = area_interval(truth, scores) or (0.0, 0.0)
    assert high == 1.0
    assert 0.2 < low < 0.7
    many = np.repeat(truth, 100)
    assert (area_interval(many, np.repeat(scores, 100, axis=0)) or (0.0, 0.0))[0] > 0.98


def test_one_image_of_a_label_says_little() -> None:
    truth = np.array([0, 1, 1, 1, 1])
    score = np.array([0.5, 0.1, 0.6, 0.7, 0.8])
    low, high = area_interval(truth, np.stack([-score, score], axis=1)) or (0.0, 0.0)
    assert high - low > 0.5


def test_one_label_has_no_area() -> None:
    assert area_interval(np.zeros(4, np.intp), np.zeros((4, 2))) is None


def test_thousands_of_images_and_hundreds_of_labels_take_no_time() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(200, size=4000)
    scores = random.normal(size=(4000, 200))
    low, high = area_interval(truth, scores) or (0.0, 0.0)
    assert 0.48 < low < 0.5 < high < 0.52


def test_said() -> None:
    assert said((0.123, 0.456), "{:.1%}") == " (12.3% to 45.6%)"
    assert said(None, "{:.3f}") == ""
