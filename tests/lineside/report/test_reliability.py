from __future__ import annotations

import numpy as np
import pytest

from lineside.decision import defect_scores, softmax
from lineside.manifest import Label
from lineside.report.analysis import judge
from lineside.report.reliability import FEW, reliability, reliability_of
from tests.lineside.report.scored import DECISION, Scored, report_of


def _scores(scored: Scored) -> np.ndarray:
    return defect_scores(softmax(scored.logits, DECISION.temperature), scored.labels)


def test_points_are_those_of_scikit_learn(scored: Scored) -> None:
    from sklearn.calibration import calibration_curve

    bad, scores = scored.truth == 0, _scores(scored)
    observed, predicted = calibration_curve(bad, scores, n_bins=10)
    found = reliability(scores, bad)
    assert len(found.bins) > 5
    assert [one.observed for one in found.bins] == pytest.approx(observed.tolist())
    assert [one.predicted for one in found.bins] == pytest.approx(predicted.tolist())
    assert sum(one.images for one in found.bins) == len(scores)
    assert found.few == sum(one.images < FEW for one in found.bins)
    for one in found.bins:
        inside = (scores > one.low) & (scores <= one.high)
        assert inside.sum() == one.images
        assert one.interval[0] <= one.observed <= one.interval[1]


def test_expected_calibration_error_is_that_of_the_paper(scored_30: Scored) -> None:
    # Guo et al. 2017: accuracy and confidence of the most probable label, in bins (a, b].
    p = softmax(scored_30.logits)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == scored_30.truth
    expected = 0.0
    for m in range(10):
        inside = (confidence > m / 10) & (confidence <= (m + 1) / 10)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            expected += inside.sum() / len(right) * gap
    assert expected > 0.01
    assert reliability(confidence, right).error == pytest.approx(expected)


def test_the_ends_belong_to_the_outer_bins() -> None:
    found = reliability(np.array([0.0, 0.1, 0.100001, 1.0]), np.array([False, False, True, True]))
    assert [(one.low, one.images) for one in found.bins] == [(0.0, 2), (0.1, 1), (0.9, 1)]
    assert found.error == pytest.approx((0.1 + (1 - 0.100001)) / 4)


def test_right_probabilities_have_about_the_error_by_chance(scored: Scored) -> None:
    scores = _scores(scored)
    draws = np.random.default_rng(3).random((100, len(scores))) < scores
    errors = [reliability(scores, happened).error for happened in draws]
    assert np.mean(errors) == pytest.approx(reliability(scores, draws[0]).by_chance, rel=0.1)


def test_when_sorting_confidence_meets_accuracy(scored: Scored) -> None:
    labels = [Label(name=label.name, good=True) for label in scored.labels]
    data = report_of(scored, labels=labels)
    p = softmax(scored.int8, DECISION.temperature)
    expected = reliability(p.max(axis=1), p.argmax(axis=1) == scored.truth)
    found = reliability_of(data, judge(data.models[-1], labels, DECISION))
    assert found.error == pytest.approx(expected.error)
    assert [one.images for one in found.bins] == [one.images for one in expected.bins]
    assert found.bins[0].high >= 0.5  # of two labels, the most probable one has as much
