"""The statistics that a report shows. Pure: logits and truth in, figures and curves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineside.decision import defect_scores, is_sorting, softmax, verdict_of
from lineside.extras import require
from lineside.manifest import DecisionSpec, Label
from lineside.messages import Verdict
from lineside.report.data import ModelScores, ReportData

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Judged:
    """What a model and the decision make of each test image.

    Attributes:
        name: the model's name.
        probabilities: n x labels.
        predicted: n, the index of the most probable label.
        scores: n, the defect scores (when sorting: how unsure the model is).
        verdicts: n; without limits, what the most probable label means.
    """

    name: str
    probabilities: Floats
    predicted: Indices
    scores: Floats
    verdicts: tuple[Verdict, ...]

    def is_verdict(self, verdict: Verdict) -> Bools:
        """For each image whether it got this verdict."""
        return np.array([given == verdict for given in self.verdicts], np.bool_)


def judge(model: ModelScores, labels: Sequence[Label], decision: DecisionSpec | None) -> Judged:
    """Decide on each image as a station would.

    Args:
        model: its logits.
        labels: in the order of the columns.
        decision: None where no limits were chosen: then the most probable label decides.
    """
    p = softmax(model.logits, decision.temperature if decision else 1.0)
    predicted = p.argmax(axis=1)
    scores = defect_scores(p, labels)
    verdicts: tuple[Verdict, ...]
    if decision is None:
        verdicts = tuple("ok" if labels[i].good else "ng" for i in predicted)
    else:
        verdicts = tuple(verdict_of(float(score), decision)[0] for score in scores)
    return Judged(model.name, p, predicted, scores, verdicts)


def bad_parts(data: ReportData, judged: Judged) -> Bools:
    """For each test image whether it must not pass as ok.

    A part is bad if its label means so; when sorting, if it is given another label than its own.
    """
    if is_sorting(data.labels):
        return np.asarray(judged.predicted != data.truth)
    bad = np.array([not label.good for label in data.labels])
    return np.asarray(bad[data.truth])


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Which images ended how, as indices of test images; the worst of each kind comes first.

    Attributes:
        bad: how many parts are bad, see `bad_parts`.
        escapes: bad parts with the verdict ok, the lowest score first.
        false_rejects: good parts with the verdict ng, the highest score first.
        wrong_labels: rightly ok or ng, but with another label of that kind than their own; the
            most confident first. Empty when sorting.
        review: parts that a person is to look at.
    """

    bad: int
    escapes: Indices
    false_rejects: Indices
    wrong_labels: Indices
    review: Indices


def outcomes(data: ReportData, judged: Judged) -> Outcomes:
    """Sort the test images by how they ended."""
    bad = bad_parts(data, judged)
    means_good = np.array([label.good for label in data.labels])
    same_kind = means_good[judged.predicted] == means_good[data.truth]
    right_verdict = np.where(bad, judged.is_verdict("ng"), judged.is_verdict("ok"))
    wrong = (judged.predicted != data.truth) & same_kind & right_verdict
    confidence = judged.probabilities.max(axis=1)

    def worst_first(which: Bools, order: Floats) -> Indices:
        found = np.flatnonzero(which)
        return found[np.argsort(order[found], kind="stable")]

    return Outcomes(
        bad=int(bad.sum()),
        escapes=worst_first(bad & judged.is_verdict("ok"), judged.scores),
        false_rejects=worst_first(~bad & judged.is_verdict("ng"), -judged.scores),
        wrong_labels=worst_first(wrong, -confidence),
        review=np.flatnonzero(judged.is_verdict("review")),
    )


@dataclass(frozen=True, eq=False)
class Curve:
    """How well a score tells two groups apart, at every limit.

    Attributes:
        false_alarms: share of negatives at or above the limit (false positive rate).
        caught: share of positives at or above the limit (true positive rate).
        auroc: area under `caught` over `false_alarms`.
        recall: the same as `caught`, at the points of `precision`.
        precision: share of positives among those at or above the limit.
        average_precision: see scikit-learn's `average_precision_score`.
    """

    false_alarms: Floats
    caught: Floats
    auroc: float
    recall: Floats
    precision: Floats
    average_precision: float


def curve(positive: Bools, scores: Floats) -> Curve | None:
    """The ROC and the precision/recall curve; None unless both groups are there.

    Args:
        positive: n.
        scores: n, higher means rather positive.
    """
    if positive.all() or not positive.any():
        return None
    metrics = require("sklearn.metrics", extra="report")
    false_alarms, caught, _ = metrics.roc_curve(positive, scores)
    precision, recall, _ = metrics.precision_recall_curve(positive, scores, drop_intermediate=True)
    found = recall > 0  # where nothing is found yet, precision is arbitrary
    return Curve(
        false_alarms,
        caught,
        float(metrics.roc_auc_score(positive, scores)),
        recall[found],
        precision[found],
        float(metrics.average_precision_score(positive, scores)),
    )


@dataclass(frozen=True)
class LimitPoint:
    """Where on the curves a limit lies.

    Attributes:
        name: `review` or `ng`.
        limit: the defect score.
        caught: share of bad parts at or above it.
        false_alarms: share of good parts at or above it.
        precision: share of bad parts among those at or above it; None where there are none.
    """

    name: Verdict
    limit: float
    caught: float
    false_alarms: float
    precision: float | None


def limits_of(decision: DecisionSpec | None) -> tuple[tuple[Verdict, float], ...]:
    """The limits in use, `review` first."""
    if decision is None:
        return ()
    both: tuple[tuple[Verdict, float | None], ...] = (
        ("review", decision.limits.review),
        ("ng", decision.limits.ng),
    )
    return tuple((name, limit) for name, limit in both if limit is not None)


def limit_points(
    positive: Bools, scores: Floats, decision: DecisionSpec | None
) -> tuple[LimitPoint, ...]:
    """Where the chosen limits lie on the curves of `positive` (both groups are there)."""
    points = []
    for name, limit in limits_of(decision):
        above = scores >= limit
        precision = float(positive[above].mean()) if above.any() else None
        caught, false_alarms = float(above[positive].mean()), float(above[~positive].mean())
        points.append(LimitPoint(name, limit, caught, false_alarms, precision))
    return tuple(points)


def coverage(right: Bools, uncertainty: Floats) -> tuple[Floats, Floats]:
    """How right the model is on the part of the images that it is surest of.

    Args:
        right: n, at least 1: whether the most probable label is the true one.
        uncertainty: n.

    Returns:
        Shares of images below an uncertainty, rising to 1, and the share of right ones in each.
    """
    order = np.argsort(uncertainty, kind="stable")
    # Images that are equally uncertain are answered together or not at all.
    last = np.append(np.flatnonzero(np.diff(uncertainty[order])), len(order) - 1)
    answered = last + 1.0
    return answered / len(order), np.cumsum(right[order])[last] / answered


@dataclass(frozen=True, eq=False)
class Differences:
    """How two models differ on the same images.

    Attributes:
        verdicts: indices of images with another verdict.
        labels: indices of images with another most probable label.
        worst: the largest difference of a defect score.
    """

    verdicts: Indices
    labels: Indices
    worst: float


def differences(one: Judged, other: Judged) -> Differences:
    """Compare what two models say of the same images, at least one."""
    return Differences(
        np.flatnonzero([a != b for a, b in zip(one.verdicts, other.verdicts, strict=True)]),
        np.flatnonzero(one.predicted != other.predicted),
        float(np.abs(one.scores - other.scores).max()),
    )
