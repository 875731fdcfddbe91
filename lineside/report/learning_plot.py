"""The plot of a learning curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lineside.report.plots import JUDGED, colour_of, draw, figure_of_report, svg_of


def learning_plot(
    name: str,
    alt: str,
    points: Sequence[tuple[int, float]],
    fitted: Sequence[Sequence[float]],
    there: int,
) -> str:
    """Balanced accuracy over the number of photos.

    Args:
        name: for the ids inside the page.
        alt: what the plot shows, in words.
        points: photos and balanced accuracy of each training.
        fitted: photos, and what they are expected to give: middle, lower and upper end.
        there: how many photos there are.
    """
    with figure_of_report() as figure:
        axes = figure.add_subplot()
        photos, middle, low, high = np.array(fitted).T
        accent = colour_of("accent")
        axes.fill_between(photos, low, high, color=accent, alpha=0.15, linewidth=0)
        draw(axes, photos, middle, JUDGED)
        axes.axvline(there, color=colour_of("other"), linewidth=1.2, linestyle=(0, (2, 2)))
        x, y = np.array(points, np.float64).T
        axes.plot(x, y, "o", color=accent)
        axes.set_xscale("log", base=2)
        ticks = [there / 4, there / 2, there, 2 * there, 4 * there]
        axes.set_xticks(ticks, [f"{round(tick):,}" for tick in ticks])
        axes.minorticks_off()
        axes.set(xlabel="photos to learn from", ylabel="balanced accuracy on val")
        axes.set_ylim(max(0.0, min(low.min(), y.min()) - 0.03), 1.01)
        return svg_of(figure, name, alt)
