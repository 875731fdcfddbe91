"""Which training images pulled an answer away from the truth. Pure: arrays in, numbers out.

The loss of a test image t, L_t, is followed back to each training image i by the influence function
of Koh and Liang, Understanding Black-box Predictions via Influence Functions, ICML 2017, of the
last layer alone, with everything before it held as it is. With features f, residuals of the
softmax r = p - y and the image's weight w, the gradient of the loss by the weights of that layer
is r (x) f, so that

    harm of i to t = -w_i (r_i . r_t) (f_i' C^-1 f_t + 1)

where C is the covariance of the training images' features (less their mean), with a hundredth of
its mean variance added to the diagonal, in place of the Hessian; the 1 is the bias. Above 0:
learning from i raised the loss of t. Without C^-1 it would be TracIn at the last layer (Pruthi et
al. 2020), and with the residual of one label alone the representer values of Yeh et al. 2018.

What was compared, on real photos some of whose training labels were made wrong, is in
docs/training.md.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np
import numpy.typing as npt

from lineside.decision import softmax

RIDGE: Final = 0.01
"""Added to the diagonal of C, as a share of the mean variance."""

SHOWN: Final = 3
"""Training images for each answer."""

CHUNK: Final = 64
"""Test images at a time: what is held is as many times the training images."""

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Answered = tuple[Floats, Floats, Ints]
"""Of n images: features, n x f; logits, n x labels; and the index of each one's label, n."""


def harm(
    features: Floats,
    residuals: Floats,
    asked: Floats,
    asked_residuals: Floats,
) -> Floats:
    """How much each training image raised the loss of each test image, up to a common factor.

    Args:
        features: n x f, of the training images, less their mean.
        residuals: n x labels, of the training images, times their weights.
        asked: m x f, of the test images, less the same mean.
        asked_residuals: m x labels.

    Returns:
        m x n.
    """
    return np.asarray(-(asked_residuals @ residuals.T) * (asked @ features.T + 1.0))


def residuals(logits: Floats, truth: Ints) -> Floats:
    """softmax(z) less 1 at the true label: n x labels."""
    found = softmax(logits)
    found[np.arange(len(truth)), truth] -= 1.0
    return found


def whiten(features: Floats) -> tuple[Floats, Floats]:
    """The mean and a matrix W, f x f, so that (f_i - mean) W W' (f_t - mean)' is with C^-1."""
    mean = features.mean(axis=0)
    centred = features - mean
    covariance = centred.T @ centred / len(features)
    covariance += (
        RIDGE * max(np.trace(covariance) / len(covariance), 1e-12) * np.eye(len(covariance))
    )
    return mean, np.linalg.cholesky(np.linalg.inv(covariance))


def most_harmful(
    train: Answered, asked: Answered, weights: Floats, count: int = SHOWN
) -> list[list[int]]:
    """For each test image the training images that did it most harm, the worst first.

    Only those that were taught as another label than the test image has: that one of its own label
    does harm as well, by being unlike it, tells a person nothing.

    Args:
        train: the training images.
        asked: the test images.
        weights: of each label in the training's loss.
        count: at most.
    """
    features, logits, taught = train
    mean, matrix = whiten(features)
    known = (features - mean) @ matrix
    pull = residuals(logits, taught) * weights[taught][:, np.newaxis]
    wanted = residuals(asked[1], asked[2])
    found = []
    for start in range(0, len(asked[0]), CHUNK):
        part = slice(start, start + CHUNK)
        harms = harm(known, pull, (asked[0][part] - mean) @ matrix, wanted[part])
        harms[asked[2][part][:, np.newaxis] == taught] = 0.0
        for row in harms:
            worst = np.argsort(-row, kind="stable")[:count]
            found.append([int(index) for index in worst if row[index] > 0])
    return found


def most_common(found: list[list[int]], count: int) -> list[tuple[int, int]]:
    """Those that come up more than once, and how often; the most frequent first."""
    times = Counter(index for one in found for index in one)
    return [(index, number) for index, number in times.most_common(count) if number > 1]
