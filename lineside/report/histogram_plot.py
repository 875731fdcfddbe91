"""The plot of how scores are spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from lineside.messages import Verdict
from lineside.report.analysis import Floats
from lineside.report.plots import colour_of, figure_of_report, scale_by_square_root, svg_of

BINS: Final = 25
"""Bars."""


def histogram_plot(
    name: str,
    alt: str,
    groups: tuple[tuple[str, Floats], tuple[str, Floats]],
    limits: Sequence[tuple[Verdict, float]],
    x_label: str,
) -> str:
    """How the scores of two groups are spread, one above the other, limits through both.

    Args:
        name: for the ids inside the page.
        alt: what the plot shows, in words.
        groups: what they are called and their scores, 0 to 1; the first is the one wanted.
        limits: to draw.
        x_label: what the score is called.
    """
    with figure_of_report((4.6, 3.6)) as figure:
        both = figure.subplots(2, 1, sharex=True)
        edges = np.linspace(0.0, 1.0, BINS + 1)
        looks = (
            {"color": colour_of("ok")},
            {"facecolor": "none", "edgecolor": colour_of("ng"), "hatch": "//////"},
        )
        for axes, (what, scores), look in zip(both, groups, looks, strict=True):
            counts, _ = np.histogram(scores, edges)
            axes.bar(edges[:-1], counts, np.diff(edges) * 0.9, align="edge", **look)
            # Few escapes beside hundreds of clear cases: a linear axis would hide those that count.
            scale_by_square_root(axes, max(1, int(counts.max())))
            axes.set(xlim=(-0.01, 1.01), ylabel=what)
            for limit_name, limit in limits:
                axes.axvline(limit, color=colour_of(limit_name), linewidth=1.6)
        both[0].tick_params(axis="x", length=0)
        both[1].set_xlabel(x_label)
        _name_limits(both[0], limits)
        return svg_of(figure, name, alt)


def _name_limits(axes: Any, limits: Sequence[tuple[Verdict, float]]) -> None:  # noqa: ANN401
    """Write the names of limits above `axes`, where there is room on a side of the line.

    That of ng goes above that of review where one would run into the other.
    """
    found = {name: (limit, limit > (0.2 if name == "review" else 0.82)) for name, limit in limits}
    same_side = len({is_left for _, is_left in found.values()}) < len(found)
    crowded = same_side and np.ptp([limit for limit, _ in found.values()]) < 0.35
    for limit_name, (limit, is_left) in found.items():
        above = crowded and limit_name == "ng"
        axes.annotate(
            f"{limit_name} {limit:g}",
            (limit, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-3 if is_left else 3, 14 if above else 3),
            textcoords="offset points",
            ha="right" if is_left else "left",
            color=colour_of(limit_name),
            fontweight="bold",
        )
