"""Which plots a report has, and what is said beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lineside.decision import is_sorting, softmax
from lineside.report import plots
from lineside.report.analysis import (
    Curve,
    Judged,
    bad_parts,
    coverage,
    curve,
    limit_points,
    limits_of,
)
from lineside.report.data import ReportData
from lineside.report.summary import percent


@dataclass(frozen=True)
class Key:
    """One line of a plot's legend.

    Attributes:
        text: what the line stands for.
        colour: a colour name of the page's style.
        dashes: stroke pattern in SVG's way; empty for a solid line.
    """

    text: str
    colour: str
    dashes: str = ""


@dataclass(frozen=True)
class Chart:
    """A plot with what is said about it.

    Attributes:
        title: what it shows.
        text: how to read it.
        svg: the plot, an `svg` element.
        keys: its legend.
    """

    title: str
    text: str
    svg: str
    keys: Sequence[Key] = ()


def score_chart(data: ReportData, judged: Judged) -> Chart:
    """The spread of the scores, limits drawn."""
    bad = bad_parts(data, judged)
    sorting = is_sorting(data.labels)
    names = ("right", "wrong") if sorting else ("good parts", "bad parts")
    return Chart(
        "How unsure the model is" if sorting else "Scores of good and of bad parts",
        "A score at or above a limit gets its verdict. The further apart the two groups lie, the "
        "easier it is to set limits.",
        plots.histogram_plot(
            "scores",
            judged.scores,
            ((names[0], ~bad), (names[1], bad)),
            limits_of(data.decision),
            "uncertainty (1 - highest probability)" if sorting else "defect score",
        ),
    )


def coverage_chart(data: ReportData, judged: Judged) -> Chart:
    """When sorting: what is gained by leaving unsure images to a person."""
    right = judged.predicted == data.truth
    answered, share = coverage(right, judged.scores)
    marks = []
    for name, limit in limits_of(data.decision):
        below = judged.scores < limit
        if below.any():
            marks.append((name, limit, float(below.mean()), float(right[below].mean())))
    return Chart(
        "How much to leave to the model",
        "Where the model answers only what it is sure of (left), more of its answers are right.",
        plots.coverage_plot("coverage", answered, share, marks),
    )


def bad_part_charts(data: ReportData, models: Sequence[Judged]) -> Iterator[Chart]:
    """ROC and precision/recall of bad against good parts; nothing unless both are there."""
    bad = bad_parts(data, models[-1])
    curves = [one for model in models if (one := curve(bad, model.scores)) is not None]
    if not curves:
        return
    points = limit_points(bad, models[-1].scores, data.decision)
    looks = [("other", "5 2")] * (len(models) - 1) + [("accent", "")]
    yield Chart(
        "Bad parts caught, good parts stopped (ROC)",
        "Each point of the curve is a possible limit. The nearer to the upper left corner, the "
        "better; the dotted line is guessing.",
        plots.roc_plot("roc", curves, points, ("good parts stopped", "bad parts caught (recall)")),
        [
            Key(f"{model.name}: AUROC {one.auroc:.3f}", *look)
            for model, one, look in zip(models, curves, looks, strict=True)
        ],
    )
    yield Chart(
        "How many of the stopped parts are bad (precision/recall)",
        "The nearer to the upper right corner, the better. Precision depends on how common bad "
        f"parts are: {percent(float(bad.mean()))} of the test images show one.",
        plots.precision_recall_plot(
            "pr", curves, points, ("bad parts caught (recall)", "bad among stopped (precision)")
        ),
        [
            Key(f"{model.name}: average precision {one.average_precision:.3f}", *look)
            for model, one, look in zip(models, curves, looks, strict=True)
        ],
    )


@dataclass(frozen=True)
class LabelCurve:
    """How well one label is told from all others, and how its curve is drawn.

    Attributes:
        auroc: area under the ROC curve.
        average_precision: area under the precision/recall curve.
        colour: a colour name of the page's style.
        dashes: stroke pattern.
    """

    auroc: float
    average_precision: float
    colour: str
    dashes: str


def label_charts(data: ReportData) -> tuple[list[Chart], Mapping[str, LabelCurve]]:
    """Curves of each label of the judged model against all others.

    Where there are more labels than a plot can tell apart, the least good ones are coloured.

    Returns:
        The charts, and for each label that has a curve its figures; both empty where all test
        images have one label.
    """
    # As in `lineside.metrics`: without temperature, so that the areas' mean is the macro AUROC.
    p = softmax(data.models[-1].logits)
    found: list[tuple[str, Curve]] = []
    for number, label in enumerate(data.labels):
        one = curve(data.truth == number, p[:, number])
        if one is not None:
            found.append((label.name, one))
    if not found:
        return [], {}
    curves = [one for _, one in found]
    order = sorted(range(len(curves)), key=lambda i: curves[i].auroc)
    shown = sorted(order[: len(plots.SERIES)])
    looks = dict(zip(shown, zip(plots.SERIES, plots.DASHES, strict=True), strict=False))
    rows = {
        name: LabelCurve(one.auroc, one.average_precision, *looks.get(i, ("other", "")))
        for i, (name, one) in enumerate(found)
    }
    text = "Each label against all others; the table says which line is which."
    if len(curves) > len(shown):
        text += f" The {len(shown)} labels that are hardest to tell apart are coloured."
    return [
        Chart(
            "ROC of each label", text, plots.label_curves_plot("labels-roc", curves, shown, "ROC")
        ),
        Chart(
            "Precision/recall of each label",
            text,
            plots.label_curves_plot("labels-pr", curves, shown, "precision/recall"),
        ),
    ], rows


def history_charts(history: Mapping[str, Sequence[float]]) -> Iterator[Chart]:
    """One plot for each figure that Keras logged, training and validation together."""
    names = dict.fromkeys(name.removeprefix("val_") for name in history)
    for number, name in enumerate(names):
        train, val = history.get(name, ()), history.get(f"val_{name}", ())
        if not len(train) and not len(val):
            continue
        keys = [Key("training", "other", "5 2")] if len(train) else []
        keys += [Key("validation", "accent")] if len(val) else []
        svg = plots.history_plot(f"history{number}", train, val)
        yield Chart(name.replace("_", " "), "", svg, keys)
