"""What a figure usually is on one camera: quantiles that forget slowly."""

from __future__ import annotations

from typing import Final

import numpy as np

BINS: Final = 128
REFRESH: Final = 20
HALF_LIFE: Final = 50_000
"""Looks after which what was seen counts half: some three hours at five looks a second."""


class Usual:
    """A histogram that forgets. A quantile of it can't be moved far by a few odd looks.

    Args:
        top: the largest figure that is told apart, the least is 0.
        counts: of an earlier one, to go on with.

    Attributes:
        looks: how many have been taken in, weighted by their age.
    """

    def __init__(self, top: float, counts: list[float] | None = None) -> None:
        self._top = top
        self._counts = np.zeros(BINS) if counts is None else np.asarray(counts, np.float64)
        if self._counts.shape != (BINS,) or not np.all(self._counts >= 0):
            msg = f"expected {BINS} counts of 0 or more"
            raise ValueError(msg)
        self.looks = float(self._counts.sum())
        self._quantiles: dict[float, float] = {}
        self._added = 0

    def add(self, value: float) -> None:
        """Take in one look."""
        keep = 0.5 ** (1 / HALF_LIFE)
        self._counts *= keep
        self._counts[min(BINS - 1, max(0, int(value / self._top * BINS)))] += 1
        self.looks = self.looks * keep + 1
        self._added += 1
        if self._added % REFRESH == 0:
            self._quantiles.clear()

    def quantile(self, share: float) -> float:
        """The middle of the bin below which `share` of the looks lie; 0 if there were none.

        It is at most REFRESH looks old.
        """
        if share not in self._quantiles:
            self._quantiles[share] = self._find(share)
        return self._quantiles[share]

    def _find(self, share: float) -> float:
        at = int(np.searchsorted(np.cumsum(self._counts), share * self.looks))
        return (min(at, BINS - 1) + 0.5) * self._top / BINS if self.looks else 0.0

    def low(self) -> float:
        """What it usually is at least: the 5 % quantile, but no less than 3/4 of the median.

        So that what goes unseen for a while does not become usual.
        """
        return max(self.quantile(0.05), 0.75 * self.quantile(0.5))

    @property
    def counts(self) -> list[float]:
        """For saving."""
        return [round(float(count), 4) for count in self._counts]
