"""How good a trial is on val, the Pareto front, and which of it is chosen.

    loss of an image   -log of the probability of its label, after temperature scaling
    loss of a trial    its mean; where the training balances, the mean over the labels of their
                       means
    front              trials than which no other is at most as slow and at most as bad, and
                       better in one of both
    near the best      d, the difference of the losses of two trials, is at most its standard
                       error: of n images with weights v, sum 1, and differences d_i, that is
                       sqrt(n / (n - 1) * sum v_i^2 (d_i - d)^2)

The log loss, and not the balanced accuracy: an image of val tells it how right the model was, not
just whether, so that much fewer images tell two trials apart. The temperature is fitted first,
since training with mixed images or smoothed labels makes timid probabilities, which the limits
don't mind. The standard error is that of the difference on the same images, which is several times
smaller than that of either loss: hard images are hard for both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineside.decision import softmax
from lineside.limits import fit_temperature

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Entry:
    """A trial that gave a network.

    Attributes:
        number: of the trial.
        losses: float, n, of each image of val.
        latency_ms: of one inference.
    """

    number: int
    losses: Floats
    latency_ms: float


@dataclass(frozen=True)
class Choice:
    """What was chosen, and among what.

    Attributes:
        chosen: the number of the trial.
        best: of the one with the lowest loss among those fast enough.
        near: of all that are near the best, itself included.
        front: of the Pareto front, the fastest first.
    """

    chosen: int
    best: int
    near: frozenset[int]
    front: tuple[int, ...]


def image_losses(truth: npt.NDArray[np.integer], logits: npt.NDArray[np.floating]) -> Floats:
    """The log loss of each image, after temperature scaling.

    Args:
        truth: n indices of the true label.
        logits: n x labels, finite.
    """
    probabilities = softmax(logits, fit_temperature(truth, logits))
    own = probabilities[np.arange(len(truth)), truth]
    return np.asarray(-np.log(np.maximum(own, np.finfo(np.float32).tiny)), np.float64)


def image_weights(truth: npt.NDArray[np.integer], labels: int, *, balance: bool) -> Floats:
    """What each image weighs in the mean; their sum is 1.

    Args:
        truth: n indices of the true label.
        labels: how many there are.
        balance: whether each label that has images weighs the same, instead of each image.
    """
    counts = np.bincount(truth, minlength=labels)
    weights = 1 / counts[truth] if balance else np.ones(len(truth))
    return np.asarray(weights / weights.sum())


def pareto(entries: Sequence[Entry], weights: Floats) -> tuple[Entry, ...]:
    """The Pareto front, the fastest first; of equal ones the first.

    Args:
        entries: what there is.
        weights: of the images.
    """
    front: list[Entry] = []
    for entry in sorted(entries, key=lambda one: (one.latency_ms, _mean(one, weights))):
        if not front or _mean(entry, weights) < _mean(front[-1], weights):
            front.append(entry)
    return tuple(front)


def choose(
    entries: Sequence[Entry], weights: Floats, *, limit: float | None, start: int
) -> Choice | None:
    """Choose: of those near the best the fastest, but none that is worse than the first trial.

    The first trial is what the training would have done without a search: where it is fast enough
    itself, the choice is at least as good on val.

    Args:
        entries: what there is.
        weights: of the images, as `image_weights` gives them.
        limit: what no choice may be slower than, in ms; None: none.
        start: the number of the first trial.

    Returns:
        None where nothing may be chosen.
    """
    fast = [one for one in entries if limit is None or one.latency_ms <= limit]
    if not fast:
        return None
    front = pareto(fast, weights)
    best = min(front, key=lambda one: _mean(one, weights))
    near = frozenset(one.number for one in fast if _is_near(one, best, weights))
    least = next((_mean(one, weights) for one in fast if one.number == start), math.inf)
    chosen = next(one for one in front if one.number in near and _mean(one, weights) <= least)
    return Choice(chosen.number, best.number, near, tuple(one.number for one in front))


def _mean(entry: Entry, weights: Floats) -> float:
    return float(entry.losses @ weights)


def _is_near(entry: Entry, best: Entry, weights: Floats) -> bool:
    differences = entry.losses - best.losses
    mean = float(differences @ weights)
    spread = float(np.sum((weights * (differences - mean)) ** 2))
    return mean <= math.sqrt(len(weights) / max(1, len(weights) - 1) * spread)
