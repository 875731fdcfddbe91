"""Which plots a report has, and what is said beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

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
from lineside.report.histogram_plot import histogram_plot
from lineside.report.plots import JUDGED, ORIGINAL, OTHERS, SERIES, Look, Mark
from lineside.report.summary import counted, percent


@dataclass(frozen=True)
class Chart:
    """A plot with what is said about it.

    Attributes:
        title: what it shows.
        text: how to read it.
        svg: the plot, an `svg` element.
        keys: its legend: what each line stands for, and how it is drawn.
    """

    title: str
    text: str
    svg: str
    keys: Sequence[tuple[str, Look]] = ()


def score_chart(data: ReportData, judged: Judged) -> Chart:
    """The spread of the scores, limits drawn."""
    bad = bad_parts(data, judged)
    sorting = is_sorting(data.labels)
    what = "uncertainty (1 - highest probability)" if sorting else "defect score"
    names = ("right", "wrong") if sorting else ("good parts", "bad parts")
    groups = ((names[0], judged.scores[~bad]), (names[1], judged.scores[bad]))
    limits = limits_of(data.decision)
    said = [
        f"{len(scores)} {name}" + (f" (median {np.median(scores):.2f})" if len(scores) else "")
        for name, scores in groups
    ]
    said += [f"{name} limit at {limit:g}" for name, limit in limits]
    return Chart(
        "How unsure the model is" if sorting else "Scores of good and of bad parts",
        "How many images got which score (the scale is stretched near 0, so that single images "
        "can be seen). A score at or above a limit gets its verdict; the further apart the two "
        "groups lie, the easier it is to set limits.",
        histogram_plot(
            "scores", f"Histogram of the {what}: {', '.join(said)}", groups, limits, what
        ),
    )


def coverage_chart(data: ReportData, judged: Judged) -> Chart:
    """When sorting: what is gained by leaving unsure images to a person."""
    right = judged.predicted == data.truth
    marks = []
    for name, limit in limits_of(data.decision):
        below = judged.scores < limit
        if below.any():
            marks.append(Mark(name, limit, float(below.mean()), float(right[below].mean())))
    said = [f"Right answers by share answered: {right.mean():.1%} of all"]
    said += [
        f"at the {m.name} limit {m.limit:g} {m.x:.1%} are answered, {m.y:.1%} of them right"
        for m in marks
    ]
    return Chart(
        "How much to leave to the model",
        "Where the model answers only what it is surest of (left), more of its answers should be "
        "right.",
        plots.coverage_plot("coverage", "; ".join(said), *coverage(right, judged.scores), marks),
    )


def bad_part_charts(data: ReportData, models: Sequence[Judged]) -> Iterator[Chart]:
    """ROC and precision/recall of bad against good parts; nothing unless both are there."""
    bad = bad_parts(data, models[-1])
    curves = [one for model in models if (one := curve(bad, model.scores)) is not None]
    if not curves:
        return
    points = limit_points(bad, models[-1].scores, data.decision)
    looks = [ORIGINAL] * (len(models) - 1) + [JUDGED]
    lines = list(zip(curves, looks, strict=True))
    names = [model.name for model in models]

    said = [f"{name}: AUROC {one.auroc:.3f}" for name, one in zip(names, curves, strict=True)]
    at = [
        f"at the {p.name} limit {p.limit:g} {p.caught:.1%} of bad parts are caught and "
        f"{p.false_alarms:.1%} of good parts are stopped"
        for p in points
    ]
    yield Chart(
        "ROC curve",
        "Each point of the curve is a possible limit. The nearer to the upper left corner, the "
        "better; the dotted line is guessing.",
        plots.roc_plot(
            "roc",
            "ROC curve: " + "; ".join(said + at),
            lines,
            [Mark(p.name, p.limit, p.false_alarms, p.caught) for p in points],
            ("good parts stopped", "bad parts caught (recall)"),
        ),
        list(zip(said, looks, strict=True)),
    )

    said = [
        f"{name}: average precision {one.average_precision:.3f}"
        for name, one in zip(names, curves, strict=True)
    ]
    marks = [
        Mark(p.name, p.limit, p.caught, p.precision) for p in points if p.precision is not None
    ]
    at = [
        f"at the {m.name} limit {m.limit:g} recall {m.x:.1%} and precision {m.y:.1%}" for m in marks
    ]
    yield Chart(
        "Precision/recall curve",
        "The nearer to the upper right corner, the better. Precision depends on how common bad "
        f"parts are: {percent(float(bad.mean()))} of the test images show one.",
        plots.precision_recall_plot(
            "pr",
            "Precision/recall curve: " + "; ".join(said + at),
            lines,
            marks,
            ("bad parts caught (recall)", "bad among stopped (precision)"),
        ),
        list(zip(said, looks, strict=True)),
    )


@dataclass(frozen=True)
class LabelCurve:
    """How well one label is told from all others.

    Attributes:
        curve: its areas among other things.
        look: how its line is drawn.
    """

    curve: Curve
    look: Look


def label_curves(data: ReportData) -> dict[str, LabelCurve]:
    """For each label of the judged model how well it is told from all others.

    A label has no curve if no test image shows it, or all do. Where there are more labels than a
    plot can tell apart, the least good ones are coloured.
    """
    # As in `lineside.metrics`: without temperature, so that the areas' mean is the macro AUROC.
    p = softmax(data.models[-1].logits)
    found = {
        label.name: one
        for number, label in enumerate(data.labels)
        if (one := curve(data.truth == number, p[:, number])) is not None
    }
    hardest = sorted(found, key=lambda name: found[name].auroc)[: len(SERIES)]
    coloured = (name for name in found if name in hardest)
    looks = dict(zip(coloured, SERIES, strict=False))
    return {name: LabelCurve(one, looks.get(name, OTHERS)) for name, one in found.items()}


def label_charts(lines: Mapping[str, LabelCurve]) -> Iterator[Chart]:
    """Curves of each label against all others, at least one."""
    text = "Each label against all others; the table above says which line is which."
    if any(line.look == OTHERS for line in lines.values()):
        text += f" The {len(SERIES)} labels that are hardest to tell apart are coloured."
    # Coloured lines come last, so that they lie on top.
    drawn = sorted(lines.values(), key=lambda line: line.look != OTHERS)
    pairs = [(line.curve, line.look) for line in drawn]
    areas = {
        "ROC curves": [one.auroc for one, _ in pairs],
        "Precision/recall curves": [one.average_precision for one, _ in pairs],
    }
    roc, pr = (
        f"{kind} of {len(pairs)} labels, each against all others: areas from "
        f"{min(values):.3f} to {max(values):.3f}"
        for kind, values in areas.items()
    )
    words = "other labels taken for it", "images of the label found (recall)"
    yield Chart("ROC of each label", text, plots.roc_plot("labels-roc", roc, pairs, (), words))
    words = "recall", "precision"
    svg = plots.precision_recall_plot("labels-pr", pr, pairs, (), words)
    yield Chart("Precision/recall of each label", text, svg)


def history_charts(history: Mapping[str, Sequence[float]]) -> Iterator[Chart]:
    """One plot for each figure that Keras logged, training and validation together."""
    names = dict.fromkeys(name.removeprefix("val_") for name in history)
    for number, name in enumerate(names):
        lines = [
            (what, values, look)
            for what, key, look in (
                ("training", name, ORIGINAL),
                ("validation", f"val_{name}", JUDGED),
            )
            if len(values := history.get(key, ()))
        ]
        if not lines:
            continue
        said = [f"{what} from {vs[0]:.3g} to {vs[-1]:.3g}" for what, vs, _ in lines]
        epochs = counted(max(len(values) for _, values, _ in lines), "epoch")
        alt = f"{name} over {epochs}: {', '.join(said)}"
        svg = plots.history_plot(f"history{number}", alt, [(vs, look) for _, vs, look in lines])
        yield Chart(name.replace("_", " "), "", svg, [(what, look) for what, _, look in lines])
