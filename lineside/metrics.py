"""Figures of a classifier on labelled images. scikit-learn does the statistics.

Of n images with truth t and logits z, over the labels k:

    predicted label    argmax(z)
    accuracy           share of images whose predicted label is t
    recall of k        of the images whose truth is k, the share predicted as k
    precision of k     of the images predicted as k, the share whose truth is k
    balanced accuracy  mean recall over the labels that have images
    AUROC              probability that a random bad part scores higher than a random good one,
                       ties counted half (area under the ROC curve); the score is
                       `lineside.decision.defect_scores`. Of two labels that are sorted into: of
                       one against the other
    macro AUROC        mean over the labels of the AUROC of `k` against all others

How far they may be off by chance is in `intervals`: see `lineside.intervals`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from lineside.decision import Decision, defect_scores, is_sorting, softmax
from lineside.extras import require
from lineside.intervals import area_interval, mean_share_interval, share_interval
from lineside.intervals import said as interval_said
from lineside.manifest import DecisionSpec, Label

Truth = npt.NDArray[np.integer]
"""n indices into the labels."""

Logits = npt.NDArray[np.floating]
"""n x labels."""


class LabelFigures(Struct, frozen=True, kw_only=True):
    """Figures of one label."""

    recall: float | None
    """Null where no image has this label."""
    precision: float | None
    """Null where no image was predicted to have it."""
    images: int
    """How many images have it."""


class Figures(Struct, frozen=True, kw_only=True):
    """Figures of a model on one set of images; the formulas are above."""

    images: int
    accuracy: float
    balanced_accuracy: float
    auroc: float | None = None
    """Null where there are images of one side only, and for more than two labels when sorting."""
    macro_auroc: float | None = None
    """For more than two labels, over those that have images; null where only one of them has."""
    per_label: dict[str, LabelFigures]
    confusion: list[list[int]]
    """Row: truth, column: predicted; both in the order of `labels`."""
    labels: list[str]
    intervals: dict[str, list[float]] = {}
    """The 95 % confidence intervals of `accuracy`, `balanced_accuracy`, and of the areas."""

    @property
    def area_is_macro(self) -> bool:
        """Whether `area` is the macro AUROC, as there is no other."""
        return self.auroc is None and self.macro_auroc is not None

    @property
    def area(self) -> float | None:
        """The AUROC, or the macro AUROC where there is none."""
        return self.macro_auroc if self.area_is_macro else self.auroc

    @property
    def area_name(self) -> str:
        """How `area` is called."""
        return "macro AUROC" if self.area_is_macro else "AUROC"

    @property
    def area_interval(self) -> list[float] | None:
        """That of `area`."""
        return self.intervals.get("macro_auroc" if self.area_is_macro else "auroc")


class VerdictFigures(Struct, frozen=True, kw_only=True):
    """What the verdicts would have been, with the limits in force.

    A good part is one whose label means good; when sorting, one that is given its right label.
    """

    images: int
    ok: int
    ng: int
    review: int
    no_read: int
    bad_parts: int
    """Parts that are not good, whatever was said of them."""
    escapes: int
    """Parts that are not good, and were passed as `ok`."""
    false_rejects: int
    """Good parts that were refused as `ng`."""
    escape_rate: float | None
    """escapes / bad_parts; null where there is none."""
    false_reject_rate: float | None
    """false_rejects / good parts; null where there is none."""
    review_rate: float
    """review / images."""
    intervals: dict[str, list[float]] = {}
    """The 95 % confidence intervals of the rates."""


def figures(truth: Truth, logits: Logits, labels: Sequence[Label]) -> Figures:
    """Figures of a model on one set of images.

    Args:
        truth: n indices into `labels`.
        logits: n x labels; a temperature or an offset for all labels of a row changes nothing
            but, for more than two labels, the areas.
        labels: in the order of the columns.

    Raises:
        ValueError: no image, or shapes that don't fit each other.
    """
    metrics = require("sklearn.metrics", extra="report")
    _check(truth, logits, labels)
    names = [label.name for label in labels]
    order = np.arange(len(labels))
    predicted = logits.argmax(axis=1)
    confusion = metrics.confusion_matrix(truth, predicted, labels=order)
    right, images, said = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    per_label = {
        name: LabelFigures(
            recall=float(right[k] / images[k]) if images[k] else None,
            precision=float(right[k] / said[k]) if said[k] else None,
            images=int(images[k]),
        )
        for k, name in enumerate(names)
    }
    probabilities = softmax(logits)
    areas: dict[str, tuple[Truth, npt.NDArray[np.float64]]] = {}
    if not is_sorting(labels):
        bad = np.array([not label.good for label in labels])[truth]
        score = defect_scores(probabilities, labels)
        areas["auroc"] = bad.astype(np.intp), np.stack([-score, score], axis=1)
    elif len(labels) == 2:
        areas["auroc"] = truth, probabilities
    if len(labels) > 2:
        areas["macro_auroc"] = truth, probabilities
    there = images > 0
    intervals = {
        "accuracy": share_interval(int(right.sum()), len(truth)),
        "balanced_accuracy": mean_share_interval(right[there], images[there]),
    }
    for name, given in areas.items():
        ends = area_interval(*given)
        if ends is not None:
            intervals[name] = ends
    return Figures(
        images=len(truth),
        accuracy=float(metrics.accuracy_score(truth, predicted)),
        balanced_accuracy=float(np.mean([right[k] / images[k] for k in order if images[k]])),
        # Of two sides either one gives the same area: one's score is 1 minus the other's.
        **{name: _one_vs_rest(*given) for name, given in areas.items()},
        per_label=per_label,
        confusion=confusion.tolist(),
        labels=names,
        intervals={name: list(ends) for name, ends in intervals.items()},
    )


def _check(truth: Truth, logits: Logits, labels: Sequence[Label]) -> None:
    if truth.ndim != 1 or not len(truth) or logits.shape != (len(truth), len(labels)):
        msg = (
            f"at least one image with {len(labels)} logits is expected, "
            f"got truth of shape {truth.shape} and logits of shape {logits.shape}"
        )
        raise ValueError(msg)


def _one_vs_rest(truth: Truth, probabilities: npt.NDArray[np.float64]) -> float | None:
    """Mean AUROC of each label that has images against the others; None with one such label."""
    metrics = require("sklearn.metrics", extra="report")
    present = np.unique(truth)
    if len(present) < 2:
        return None
    return float(np.mean([metrics.roc_auc_score(truth == k, probabilities[:, k]) for k in present]))


def verdict_figures(
    truth: Truth, logits: Logits, labels: Sequence[Label], decision: DecisionSpec
) -> VerdictFigures:
    """What the verdicts would have been.

    Args:
        truth: n indices into `labels`.
        logits: n x labels.
        labels: in the order of the columns.
        decision: temperature and limits.

    Raises:
        ValueError: no image, or shapes that don't fit each other.
    """
    _check(truth, logits, labels)
    decide = Decision(decision, labels)
    verdicts = np.array([decide(row).verdict for row in logits])
    if is_sorting(labels):
        bad = logits.argmax(axis=1) != truth
    else:
        bad = np.array([not labels[k].good for k in truth])
    return _rated(
        images=len(truth),
        ok=int(np.sum(verdicts == "ok")),
        ng=int(np.sum(verdicts == "ng")),
        review=int(np.sum(verdicts == "review")),
        no_read=int(np.sum(verdicts == "no_read")),
        bad_parts=int(bad.sum()),
        escapes=int(np.sum(bad & (verdicts == "ok"))),
        false_rejects=int(np.sum(~bad & (verdicts == "ng"))),
    )


def pooled_verdicts(parts: Sequence[VerdictFigures]) -> VerdictFigures:
    """Figures of several sets of images together; at least one.

    Args:
        parts: of each set, with whatever limits were in force there.
    """

    def total(name: str) -> int:
        return sum(getattr(one, name) for one in parts)

    return _rated(
        images=total("images"),
        ok=total("ok"),
        ng=total("ng"),
        review=total("review"),
        no_read=total("no_read"),
        bad_parts=total("bad_parts"),
        escapes=total("escapes"),
        false_rejects=total("false_rejects"),
    )


def _rated(**counts: int) -> VerdictFigures:
    """The rates that follow from the counts, and how far they may be off."""
    images, bad = counts["images"], counts["bad_parts"]
    rates = {
        "escape_rate": (counts["escapes"], bad),
        "false_reject_rate": (counts["false_rejects"], images - bad),
        "review_rate": (counts["review"], images),
    }
    shares = {name: count / of if of else None for name, (count, of) in rates.items()}
    return VerdictFigures(
        **counts,
        escape_rate=shares["escape_rate"],
        false_reject_rate=shares["false_reject_rate"],
        review_rate=counts["review"] / images,
        intervals={name: list(share_interval(*rate)) for name, rate in rates.items() if rate[1]},
    )


def verdicts_said(found: VerdictFigures, *, sorting: bool) -> str:
    """What became of the parts, with 95 % confidence intervals, in a line for a terminal."""
    ends = {name: interval_said(two, "{:.1%}") for name, two in found.intervals.items()}
    escapes = ends.get("escape_rate", "")
    review = f"{found.review} for review"
    if sorting:
        return f"{found.escapes} of {found.bad_parts} wrong labels pass as ok{escapes}, {review}"
    good = found.images - found.bad_parts
    return (
        f"{found.escapes} of {found.bad_parts} bad parts pass as ok{escapes}, "
        f"{found.false_rejects} of {good} good parts are ng{ends.get('false_reject_rate', '')}, "
        f"{review}"
    )
