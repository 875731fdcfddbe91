"""The plot of a search: how good and how fast each trial is, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lineside.report.plots import Look, colour_of, draw, figure_of_report, svg_of
from lineside.search import Trial


def search_plot(name: str, alt: str, trials: Sequence[Trial], chosen: int) -> str:
    """Log loss over latency; the front as a staircase, its trials with their numbers.

    Args:
        name: for the ids inside the page.
        alt: what the plot shows, in words.
        trials: those that have both figures, at least one.
        chosen: the number of the one that was taken.
    """
    with figure_of_report() as figure:
        axes = figure.add_subplot()
        named = [one for one in trials if one.front or one.number in {1, chosen}]
        front = sorted((one for one in trials if one.front), key=_place)
        x, y = np.array([_place(one) for one in trials]).T
        axes.set_xscale("log")
        axes.margins(x=0.12, y=0.12)
        axes.plot(x, y, "o", color=colour_of("other"), markersize=4.5)
        if front:
            stairs = np.array([_place(one) for one in front]).T
            draw(axes, stairs[0], stairs[1], Look("accent", "", 1.6), drawstyle="steps-post")
            axes.plot(*stairs, "o", color=colour_of("accent"), markersize=6)
        axes.plot(
            *next(_place(one) for one in trials if one.number == chosen),
            "o",
            markersize=13,
            mfc="none",
            mec=colour_of("ok"),
            mew=2.2,
        )
        for one in named:
            axes.annotate(
                str(one.number),
                _place(one),
                xytext=(9 if one.number == chosen else 5, 4),
                textcoords="offset points",
                color=colour_of("ok" if one.number == chosen else "ink"),
                fontweight="bold" if one.number == chosen else "normal",
            )
        ticks = _ticks(float(x.min()), float(x.max()))
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set(xlabel="milliseconds for one inference", ylabel="log loss on val")
        return svg_of(figure, name, alt)


def _place(trial: Trial) -> tuple[float, float]:
    return trial.latency_ms or 0.0, trial.loss or 0.0


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten, from the one below `low` to the one above `high`."""
    every = [
        step * 10.0**power
        for power in range(int(np.floor(np.log10(low))) - 1, int(np.ceil(np.log10(high))) + 2)
        for step in (1, 2, 5)
    ]
    first = max(i for i, tick in enumerate(every) if tick <= low)
    last = min(i for i, tick in enumerate(every) if tick >= high)
    return every[first : last + 1]
