"""How often confidence intervals hold the true figure: those of lineside, and bootstrapped ones.

    python bench/intervals.py

Scores of two normal distributions for the AUROC, binomial counts for the balanced accuracy, so that
the true figures are known. The bootstrap is stratified: each label is drawn from for itself.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.page import write_section
from lineside.intervals import Interval, area_interval, mean_share_interval

REPEATS: Final = 1000
RESAMPLES: Final = 1000
AREAS: Final = ((15, 15, 1.5), (30, 30, 1.5), (10, 60, 2.5), (15, 15, 3.5), (30, 30, 4.0))
"""Bad and good parts, and how many standard deviations their scores are apart."""
RECALLS: Final = (
    ((30, 30), (0.9, 0.8)),
    ((10, 60), (0.8, 0.95)),
    ((30, 30), (0.99, 0.99)),
    ((20,) * 6, (0.9, 0.8, 0.95, 0.99, 0.85, 0.7)),
)
"""Images of each label, and their true recalls."""

Floats = npt.NDArray[np.float64]


def percentile(drawn: Floats) -> Interval:
    """The percentile interval of what was drawn."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def bca(drawn: Floats, found: float, without: Floats) -> Interval:
    """Efron's bias-corrected and accelerated interval; `without` each image once."""
    below = (np.sum(drawn < found) + 0.5 * np.sum(drawn == found)) / len(drawn)
    shift = stats.norm.ppf(np.clip(below, 1e-3, 1 - 1e-3))
    off = without.mean() - without
    spread = np.sum(off**2) ** 1.5
    acceleration = np.sum(off**3) / (6 * spread) if spread > 0 else 0.0
    z = shift + stats.norm.ppf([0.025, 0.975])
    low, high = np.quantile(drawn, stats.norm.cdf(shift + z / (1 - acceleration * z)))
    return float(low), float(high)


def areas(random: np.random.Generator, bad: int, good: int, apart: float) -> list[Interval]:
    """One set of scores: percentile, BCa, and lineside's."""
    high, low = random.normal(apart, 1, bad), random.normal(0, 1, good)
    order = (high[:, np.newaxis] > low).astype(float)
    weights = [
        random.multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(float)
        for count in (bad, good)
    ]
    drawn = np.sum((weights[0] @ order) * weights[1], axis=1) / (bad * good)
    without = np.concatenate(
        [
            (order.sum() - order.sum(axis=1)) / ((bad - 1) * good),
            (order.sum() - order.sum(axis=0)) / (bad * (good - 1)),
        ]
    )
    score = np.concatenate([low, high])
    truth = np.repeat([0, 1], [good, bad])
    ours = area_interval(truth, np.stack([-score, score], axis=1))
    assert ours is not None  # noqa: S101 - both groups are there
    return [percentile(drawn), bca(drawn, float(order.mean()), without), ours]


def recalls(random: np.random.Generator, of: npt.NDArray[np.intp], true: Floats) -> list[Interval]:
    """One set of counts: percentile, and lineside's."""
    right = random.binomial(of, true)
    drawn = (random.binomial(of, right / of, (RESAMPLES, len(of))) / of).mean(axis=1)
    return [percentile(drawn), mean_share_interval(right, of)]


def row(name: str, true: float, sets: list[list[Interval]]) -> str:
    """How often each kind of interval holds the true figure, and how wide it is in the mean."""
    cells = []
    for kind in zip(*sets, strict=True):
        ends = np.array(kind)
        held = np.mean((ends[:, 0] <= true) & (true <= ends[:, 1]))
        cells.append(f"{100 * held:.1f} % ({np.mean(ends[:, 1] - ends[:, 0]):.3f})")
    cells += ["-"] if len(cells) == 2 else []
    order = cells if len(sets[0]) == 3 else [cells[0], cells[2], cells[1]]
    return f"| {name} | {true:.3f} | {' | '.join(order)} |"


def main() -> None:
    """Measure, and write the section."""
    random = np.random.default_rng(0)
    lines = [
        "How often an interval that should hold the true figure in 95 % of cases does, and its",
        f"mean width in brackets; {REPEATS} sets of images each.",
        "",
        "| figure | true | bootstrap, percentile | bootstrap, BCa | lineside |",
        "| --- | --- | --- | --- | --- |",
    ]
    for bad, good, apart in AREAS:
        sets = [areas(random, bad, good, apart) for _ in range(REPEATS)]
        true = float(stats.norm.cdf(apart / np.sqrt(2)))
        lines.append(row(f"AUROC, {bad} bad and {good} good parts", true, sets))
    for of, true_recalls in RECALLS:
        counts, shares = np.array(of), np.array(true_recalls)
        sets = [recalls(random, counts, shares) for _ in range(REPEATS)]
        name = f"balanced accuracy, {len(of)} labels of {' and '.join(map(str, sorted(set(of))))}"
        lines.append(row(name, float(shares.mean()), sets))
    text = "\n".join(lines)
    print(text)
    write_section("intervals", "Confidence intervals", "python bench/intervals.py", text)


if __name__ == "__main__":
    main()
