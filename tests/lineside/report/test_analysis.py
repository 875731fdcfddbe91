from __future__ import annotations

import numpy as np
import pytest

from lineside.manifest import DecisionSpec, Label, LimitSpec
from lineside.metrics import figures, verdict_figures
from lineside.report.analysis import (
    coverage,
    curve,
    differences,
    judge,
    limit_points,
    outcomes,
)
from lineside.report.charts import label_curves
from lineside.report.data import ModelScores
from tests.lineside.report.scored import DECISION, Scored, report_of


@pytest.mark.parametrize("sorting", [False, True])
def test_outcomes_are_those_of_the_metrics(scored_30: Scored, *, sorting: bool) -> None:
    labels = [Label(name=x.name, good=x.good or sorting) for x in scored_30.labels]
    data = report_of(scored_30, labels=labels)
    judged = judge(data.models[-1], labels, DECISION)
    ends = outcomes(data, judged)
    expected = verdict_figures(scored_30.truth, scored_30.int8, labels, DECISION)
    assert expected.escapes > 0
    assert ends.bad == expected.bad_parts
    assert len(ends.escapes) == expected.escapes
    assert len(ends.false_rejects) == expected.false_rejects
    assert len(ends.review) == expected.review


def test_wrong_labels_are_rightly_good_or_bad(scored_30: Scored) -> None:
    data = report_of(scored_30)
    judged = judge(data.models[-1], data.labels, DECISION)
    found = outcomes(data, judged).wrong_labels
    assert len(found) > 0
    sureness = judged.probabilities.max(axis=1)[found]
    assert (np.diff(sureness) <= 0).all()
    for i in found:
        true, said = data.labels[data.truth[i]], data.labels[judged.predicted[i]]
        assert true.name != said.name
        assert true.good == said.good
        assert judged.verdicts[i] == ("ok" if true.good else "ng")


def test_without_limits_the_most_probable_label_decides(scored: Scored) -> None:
    judged = judge(ModelScores("float", scored.logits), scored.labels, None)
    expected = ["ng" if row[0] >= row[1] else "ok" for row in scored.logits]
    assert list(judged.verdicts) == expected


def test_curve_needs_both_groups(scored: Scored) -> None:
    scores = scored.logits[:, 0]
    assert curve(np.zeros(len(scores), np.bool_), scores) is None
    assert curve(np.ones(len(scores), np.bool_), scores) is None
    assert curve(scored.truth == 0, scores) is not None


def test_limits_lie_on_the_curves(scored: Scored) -> None:
    from sklearn.metrics import precision_recall_curve, roc_curve

    judged = judge(ModelScores("float", scored.logits), scored.labels, DECISION)
    bad = scored.truth == 0
    roc = np.stack(roc_curve(bad, judged.scores, drop_intermediate=False)[:2], axis=1)
    pr = np.stack(precision_recall_curve(bad, judged.scores)[:2], axis=1)
    points = limit_points(bad, judged.scores, DECISION)
    assert [(point.name, point.limit) for point in points] == [("review", 0.3), ("ng", 0.6)]
    for point in points:
        assert np.isclose(roc, (point.false_alarms, point.caught)).all(axis=1).any()
        assert np.isclose(pr, (point.precision, point.caught)).all(axis=1).any()


def test_a_limit_that_nothing_reaches_has_no_precision(scored: Scored) -> None:
    decision = DecisionSpec(
        score="p_not_good", temperature=1.0, limits=LimitSpec(review=None, ng=1.0)
    )
    bad = scored.truth == 0
    (point,) = limit_points(bad, np.full(len(bad), 0.5), decision)
    assert (point.caught, point.false_alarms, point.precision) == (0.0, 0.0, None)


def test_coverage_answers_equal_uncertainties_together() -> None:
    uncertainty = np.array([0.3, 0.1, 0.1, 0.2])
    right = np.array([False, True, False, True])
    answered, share = coverage(right, uncertainty)
    assert answered.tolist() == [0.5, 0.75, 1.0]
    assert share.tolist() == pytest.approx([1 / 2, 2 / 3, 2 / 4])


def test_areas_of_the_labels_have_the_mean_that_the_metrics_say(scored_30: Scored) -> None:
    lines = label_curves(report_of(scored_30))
    expected = figures(scored_30.truth, scored_30.int8, scored_30.labels).macro_auroc
    assert expected is not None
    assert np.mean([line.curve.auroc for line in lines.values()]) == pytest.approx(expected)
    coloured = [line.curve.auroc for line in lines.values() if line.look.colour != "other"]
    grey = [line.curve.auroc for line in lines.values() if line.look.colour == "other"]
    assert len(coloured) == 6
    assert max(coloured) <= min(grey)


def test_differences_of_a_model_to_itself_are_none(scored: Scored) -> None:
    judged = judge(ModelScores("float", scored.logits), scored.labels, DECISION)
    same = differences(judged, judged)
    assert (len(same.verdicts), len(same.labels), same.worst) == (0, 0, 0.0)
