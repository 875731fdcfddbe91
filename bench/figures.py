"""From samples to the figures of a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def p99(samples: Sequence[float]) -> float:
    """The 99th percentile, linearly interpolated."""
    return statistics.quantiles(samples, n=100, method="inclusive")[98]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median of repeats, with the lowest and the highest: `1.04 (0.98 to 1.20)`."""
    low, middle, high = (
        f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values))
    )
    return f"{middle} ({low} to {high})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: text on the left, figures on the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
