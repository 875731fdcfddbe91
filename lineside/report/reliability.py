"""How far a model's probabilities can be believed: what it predicts beside what happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lineside.decision import is_sorting
from lineside.intervals import share_interval
from lineside.report import plots
from lineside.report.analysis import Bools, Floats, Judged, bad_parts
from lineside.report.charts import Chart
from lineside.report.data import ReportData
from lineside.report.summary import counted, percent

BINS: Final = 10
"""Bins of equal width that the probabilities are sorted into."""

FEW: Final = 10
"""A bin with fewer images than this is drawn hollow: its share is rough."""


@dataclass(frozen=True)
class Bin:
    """The images with a probability in (low, high]; the first bin holds 0 too.

    Attributes:
        low: lower end.
        high: upper end.
        images: how many there are, at least 1.
        predicted: the mean of their probabilities.
        observed: the share of those where it happened.
        interval: the 95 % confidence interval of that share.
    """

    low: float
    high: float
    images: int
    predicted: float
    observed: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Reliability:
    """How well probabilities agree with what happens.

    Attributes:
        bins: those that hold an image, rising.
        error: the expected calibration error, 0 to 1, see `reliability`.
        by_chance: about what the error would be of probabilities that are exactly right, on as
            many images.
    """

    bins: tuple[Bin, ...]
    error: float
    by_chance: float

    @property
    def few(self) -> int:
        """How many of the bins hold fewer than `FEW` images."""
        return sum(one.images < FEW for one in self.bins)


def reliability(predicted: Floats, happened: Bools) -> Reliability:
    """Compare probabilities with what happened.

    The expected calibration error, after Guo et al., "On Calibration of Modern Neural Networks",
    ICML 2017, equation 3, of n images in bins B of equal width:

        ECE = sum over b of |B_b| / n * |observed(b) - predicted(b)|

    There, the probability is that of the most probable label and what happens is that it is the
    right one, as it is here when sorting. For inspection it is the defect score and whether the
    part is bad.

    Probabilities p that are exactly right have an error too, since a bin's count of what happens
    is random with the variance v(b) = sum of p (1 - p). By the normal approximation its mean is

        sqrt(2 / pi) / n * sum over b of sqrt(v(b))

    Args:
        predicted: n probabilities, at least one.
        happened: n, for each whether it did.
    """
    edges = np.linspace(0.0, 1.0, BINS + 1)
    # The bins of scikit-learn's `calibration_curve`, which does not tell how many each holds.
    numbers = np.searchsorted(edges[1:-1], predicted)
    bins, spread = [], 0.0
    for number in np.unique(numbers):
        inside = numbers == number
        p, observed = predicted[inside], happened[inside]
        bins.append(
            Bin(
                low=float(edges[number]),
                high=float(edges[number + 1]),
                images=len(p),
                predicted=float(p.mean()),
                observed=float(observed.mean()),
                interval=share_interval(int(observed.sum()), len(p)),
            )
        )
        spread += float(np.sqrt(np.sum(p * (1.0 - p))))
    weighted = (one.images * abs(one.observed - one.predicted) for one in bins)
    return Reliability(
        tuple(bins),
        sum(weighted) / len(predicted),
        float(np.sqrt(2.0 / np.pi)) * spread / len(predicted),
    )


def reliability_of(data: ReportData, judged: Judged) -> Reliability:
    """That of a model's probabilities, after temperature, on the test images (at least one)."""
    bad = bad_parts(data, judged)
    if is_sorting(data.labels):
        return reliability(1.0 - judged.scores, ~bad)
    return reliability(judged.scores, bad)


def reliability_chart(data: ReportData, name: str, found: Reliability, number: int) -> Chart:
    """The reliability diagram of a model.

    Args:
        data: says whether it is about sorting.
        name: the model's.
        found: what to draw.
        number: of the model in the report, for the ids inside the page.
    """
    words = (
        ("confidence (highest probability)", "right among them")
        if is_sorting(data.labels)
        else ("defect score", "bad among them")
    )
    said = [
        f"{counted(one.images, 'image')} from {one.low:.1f} to {one.high:.1f}: predicted "
        f"{one.predicted:.1%}, observed {one.observed:.1%}"
        for one in found.bins
    ]
    alt = f"Reliability of {name}: {'; '.join(said)}"
    text = f"Expected calibration error {percent(found.error)}."
    if found.few:
        hold = "holds" if found.few == 1 else "hold"
        text += (
            f" {found.few} of {counted(len(found.bins), 'bin')} {hold} fewer than {FEW} images "
            "(hollow): they say little."
        )
    return Chart(
        name, text, plots.reliability_plot(f"reliability{number}", alt, _bars(found), words)
    )


def _bars(found: Reliability) -> Sequence[plots.Bar]:
    return [
        plots.Bar(
            (one.low, one.high),
            one.images,
            (one.predicted, one.observed),
            one.interval,
            is_rough=one.images < FEW,
        )
        for one in found.bins
    ]
