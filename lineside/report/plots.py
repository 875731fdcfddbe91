"""The plots of a report: matplotlib draws, the page's own style colours them.

A plot holds no text but numbers and fixed words: labels and file names may be in any script, and
only the browser has the fonts for that. They stand in the legend, which is HTML. The colours
are names of the page's style, so that a plot is as legible in dark surroundings and in print.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from lineside.extras import require
from lineside.messages import Verdict
from lineside.report.analysis import Bools, Curve, Floats, LimitPoint

# matplotlib knows no style variables: each name of the page's style travels as a colour of its
# own, and the SVG gets the name back.
_STYLE_NAMES: Final = ("ink", "muted", "line", "ok", "ng", "review", "accent", "other")
_SERIES: Final = 6
_STAND_IN: Final = {
    name: f"#0102{number:02x}"
    for number, name in enumerate((*_STYLE_NAMES, *(f"c{i}" for i in range(_SERIES))))
}
INK, MUTED, LINE, OK, NG, REVIEW, ACCENT, OTHER = (_STAND_IN[name] for name in _STYLE_NAMES)
SERIES: Final = tuple(f"c{i}" for i in range(_SERIES))
"""Names of the colours for curves of several labels."""

DASHES: Final = ("", "5 2", "1.5 1.5", "7 2 1.5 2", "3 3", "8 3")
"""Stroke patterns for the same curves, so that nobody needs to tell the colours apart."""

BINS: Final = 25
"""Bars in a histogram."""

_LIMIT_COLOURS: Final[dict[Verdict, str]] = {"review": REVIEW, "ng": NG}
_LIMIT_MARKERS: Final[dict[Verdict, str]] = {"review": "D", "ng": "s"}
_SIZE: Final = (4.6, 3.3)  # inches; at 72 points an inch about the width of a phone


@contextmanager
def _figure(size: tuple[float, float] = _SIZE) -> Iterator[Any]:
    """A figure of the report's look, whatever the person's own matplotlib settings are."""
    matplotlib = require("matplotlib", extra="report")
    figures = require("matplotlib.figure", extra="report")
    agg = require("matplotlib.backends.backend_agg", extra="report")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": "lineside",
                "font.size": 9.5,
                "text.color": INK,
                "axes.labelcolor": INK,
                "axes.edgecolor": MUTED,
                "axes.linewidth": 0.8,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.grid": True,
                "axes.axisbelow": True,
                "grid.color": LINE,
                "grid.linewidth": 0.7,
                "xtick.color": MUTED,
                "ytick.color": MUTED,
                "xtick.labelcolor": INK,
                "ytick.labelcolor": INK,
                "lines.solid_capstyle": "round",
                "hatch.linewidth": 0.8,
            }
        )
        figure = figures.Figure(figsize=size, layout="constrained")
        agg.FigureCanvasAgg(figure)
        yield figure


def _svg(figure: Any, name: str, alt: str) -> str:  # noqa: ANN401 - a matplotlib Figure
    """The figure as an `svg` element for the middle of an HTML page."""
    text = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    # Its style would hold for the whole page, and its ids would meet those of other plots.
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    for style_name, stand_in in _STAND_IN.items():
        svg = svg.replace(stand_in, f"var(--{style_name})")
    box = re.search(r'viewBox="[^"]*"', svg)
    if box is None:
        msg = "matplotlib wrote an SVG without a viewBox"
        raise RuntimeError(msg)
    head = f'<svg class="plot" role="img" aria-label="{html.escape(alt)}" {box[0]}>'
    return head + svg[svg.index(">") + 1 :]


def _mark_limits(axes: Any, points: Sequence[tuple[LimitPoint, float, float]]) -> None:  # noqa: ANN401
    """Mark limits on a curve, each at x and y, their names where the curve isn't."""
    for point, x, y in points:
        colour, lower = _LIMIT_COLOURS[point.name], point.name == "ng"
        marker = _LIMIT_MARKERS[point.name]
        axes.plot([x], [y], marker, color=colour, markersize=7, clip_on=False, zorder=5)
        left = x > 0.6
        axes.annotate(
            f"{point.name} {point.limit:.2f}",
            (x, y),
            xytext=(-9 if left else 9, -13 if lower == left else -4 if not left else -17),
            textcoords="offset points",
            ha="right" if left else "left",
            color=colour,
            fontweight="bold",
            zorder=6,
        )


def _unit_square(axes: Any, x: str, y: str) -> None:  # noqa: ANN401 - matplotlib Axes
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.03), xlabel=x, ylabel=y)


def roc_plot(
    name: str, curves: Sequence[Curve], points: Sequence[LimitPoint], words: tuple[str, str]
) -> str:
    """ROC curves of one model, or of the original and, on top, the judged model.

    Args:
        name: for the ids inside the page.
        curves: the judged model's is the last one.
        points: limits to mark on the last curve.
        words: what the x and the y axis say.
    """
    with _figure() as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1.2, linestyle=(0, (2, 2)))
        for one, style in zip(curves, _pair(len(curves)), strict=True):
            axes.plot(one.false_alarms, one.caught, **style)
        _mark_limits(axes, [(p, p.false_alarms, p.caught) for p in points])
        _unit_square(axes, *words)
        said = [f"area {one.auroc:.3f}" for one in curves]
        marks = [
            f"at the {p.name} limit {p.limit:.2f} {p.caught:.1%} of bad parts are caught and "
            f"{p.false_alarms:.1%} of good parts are stopped"
            for p in points
        ]
        return _svg(figure, name, "ROC curve: " + "; ".join(said + marks))


def precision_recall_plot(
    name: str, curves: Sequence[Curve], points: Sequence[LimitPoint], words: tuple[str, str]
) -> str:
    """Precision/recall curves; arguments as for `roc_plot`."""
    with _figure() as figure:
        axes = figure.add_subplot()
        for one, style in zip(curves, _pair(len(curves)), strict=True):
            axes.plot(one.recall, one.precision, drawstyle="steps-post", **style)
        _mark_limits(axes, [(p, p.caught, p.precision) for p in points if p.precision is not None])
        _unit_square(axes, *words)
        said = [f"average precision {one.average_precision:.3f}" for one in curves]
        marks = [
            f"at the {p.name} limit {p.limit:.2f} recall {p.caught:.1%} and "
            f"precision {p.precision:.1%}"
            for p in points
            if p.precision is not None
        ]
        return _svg(figure, name, "Precision/recall curve: " + "; ".join(said + marks))


def _pair(count: int) -> list[dict[str, Any]]:
    """How curves of the original (thin, dashed) and of the judged model are drawn."""
    judged: dict[str, Any] = {"color": ACCENT, "linewidth": 2.0}
    original = {"color": OTHER, "linewidth": 1.5, "linestyle": (0, (5, 2))}
    return [original] * (count - 1) + [judged]


def label_curves_plot(name: str, curves: Sequence[Curve], shown: Sequence[int], kind: str) -> str:
    """One curve for each label against all others.

    Args:
        name: for the ids inside the page.
        curves: one for each label.
        shown: which of them get a colour, at most `len(SERIES)`; the others are grey.
        kind: `ROC` or `precision/recall`.
    """
    roc = kind == "ROC"
    with _figure() as figure:
        axes = figure.add_subplot()
        for one in (one for i, one in enumerate(curves) if i not in shown):
            x, y = (one.false_alarms, one.caught) if roc else (one.recall, one.precision)
            axes.plot(x, y, color=OTHER, linewidth=0.8, alpha=0.6)
        for i, series, dashes in zip(shown, SERIES, DASHES, strict=False):
            one = curves[i]
            x, y = (one.false_alarms, one.caught) if roc else (one.recall, one.precision)
            lengths = tuple(float(part) for part in dashes.split())
            axes.plot(
                x,
                y,
                color=_STAND_IN[series],
                linewidth=1.8,
                linestyle=(0, tuple(v / 1.8 for v in lengths)) if lengths else "-",
            )
        if roc:
            _unit_square(axes, "other labels taken for it", "images of the label found (recall)")
        else:
            _unit_square(axes, "recall", "precision")
        areas = [one.auroc if roc else one.average_precision for one in curves]
        what = "area" if roc else "average precision"
        return _svg(
            figure,
            name,
            f"{kind} curves of {len(curves)} labels, each against all others: {what} "
            f"{min(areas):.3f} to {max(areas):.3f}",
        )


def histogram_plot(
    name: str,
    scores: Floats,
    groups: tuple[tuple[str, Bools], tuple[str, Bools]],
    limits: Sequence[tuple[Verdict, float]],
    x_label: str,
) -> str:
    """How the scores of two groups are spread, one above the other, limits through both.

    Args:
        name: for the ids inside the page.
        scores: n, 0 to 1.
        groups: what they are called and who is in them; the first is the one wanted.
        limits: to draw.
        x_label: what the score is called.
    """
    with _figure((4.6, 3.6)) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True)
        edges = np.linspace(0.0, 1.0, BINS + 1)
        looks = ({"color": OK}, {"facecolor": "none", "edgecolor": NG, "hatch": "//////"})
        for axes, (what, who), look in zip((upper, lower), groups, looks, strict=True):
            counts, _ = np.histogram(scores[who], edges)
            axes.bar(edges[:-1], counts, np.diff(edges) * 0.9, align="edge", **look)
            axes.set(xlim=(-0.01, 1.01), ylabel=f"{what}\nimages")
            axes.locator_params(axis="y", integer=True, nbins=4)
            axes.margins(y=0.08)
            axes.grid(visible=False, axis="x")
            for limit_name, limit in limits:
                axes.axvline(limit, color=_LIMIT_COLOURS[limit_name], linewidth=1.6)
        upper.tick_params(axis="x", length=0)
        lower.set_xlabel(x_label)
        for limit_name, limit in limits:
            left = limit_name == "review" and limit > 0.15
            upper.annotate(
                f"{limit_name} {limit:.2f}",
                (limit, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(-3 if left else 3, 3 if limit < 0.9 else 13),
                textcoords="offset points",
                ha="right" if left or limit > 0.85 else "left",
                color=_LIMIT_COLOURS[limit_name],
                fontweight="bold",
            )
        drawn = ", ".join(f"{limit_name} limit at {limit:.2f}" for limit_name, limit in limits)
        medians = ", ".join(
            f"{who.sum()} images of {what}" + (f", median {np.median(scores[who]):.2f}" * any(who))
            for what, who in groups
        )
        return _svg(figure, name, f"Histogram of the {x_label}: {medians}; {drawn or 'no limits'}")


def coverage_plot(
    name: str, answered: Floats, right: Floats, marks: Sequence[tuple[Verdict, float, float, float]]
) -> str:
    """How right the model is if it answers only where it is sure.

    Args:
        name: for the ids inside the page.
        answered: shares of the images, rising.
        right: share of right answers among them.
        marks: a limit's name, its value, and the shares answered and right below it.
    """
    with _figure() as figure:
        axes = figure.add_subplot()
        axes.plot(answered, right, color=ACCENT, linewidth=2.0)
        for limit_name, limit, x, y in marks:
            colour = _LIMIT_COLOURS[limit_name]
            marker = _LIMIT_MARKERS[limit_name]
            axes.plot([x], [y], marker, color=colour, markersize=7, clip_on=False, zorder=5)
            axes.annotate(
                f"{limit_name} {limit:.2f}",
                (x, y),
                xytext=(0, 9),
                textcoords="offset points",
                ha="center",
                color=colour,
                fontweight="bold",
            )
        lowest = min(0.9, float(right.min()))
        axes.set(
            xlim=(-0.02, 1.02),
            ylim=(lowest - 0.02, 1.02),
            xlabel="share of images answered, the surest first",
            ylabel="share of right answers",
        )
        said = [
            f"at the {limit_name} limit {limit:.2f} {x:.1%} are answered and {y:.1%} of them right"
            for limit_name, limit, x, y in marks
        ]
        return _svg(
            figure,
            name,
            "Right answers by share answered: " + "; ".join([f"{right[-1]:.1%} of all", *said]),
        )


def history_plot(name: str, train: Sequence[float], val: Sequence[float]) -> str:
    """One figure over the epochs: training images dashed, validation images solid.

    Args:
        name: for the ids inside the page.
        train: one value for each epoch; may be empty.
        val: the same for the validation images; may be empty.
    """
    with _figure((4.6, 2.6)) as figure:
        axes = figure.add_subplot()
        looks: tuple[dict[str, Any], ...] = (
            {"color": OTHER, "linewidth": 1.6, "linestyle": (0, (5, 2))},
            {"color": ACCENT, "linewidth": 2.0},
        )
        for values, look in zip((train, val), looks, strict=True):
            marker = "o" if len(values) == 1 else ""
            axes.plot(range(1, len(values) + 1), values, marker=marker, **look)
        axes.set_xlabel("epoch")
        axes.locator_params(axis="x", integer=True)
        said = [
            f"{what} from {values[0]:.3g} to {values[-1]:.3g}"
            for what, values in (("training", train), ("validation", val))
            if len(values)
        ]
        epochs = max(len(train), len(val))
        return _svg(figure, name, f"Over {epochs} epochs: {', '.join(said)}")
