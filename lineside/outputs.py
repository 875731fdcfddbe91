"""From the values that a model gives to logits, one for each label. Pure.

`lineside.decision` takes logits, since a quantized softmax has a grid of 1/256. Models of others
end as they end; what they say becomes the logits whose softmax, at temperature 1, is their answer:

    class_logits          z as it is
    class_probabilities   log(p / sum(p)): quantized ones may sum to 0.5 or to 1.05
    binary_logit          [0, z]                z stands for the second of two labels
    binary_probability    [0, log(p / (1 - p))]

A probability is at least FLOOR, so that no logit is infinite.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from lineside.errors import EngineError

KINDS: Final = ("class_logits", "class_probabilities", "binary_logit", "binary_probability")
"""The kinds of output that give logits."""

FLOOR: Final = 1e-12
"""The least probability. A quantized softmax gives 0 for whatever is below half a step."""


def to_logits(values: npt.ArrayLike, kind: str) -> npt.NDArray[np.float64]:
    """The logits that a model's outputs stand for.

    Args:
        values: real (dequantized) values, ... x n: n is the number of labels, or 1 for the kinds
            that begin with `binary_`.
        kind: one of `KINDS`.

    Returns:
        float64, ... x labels. NaN where there is no answer: a NaN, an infinite
        probability, or probabilities that are all 0.

    Raises:
        EngineError: another kind.
    """
    real = np.asarray(values, np.float64)
    if kind == "class_logits":
        return real
    if kind == "class_probabilities":
        return _log(_normalized(real))
    if kind == "binary_logit":
        second = real
    elif kind == "binary_probability":
        second = _log(real) - _log(1.0 - real)
    else:
        msg = f"outputs of the kind {kind!r} give no logits: one of {', '.join(KINDS)} is expected"
        raise EngineError(msg + "; update lineside")
    return np.concatenate([np.zeros_like(second), second], axis=-1)


def _normalized(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Over the last axis the sum is 1; NaN where it was 0."""
    positive = np.maximum(np.where(np.isfinite(p), p, np.nan), 0.0)
    with np.errstate(invalid="ignore"):
        return np.asarray(positive / positive.sum(axis=-1, keepdims=True))


def _log(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # An infinite "probability" is no answer, which clipping would hide.
    return np.log(np.where(np.isfinite(p), np.clip(p, FLOOR, 1.0), np.nan))
