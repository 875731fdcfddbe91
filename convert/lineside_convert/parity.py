"""Whether the converted model says the same as the original: on `val`, verdict by verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from lineside.decision import Answer, Decision, defect_scores, is_sorting, softmax
from lineside.errors import InputError, ParityError
from lineside.limit_rules import LimitRules
from lineside.limits import choose_decision
from lineside.manifest import DecisionSpec, Label, Parity

SHOWN: Final = 10
"""How many images an error names."""

HALVINGS: Final = 10
"""How many times the images are halved to see what is to be expected of others."""

DRAWN: Final = 32
"""How many differences each image is given."""


@dataclass(frozen=True)
class Flip:
    """An image with another verdict.

    Attributes:
        file: which.
        original: the original model's verdict and score, as text.
        converted: the same of the converted model.
    """

    file: str
    original: str
    converted: str

    def line(self) -> str:
        """For a person."""
        return f"{self.file} ({self.original} became {self.converted})"


def compare(
    files: Sequence[str],
    original: npt.NDArray[np.float64],
    converted: npt.NDArray[np.float64],
    decision: DecisionSpec,
    labels: Sequence[Label],
    *,
    reference: str = "keras",
) -> tuple[Parity, tuple[Flip, ...]]:
    """How far the converted model is from the original.

    Args:
        files: n names.
        original: n x labels, logits.
        converted: the same.
        decision: for both; when sorting, another label of an `ok` counts as another verdict.
        labels: in the order of the columns.
        reference: what the original is.
    """
    decide = Decision(decision, labels)
    flips, worst = [], 0.0
    for file, one, other in zip(files, original, converted, strict=True):
        before, after = decide(one), decide(other)
        worst = max(worst, abs((before.score or 0.0) - (after.score or 0.0)))
        if _verdict(before, labels) != _verdict(after, labels):
            said = [f"{_verdict(a, labels)} {a.score:.3f}" for a in (before, after)]
            flips.append(Flip(file, *said))
    parity = Parity(
        status="measured",
        reference=reference,
        split="val",
        images=len(files),
        flips=len(flips),
        worst=round(worst, 6),
    )
    return parity, tuple(flips)


def expected_flips(
    truth: npt.NDArray[np.integer],
    original: npt.NDArray[np.float64],
    differences: npt.NDArray[np.float64],
    labels: Sequence[Label],
    rules: LimitRules,
) -> float:
    """The share of new images that will probably get another verdict from the converted model.

    The limits lie where no image of `val` flips, if there is such a place: so counting flips
    there says too little of other images. Here limits are chosen on one half of the images, for
    HALVINGS halvings of each label's images, both ways round; and each image of the other half is
    given DRAWN of the differences between both models, at random, to see whether its verdict
    stays. There are more differences than images to count: they need no label.

    Args:
        truth: n indices into `labels`.
        original: n x labels, logits.
        differences: m x labels: by how much the converted model's logits are off, of any images.
        labels: in the order of the columns.
        rules: what limits are chosen by.
    """
    random = np.random.default_rng(0)
    shares = []
    for _ in range(HALVINGS):
        first = np.zeros(len(truth), np.bool_)
        for label in np.unique(truth):
            members = random.permutation(np.flatnonzero(truth == label))
            # An odd one goes to either half.
            first[members[: (len(members) + int(random.integers(2))) // 2]] = True
        for half in (first, ~first):
            try:
                decision = choose_decision(
                    truth[half],
                    original[half],
                    labels,
                    costs=rules.costs,
                    max_escapes=rules.max_escapes,
                )
            except InputError:  # a half without a good or a bad part
                continue
            others = original[~half][:, np.newaxis]
            drawn = differences[random.integers(0, len(differences), (len(others), DRAWN))]
            before = verdict_codes(others, decision, labels)
            shares.append(np.mean(verdict_codes(others + drawn, decision, labels) != before))
    return float(np.mean(shares)) if shares else 1.0


def verdict_codes(
    logits: npt.NDArray[np.float64], decision: DecisionSpec, labels: Sequence[Label]
) -> npt.NDArray[np.intp]:
    """A number for each verdict, the same for the same verdict.

    Args:
        logits: ... x labels.
        decision: temperature and limits; when sorting, each label of an `ok` has its own number.
        labels: in the order of the last axis.
    """
    flat = logits.reshape(-1, logits.shape[-1])
    scores = defect_scores(softmax(flat, decision.temperature), labels)
    review, ng = (
        np.inf if limit is None else limit for limit in (decision.limits.review, decision.limits.ng)
    )
    codes = np.where(scores >= ng, -2, np.where(scores >= review, -1, 0))
    if is_sorting(labels):
        codes = np.where(codes == 0, flat.argmax(axis=1), codes)
    return np.asarray(codes.reshape(logits.shape[:-1]))


def _verdict(answer: Answer, labels: Sequence[Label]) -> str:
    """The verdict; when sorting, what is ok is the label."""
    sorted_ok = is_sorting(labels) and answer.verdict == "ok"
    return f"ok {answer.label}" if sorted_ok else answer.verdict


def allowed_flips(images: int, max_flips: float) -> int:
    """How many of `images` may get another verdict: max(1, `max_flips` percent)."""
    return max(1, int(images * max_flips / 100.0 + 1e-9))


def require_parity(parity: Parity, flips: Sequence[Flip], max_flips: float) -> None:
    """Refuse a model whose verdicts differ too often.

    Args:
        parity: as `compare` gives it.
        flips: the same.
        max_flips: percent of the images.

    Raises:
        ParityError: more flips than `allowed_flips`; names images and says how to go on.
    """
    allowed = allowed_flips(parity.images, max_flips)
    if len(flips) <= allowed:
        return
    shown = ", ".join(flip.line() for flip in flips[:SHOWN])
    more = f" and {len(flips) - SHOWN} more" if len(flips) > SHOWN else ""
    msg = (
        f"the converted model's verdict differs from the original's on {len(flips)} of "
        f"{parity.images} images of val, at most {allowed} may: {shown}{more}. No bundle was "
        f"written. Let it look for a scheme that holds (--scheme auto), calibrate with more images "
        f"(--calibration), or accept it with --max-flips {_enough(len(flips), parity.images)}"
    )
    raise ParityError(msg)


def _enough(flips: int, images: int) -> str:
    """The percentage that would let so many flips pass, rounded up to a tenth."""
    return f"{np.ceil(flips / images * 1000) / 10:g}"
