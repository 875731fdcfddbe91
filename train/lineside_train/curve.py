"""The learning curve: would more photos help?

The same training with a quarter, two times, and with a half, two times, of the photos to learn
from, all of them nested and stratified; each is asked about the same photos of `val`, never of
`test`.
Through the errors e (1 less the balanced accuracy) over the numbers n of photos goes a power law,

    e(n) = a n^-b,  0 <= b <= 1

(Hestness et al., Deep Learning Scaling is Predictable, Empirically, 2017), by least squares in the
logarithms, and twice the photos are expected to gain e(N) - e(2 N).

How sure that is, comes from doing it again DRAWS times: the photos of `val` get random weights, the
same ones for every training (Rubin, The Bayesian Bootstrap, 1981), and of the two trainings with as
many photos two are drawn. Each label has half a photo more that is right and half a one that is
wrong: where nothing is wrong, the chance of it is not 0.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Final

import click
import numpy as np
import numpy.typing as npt

from lineside.dataset import Photo, share_photos
from lineside.run import CurveMetrics, SplitRow
from lineside_train.fitting.examples import Examples, predict
from lineside_train.fitting.fit import Control, train_network
from lineside_train.folds import chosen
from lineside_train.options import TrainOptions

PARTS: Final = 4
"""Parts that the photos to learn from are divided into."""

SUBSETS: Final = ((0,), (1,), (0, 1), (2, 3))
"""Of these parts, what each training gets."""

DRAWS: Final = 2000

STEEPEST: Final = 1.0
"""The largest exponent: errors that fall faster than 1 / n are noise."""

AHEAD: Final = 4.0
"""How far the curve is drawn, in photos there are now."""

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def plan_curve(
    rows: Sequence[SplitRow], seed: int, groups: Mapping[str, str]
) -> tuple[Indices, ...]:
    """The photos of each training but the last, which is the run's own.

    Args:
        rows: the photos to learn from.
        seed: of the dealing.
        groups: file -> group.

    Returns:
        For each of SUBSETS indices into `rows`, rising.

    Raises:
        DatasetError: a label has fewer than four different images or groups to learn from.
    """
    photos = [Photo(row.file, row.sha256) for row in rows]
    part_of = share_photos(photos, [1 / PARTS] * PARTS, seed, groups)
    parts = np.array([part_of[photo.file] for photo in photos])
    return tuple(np.flatnonzero(np.isin(parts, subset)) for subset in SUBSETS)


def learn_curve(
    plan: Sequence[Indices],
    train: Examples,
    val: Examples,
    last: npt.NDArray[np.floating],
    options: TrainOptions,
    stop: threading.Event,
) -> CurveMetrics | None:
    """Train with some of the photos, and see where it leads.

    Args:
        plan: as `plan_curve` gives it.
        train: what the run has learned from.
        val: what every training is asked about.
        last: n x labels, what the run's own model says of `val`.
        options: how to train; those of the run.
        stop: once set, the curve is given up.

    Returns:
        None where it was given up.

    Raises:
        TrainError: a training failed.
    """
    right = []
    for number, rows in enumerate(plan, start=1):
        if stop.is_set():
            return None
        click.echo(f"learning curve: {len(rows)} photos, {number} of {len(plan)}", err=True)
        labels = last.shape[1]
        trained = train_network(chosen(train, rows), val, labels, options, Control(stop=stop))
        right.append(predict(trained.network, val.tensors).argmax(axis=1) == val.truth)
    if stop.is_set():
        return None
    photos = [*map(len, plan), len(train.truth)]
    return fit_curve(photos, np.array([*right, last.argmax(axis=1) == val.truth]), val.truth)


def fit_curve(
    photos: Sequence[int], right: npt.NDArray[np.bool_], truth: Indices, seed: int = 0
) -> CurveMetrics:
    """The power law, and how sure it is.

    Args:
        photos: m, how many each training had; the last one has the most.
        right: m x n, which images of `val` each of them answers rightly.
        truth: n, their labels; every label has one.
        seed: of the draws.
    """
    sizes = np.array(photos, np.float64)
    grid = np.geomspace(sizes.min(), AHEAD * sizes[-1], 25)
    random = np.random.default_rng(seed)
    chosen_ones = _of_each_size(sizes, random)
    errors = np.take_along_axis(_errors(right, truth, random), chosen_ones, axis=1)
    a, b = power_law(sizes[chosen_ones], errors)
    drawn = 1 - a[:, np.newaxis] * grid ** -b[:, np.newaxis]
    gains = a * sizes[-1] ** -b * (1 - 2.0**-b)
    middle, low, high = np.quantile(drawn, [0.5, 0.025, 0.975], axis=0)
    counts = np.bincount(truth)
    recalls = np.stack([np.bincount(truth, row) / np.maximum(counts, 1) for row in right])
    return CurveMetrics(
        photos=list(photos),
        balanced_accuracies=recalls[:, counts > 0].mean(axis=1).tolist(),
        fitted=np.stack([grid, middle, low, high], axis=1).round(5).tolist(),
        gain=float(np.median(gains)),
        gain_interval=[float(end) for end in np.quantile(gains, [0.025, 0.975])],
    )


def power_law(sizes: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """The a and b of e(n) = a n^-b, by least squares in the logarithms, 0 <= b <= STEEPEST.

    Args:
        sizes: ... x m, not all the same.
        errors: ... x m, above 0.
    """
    x, y = np.log(sizes), np.log(errors)
    off = x - x.mean(axis=-1, keepdims=True)
    slope = -np.sum(off * y, axis=-1) / np.sum(off**2, axis=-1)
    b = np.clip(slope, 0.0, STEEPEST)
    return np.exp(y.mean(axis=-1) + b * x.mean(axis=-1)), b


def _errors(right: npt.NDArray[np.bool_], truth: Indices, random: np.random.Generator) -> Floats:
    """1 less the balanced accuracy of each training, DRAWS x m."""
    labels = np.unique(truth)
    found = np.zeros((DRAWS, len(right)))
    for label in labels:
        wrong = ~right[:, truth == label]
        weights = random.exponential(size=(DRAWS, wrong.shape[1]))
        # What nobody has seen is not the same for every training.
        unseen = random.gamma(0.5, size=(2, DRAWS, len(right)))
        whole = weights.sum(axis=1)[:, np.newaxis] + unseen.sum(axis=0)
        found += (weights @ wrong.T + unseen[0]) / whole
    return np.clip(found / len(labels), 1e-9, 1.0)


def _of_each_size(sizes: Floats, random: np.random.Generator) -> Indices:
    """For each draw as many trainings as there are of each size, with replacement: DRAWS x m."""
    halvings = np.round(np.log2(sizes / sizes.max()))
    groups = [np.flatnonzero(halvings == size) for size in np.unique(halvings)]
    return np.concatenate([random.choice(one, (DRAWS, len(one))) for one in groups], axis=1)
