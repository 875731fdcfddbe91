"""From a model's outputs to a verdict. Pure: arrays in, an answer out.

The one place where logits become probabilities, probabilities a defect score, and a score a
verdict:

    p = softmax(logits / temperature)
    score = the sum of p over the labels that do not mean a good part     (inspection)
          = 1 - max(p)                                                    (sorting)
    verdict = ng      if score >= limits.ng
              review  if score >= limits.review
              ok      otherwise
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from lineside.manifest import DecisionSpec, Label
from lineside.messages import Verdict

TOP: Final = 5
"""How many labels an answer lists."""


class Answer(Struct, frozen=True):
    """What the model says of one picture.

    Attributes:
        verdict: `ok`, `ng`, `review`, or `no_read` where there is no trustworthy answer.
        reasons: why; never empty.
        label: the most probable label.
        score: the defect score, 0 to 1, higher is worse.
        scores: the most probable labels with their probabilities.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    label: str | None = None
    score: float | None = None
    scores: tuple[tuple[str, float], ...] = ()


def no_read(*reasons: str) -> Answer:
    """The answer where there is none to trust."""
    return Answer("no_read", reasons)


def softmax(logits: npt.ArrayLike, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Probabilities over the last axis: exp(z / T) / sum(exp(z / T))."""
    z = np.asarray(logits, np.float64) / temperature
    e = np.exp(z - z.max(axis=-1, keepdims=True))  # the same quotient, and exp can't overflow
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def defect_scores(
    probabilities: npt.NDArray[np.float64], labels: Sequence[Label]
) -> npt.NDArray[np.float64]:
    """The defect score of each row.

    Args:
        probabilities: n x labels.
        labels: in the order of the columns.

    Returns:
        n values from 0 to 1. Where no label means a bad part (sorting), how unsure the model is.
    """
    bad = _bad_columns(labels)
    if not bad:
        return np.asarray(1.0 - probabilities.max(axis=-1))
    return np.asarray(np.minimum(probabilities[..., bad].sum(axis=-1), 1.0))


def _bad_columns(labels: Sequence[Label]) -> list[int]:
    return [column for column, label in enumerate(labels) if not label.good]


def is_sorting(labels: Sequence[Label]) -> bool:
    """Whether no label means a bad part, so that only confidence decides."""
    return all(label.good for label in labels)


def verdict_of(score: float, spec: DecisionSpec) -> tuple[Verdict, str]:
    """The verdict for a defect score, and the reason for it."""
    limits = spec.limits
    if limits.ng is not None and score >= limits.ng:
        return "ng", "score>=ng"
    if limits.review is not None and score >= limits.review:
        return "review", "score>=review"
    lowest = limits.review if limits.review is not None else limits.ng
    return "ok", "score<review" if lowest is limits.review and lowest is not None else "score<ng"


class Decision:
    """Turns the logits of one picture into an answer, as a bundle's manifest says."""

    def __init__(self, spec: DecisionSpec, labels: Sequence[Label]) -> None:
        self.spec = spec
        self.labels = tuple(labels)
        self._bad = _bad_columns(labels)

    def __call__(self, logits: npt.ArrayLike) -> Answer:
        """Decide.

        Args:
            logits: one value for each label, as float.
        """
        z: list[float] = np.asarray(logits, np.float64).reshape(-1).tolist()
        if len(z) != len(self.labels):
            return no_read(f"outputs:{len(z)}!={len(self.labels)}")
        if not all(map(math.isfinite, z)):
            return no_read("outputs_not_finite")
        # The same formulas as above, in plain floats: numpy's functions take ten times as long
        # behind an inference, which leaves nothing of them in the processor's caches.
        top, temperature = max(z), self.spec.temperature
        parts = [math.exp((value - top) / temperature) for value in z]
        whole = sum(parts)
        p = [part / whole for part in parts]
        score = min(sum([p[column] for column in self._bad]), 1.0) if self._bad else 1.0 - max(p)
        verdict, reason = verdict_of(score, self.spec)
        order = sorted(range(len(p)), key=p.__getitem__, reverse=True)[:TOP]
        scores = tuple([(self.labels[column].name, p[column]) for column in order])
        return Answer(verdict, (reason,), scores[0][0], score, scores)
