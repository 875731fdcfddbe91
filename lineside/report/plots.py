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
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from lineside.extras import require
from lineside.messages import Verdict
from lineside.report.analysis import Curve, Floats

# matplotlib knows no style variables: each name of the page's style travels as a colour of its
# own, and the SVG gets the name back.
_STYLE_NAMES: Final = (
    *("ink", "muted", "line", "ok", "ng", "review", "accent", "other"),
    *("c0", "c1", "c2", "c3", "c4", "c5"),
)
_STAND_IN: Final = {name: f"#0102{number:02x}" for number, name in enumerate(_STYLE_NAMES)}


@dataclass(frozen=True)
class Look:
    """How a line is drawn, in a plot and in its legend.

    Attributes:
        colour: a colour name of the page's style.
        dashes: stroke pattern in SVG's way, so that nobody needs to tell colours apart; empty for
            a solid line.
        width: in points.
    """

    colour: str
    dashes: str = ""
    width: float = 2.0


@dataclass(frozen=True)
class Mark:
    """Where on a curve a limit lies.

    Attributes:
        name: `review` or `ng`.
        limit: its value.
        x: 0 to 1.
        y: 0 to 1.
    """

    name: Verdict
    limit: float
    x: float
    y: float


@dataclass(frozen=True)
class Bar:
    """A bin of a reliability diagram.

    Attributes:
        ends: its lower and upper end.
        images: how many it holds.
        point: x and y, 0 to 1: what was predicted and what was observed.
        interval: how far up and down y may be off.
        is_rough: whether there are too few images to say much.
    """

    ends: tuple[float, float]
    images: int
    point: tuple[float, float]
    interval: tuple[float, float]
    is_rough: bool


JUDGED: Final = Look("accent")
ORIGINAL: Final = Look("other", "5 2", 1.5)
OTHERS: Final = Look("other", "", 0.8)
SERIES: Final = tuple(
    Look(f"c{i}", dashes, 1.8)
    for i, dashes in enumerate(("", "5 2", "1.5 1.5", "7 2 1.5 2", "3 3", "8 3"))
)
"""For curves of several labels; there are no more than can be told apart."""

_LIMIT_MARKERS: Final[dict[Verdict, str]] = {"review": "D", "ng": "s"}
_SIZE: Final = (4.6, 3.3)  # inches; at 72 points an inch about the width of a phone


@contextmanager
def figure_of_report(size: tuple[float, float] = _SIZE) -> Iterator[Any]:
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
                "text.color": _STAND_IN["ink"],
                "axes.labelcolor": _STAND_IN["ink"],
                "axes.edgecolor": _STAND_IN["muted"],
                "axes.linewidth": 0.8,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.grid": True,
                "axes.axisbelow": True,
                "grid.color": _STAND_IN["line"],
                "grid.linewidth": 0.7,
                "xtick.color": _STAND_IN["muted"],
                "ytick.color": _STAND_IN["muted"],
                "xtick.labelcolor": _STAND_IN["ink"],
                "ytick.labelcolor": _STAND_IN["ink"],
                "lines.solid_capstyle": "round",
                "hatch.linewidth": 0.8,
            }
        )
        figure = figures.Figure(figsize=size, layout="constrained")
        agg.FigureCanvasAgg(figure)
        yield figure


def colour_of(name: str) -> str:
    """What stands for a colour of the page's style in a plot."""
    return _STAND_IN[name]


def svg_of(figure: Any, name: str, alt: str) -> str:  # noqa: ANN401 - a matplotlib Figure
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


def draw(axes: Any, x: Floats, y: Floats, look: Look, **how: str) -> None:  # noqa: ANN401
    """Draw a line in matplotlib `axes`."""
    # matplotlib counts dashes in line widths, SVG in units of the picture.
    lengths = tuple(float(part) / look.width for part in look.dashes.split())
    style = (0, lengths) if lengths else "-"
    colour = _STAND_IN[look.colour]
    axes.plot(x, y, color=colour, linewidth=look.width, linestyle=style, **how)


def _mark_limits(axes: Any, marks: Sequence[Mark], *, side: str) -> None:  # noqa: ANN401
    """Mark limits on a curve with their names, on the side where the curve is not.

    Args:
        axes: matplotlib axes, 0 to 1 in both directions.
        marks: the limits.
        side: `below left`, `below right` or `above right`.
    """
    last: Mark | None = None
    for mark in marks:
        colour, marker = _STAND_IN[mark.name], _LIMIT_MARKERS[mark.name]
        axes.plot([mark.x], [mark.y], marker, color=colour, markersize=7, clip_on=False, zorder=5)
        is_left = mark.x > (0.25 if side == "below left" else 0.75)
        # A name that would lie on the one before it goes a line further.
        near = last and abs(mark.x - last.x) < 0.25 and abs(mark.y - last.y) < 0.06
        distance = 25 if near else 13
        axes.annotate(
            f"{mark.name} {mark.limit:g}",
            (mark.x, mark.y),
            xytext=(-8 if is_left else 8, distance - 7 if side == "above right" else -distance),
            textcoords="offset points",
            ha="right" if is_left else "left",
            color=colour,
            fontweight="bold",
            zorder=6,
        )
        last = mark


def scale_by_square_root(axes: Any, highest: int, apart: float = 0.15) -> None:  # noqa: ANN401
    """Let the square root of counts go up in matplotlib `axes`, with round numbers beside it.

    Args:
        axes: of bars.
        highest: of them.
        apart: how far two numbers are apart at least, as a share of the axis.
    """
    ticks = [0]
    for tick in (step * 10**power for power in range(7) for step in (1, 2, 5)):
        if tick <= highest and np.sqrt(tick / highest) - np.sqrt(ticks[-1] / highest) > apart:
            ticks.append(tick)
    axes.set_yscale("function", functions=(_square_root, np.square))
    axes.set_ylim(0, highest * 1.1)
    axes.set_yticks(ticks)
    axes.grid(visible=False, axis="x")


def _square_root(values: Floats) -> Floats:
    # matplotlib asks for a little below 0 where there are no bars.
    return np.asarray(np.sqrt(np.maximum(values, 0.0)))


def _unit_square(axes: Any, words: tuple[str, str]) -> None:  # noqa: ANN401 - matplotlib Axes
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.03), xlabel=words[0], ylabel=words[1])


def roc_plot(
    name: str,
    alt: str,
    lines: Sequence[tuple[Curve, Look]],
    marks: Sequence[Mark],
    words: tuple[str, str],
) -> str:
    """ROC curves.

    Args:
        name: for the ids inside the page.
        alt: what the plot shows, in words.
        lines: the last one lies on top.
        marks: limits.
        words: what the x and the y axis say.
    """
    with figure_of_report() as figure:
        axes = figure.add_subplot()
        diagonal = np.array([0.0, 1.0])
        draw(axes, diagonal, diagonal, Look("line", "2 2", 1.2))
        for one, look in lines:
            draw(axes, one.false_alarms, one.caught, look)
        _mark_limits(axes, marks, side="below right")
        _unit_square(axes, words)
        return svg_of(figure, name, alt)


def precision_recall_plot(
    name: str,
    alt: str,
    lines: Sequence[tuple[Curve, Look]],
    marks: Sequence[Mark],
    words: tuple[str, str],
) -> str:
    """Precision/recall curves; arguments as for `roc_plot`."""
    with figure_of_report() as figure:
        axes = figure.add_subplot()
        for one, look in lines:
            draw(axes, one.recall, one.precision, look, drawstyle="steps-post")
        _mark_limits(axes, marks, side="below left")
        _unit_square(axes, words)
        return svg_of(figure, name, alt)


def coverage_plot(
    name: str, alt: str, answered: Floats, right: Floats, marks: Sequence[Mark]
) -> str:
    """How right the model is if it answers only where it is sure.

    Args:
        name: for the ids inside the page.
        alt: what the plot shows, in words.
        answered: shares of the images, rising.
        right: share of right answers among them.
        marks: limits.
    """
    with figure_of_report() as figure:
        axes = figure.add_subplot()
        draw(axes, answered, right, JUDGED)
        _mark_limits(axes, marks, side="above right")
        _unit_square(
            axes, ("share of images answered, the surest first", "right answers among them")
        )
        return svg_of(figure, name, alt)


def reliability_plot(name: str, alt: str, bars: Sequence[Bar], words: tuple[str, str]) -> str:
    """What is observed over what is predicted, and below it how many images each point rests on.

    Args:
        name: for the ids inside the page.
        alt: what the plot shows, in words.
        bars: the bins that hold an image.
        words: what the x and the upper y axis say.
    """
    with figure_of_report((4.6, 4.4)) as figure:
        # Constrained layout leaves the upper axes next to nothing here, for some bins.
        figure.set_layout_engine("none")
        place = {"left": 0.15, "right": 0.98, "top": 0.98, "bottom": 0.12, "hspace": 0.12}
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1), gridspec_kw=place)
        diagonal = np.array([0.0, 1.0])
        draw(upper, diagonal, diagonal, Look("other", "2 2", 1.2))
        colour = _STAND_IN["accent"]
        x, y = np.array([bar.point for bar in bars]).T
        upper.vlines(x, *np.array([bar.interval for bar in bars]).T, color=colour, linewidth=1.2)
        rough = np.array([bar.is_rough for bar in bars])
        for which, inside in ((~rough, colour), (rough, "none")):
            upper.plot(x[which], y[which], "o", c=colour, mfc=inside, clip_on=False)
        left, right = np.array([bar.ends for bar in bars]).T
        images = [bar.images for bar in bars]
        lower.bar(left, images, (right - left) * 0.9, align="edge", color=colour)
        _unit_square(upper, ("", words[1]))
        lower.set(xlabel=words[0], ylabel="images")
        # Most images lie at the ends: a linear axis would hide that those between are few.
        scale_by_square_root(lower, max(images), apart=0.25)
        return svg_of(figure, name, alt)


def history_plot(name: str, alt: str, lines: Sequence[tuple[Sequence[float], Look]]) -> str:
    """One figure over the epochs.

    Args:
        name: for the ids inside the page.
        alt: what the plot shows, in words.
        lines: one value for each epoch.
    """
    with figure_of_report((4.6, 2.6)) as figure:
        axes = figure.add_subplot()
        for values, look in lines:
            epochs = np.arange(1.0, len(values) + 1)
            draw(axes, epochs, np.asarray(values), look, marker="o" if len(values) == 1 else "")
        axes.set_xlabel("epoch")
        axes.locator_params(axis="x", integer=True)
        return svg_of(figure, name, alt)
