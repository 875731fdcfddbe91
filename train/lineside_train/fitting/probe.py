"""The last layer alone, in closed form: where the tuning of trained weights starts.

A logistic regression on what the layers before it give is convex: it needs no learning rate, takes
seconds, and leaves the trained layers no random layer to adapt to (Kumar et al., Fine-Tuning can
Distort Pretrained Features and Underperform Out-of-Distribution, ICLR 2022).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside.extras import require
from lineside_train.fitting.examples import Examples, predict
from lineside_train.networks import without_head

STRENGTHS: Final = (1e-3, 1e-2, 1e-1, 1.0)
"""Inverse strengths of the regularization to choose from, on val."""


def fit_head(
    network: Any,  # noqa: ANN401 - Keras ships no types
    train: Examples,
    val: Examples,
    weights: npt.NDArray[np.float64],
) -> None:
    """Fit the layer `logits` of a network, with the others as they are.

    The strength of the regularization is the one with the lowest log loss on val.

    Args:
        network: ends in the dense layer `logits`; its weights are replaced.
        train: what is learned from.
        val: what the strength is chosen by.
        weights: of each label.
    """
    linear = require("sklearn.linear_model", extra="train")
    metrics = require("sklearn.metrics", extra="train")
    head = network.get_layer("logits")
    body = without_head(network)
    found, checked = predict(body, train.tensors), predict(body, val.tensors)
    mean, spread = found.mean(axis=0), found.std(axis=0) + 1e-6
    labels = np.arange(head.units)

    def fit(strength: float) -> tuple[float, Any]:
        model = linear.LogisticRegression(C=strength, max_iter=1000)
        model.fit((found - mean) / spread, train.truth, sample_weight=weights[train.truth])
        said = model.predict_proba((checked - mean) / spread)
        return metrics.log_loss(
            val.truth, said, labels=labels, sample_weight=weights[val.truth]
        ), model

    model = min((fit(strength) for strength in STRENGTHS), key=lambda one: one[0])[1]
    kernel, bias = _both(model.coef_, model.intercept_)
    kernel = kernel / spread
    head.set_weights([kernel.T.astype(np.float32), (bias - kernel @ mean).astype(np.float32)])


def _both(
    kernel: npt.NDArray[np.float64], bias: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """One row for each label, where scikit-learn gives one row for two."""
    if len(kernel) > 1:
        return kernel, bias
    return np.concatenate([-kernel, kernel]) / 2, np.concatenate([-bias, bias]) / 2
