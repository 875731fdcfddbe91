"""Confidence intervals of the figures of a model: how far they may be off by chance alone.

Each is meant to hold the true figure in 95 of 100 cases, of images drawn as these were: as many of
each label, each image independent of the others. Frames of one part are not independent, and make
an interval too narrow.

    a share              Wilson's score interval (1927); 0 of n does not become 0 to 0
    balanced accuracy    the mean of independent shares: each one's Wilson interval, put together by
                         the distances of their ends (MOVER: Zou and Donner, Statistics in Medicine
                         27, 2008)
    AUROC, macro AUROC   DeLong's variance (Biometrics 44, 1988) on the scale of the log odds, which
                         keeps the ends between 0 and 1; of several labels that of the mean, in
                         which each image counts once for each label. Where no two images are in
                         the wrong order it is 0: then the lower end is that of Newcombe's method 5
                         (Statistics in Medicine 25, 2006), of the labels the mean

Bootstrapping would do for all of them alike, and is not what is done: near 1, where models for
inspection should be, resampling images that are all answered rightly gives nothing but right
answers. Measured (bench/intervals.py, docs/training.md): percentile and BCa intervals hold the true
AUROC in 40 to 90 of 100 cases there, those above in 93 to 99.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside.extras import require

Interval = tuple[float, float]
"""Lower and upper end, 0 to 1."""

CONFIDENCE: Final = 0.95
Z: Final = 1.959964
"""How many standard deviations hold 95 % of a normal distribution, either way."""

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.integer]


def share_interval(count: int, of: int) -> Interval:
    """The interval of a share.

    Args:
        count: how many did.
        of: out of how many, at least 1.
    """
    low, high = _wilson(np.array([count]), np.array([of]))
    return float(low[0]), float(high[0])


def mean_share_interval(counts: Counts, of: Counts) -> Interval:
    """The interval of the mean of independent shares.

    Args:
        counts: k, how many did.
        of: k, out of how many, at least 1 each; k is at least 1.
    """
    shares = counts / of
    low, high = _wilson(counts, of)
    mean = float(shares.mean())
    below, above = (
        float(np.sqrt(np.sum((end - shares) ** 2))) / len(shares) for end in (low, high)
    )
    return max(0.0, mean - below), min(1.0, mean + above)


def area_interval(truth: npt.NDArray[np.integer], scores: Floats) -> Interval | None:
    """The interval of the mean, over the labels that have images, of the AUROC against all others.

    Args:
        truth: n indices of labels.
        scores: n x labels; higher means rather that label.

    Returns:
        None unless two labels have images.
    """
    labels, which, images = np.unique(truth, return_inverse=True, return_counts=True)
    if len(labels) < 2:
        return None
    areas, influence = [], np.zeros(len(truth))
    for label, count in zip(labels, images, strict=True):
        own = truth == label
        placement = _placements(own, scores[:, label])
        areas.append(float(placement[own].mean()))
        # The other labels together are one group there, each with the weight of its images.
        weight = np.where(own, 1.0, images[which] / (len(truth) - count))
        influence += weight * placement / len(labels)
    area = float(np.mean(areas))
    if min(areas) == 1.0:
        ends = [_lowest_area(int(count), len(truth) - int(count)) for count in images]
        return float(np.mean(ends)), 1.0
    # One image says nothing of the spread within its label: then it is taken as wide as can be.
    variance = sum(
        influence[truth == label].var(ddof=1) / count if count > 1 else area * (1 - area)
        for label, count in zip(labels, images, strict=True)
    )
    inside = float(np.clip(area, 1e-6, 1 - 1e-6))
    odds, error = np.log(inside / (1 - inside)), np.sqrt(variance) / (inside * (1 - inside))
    low, high = (float(1 / (1 + np.exp(-(odds + sign * Z * error)))) for sign in (-1, 1))
    return low, high


def _wilson(counts: Counts, of: Counts) -> tuple[Floats, Floats]:
    share, extra = counts / of, Z * Z / of
    centre = (share + extra / 2) / (1 + extra)
    half = np.sqrt(extra * (share * (1 - share) + extra / 4)) / (1 + extra)
    # Rounding must not put an end beyond the share itself.
    return np.minimum(centre - half, share).clip(0), np.maximum(centre + half, share).clip(None, 1)


def _placements(positive: npt.NDArray[np.bool_], scores: Floats) -> Floats:
    """For each positive image the share of negative ones below it, and the other way round.

    Ties count half. The mean of either is the AUROC.
    """
    stats: Any = require("scipy.stats", extra="report")
    found: Floats = stats.rankdata(scores)
    for side in (positive, ~positive):
        found[side] -= stats.rankdata(scores[side])
    found[positive] /= np.sum(~positive)
    found[~positive] = 1.0 - found[~positive] / np.sum(positive)
    return found


def _lowest_area(positive: int, negative: int) -> float:
    """The lower end where all positive images score higher than all negative ones."""
    optimize: Any = require("scipy.optimize", extra="report")
    mean = (positive + negative) / 2 - 1

    def off(area: float) -> float:
        spread = 1 + mean * (1 - area) / (2 - area) + mean * area / (1 + area)
        # (1 - area)^2 = Z^2 area (1 - area) spread / (n m), divided by 1 - area
        return 1 - area - Z * Z * area * spread / (positive * negative)

    return float(optimize.brentq(off, 0.0, 1.0))


def said(interval: Sequence[float] | None, form: str) -> str:
    """` (0.645 to 0.856)`, or nothing where there is none.

    Args:
        interval: its two ends.
        form: how to write each of them, as `str.format` takes it.
    """
    return "" if interval is None else f" ({' to '.join(form.format(end) for end in interval)})"
