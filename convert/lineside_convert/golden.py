"""Golden images: chosen from `val`, so that a device shows with few that it answers as it must.

At least one for each label, the one whose verdict is safest; then, on both sides of each limit,
the one nearest to it whose verdict does not hang on one step of an output (what is nearer than
that would fail on a device that is as good). They are kept as PNG after decoding, and the safest
once more as JPEG, to test the device's decoder.

XNNPACK and TensorFlow Lite's plain kernels, which a device without it runs, round differently:
a few steps. Where both give the same verdicts on `val`, both are right, and each golden image
allows for the difference that it shows itself. Where they do not, the model is for XNNPACK only,
and golden images fail on any other device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from lineside.decision import Decision, defect_scores, is_sorting, softmax
from lineside.extras import require
from lineside.image import MIN_SIDE, Frame, Preprocess, to_tensor
from lineside.manifest import DecisionSpec, Golden, Label
from lineside.messages import Verdict
from lineside.runtime import Engine, TensorInfo
from lineside.runtime.golden import golden_frame

STEPS: Final = 1
"""Steps that an int8 output may be off in any case: other machines round differently."""

JPEG_STEPS: Final = 8
"""More steps for the golden JPEG: other decoders round differently too."""

JPEG_QUALITY: Final = 95

MAX_GOLDEN_PIXELS: Final = 1_000_000
"""A larger picture is shrunk first: a golden image is a picture in its own right."""


@dataclass(frozen=True)
class Choice:
    """Which images become golden.

    Attributes:
        safe: for each label that has images the one whose verdict is safest; the first is the
            safest of all.
        near: those nearest to a limit.
    """

    safe: tuple[int, ...]
    near: tuple[int, ...]


@dataclass(frozen=True)
class Judge:
    """The int8 model's way from stored outputs to a verdict.

    Attributes:
        output: the model's output.
        decision: temperature and limits.
        labels: in the order of the outputs.
    """

    output: TensorInfo
    decision: DecisionSpec
    labels: Sequence[Label]

    def verdict(self, logits: npt.NDArray[np.float64]) -> Verdict:
        """The verdict for the logits of one picture."""
        return Decision(self.decision, self.labels)(logits).verdict

    def scores(self, logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The defect scores, n, of logits, n x labels."""
        return defect_scores(softmax(logits, self.decision.temperature), self.labels)

    def is_stable(self, *logits: npt.NDArray[np.float64]) -> bool:
        """Whether all verdicts are the same, with every output STEPS off in the worst way.

        Args:
            logits: of one picture, from each kind of kernels that must agree.
        """
        bad = np.array([not label.good for label in self.labels])
        verdicts = set()
        for one in logits:
            up = np.arange(len(one)) != one.argmax() if is_sorting(self.labels) else bad
            off = np.where(up, 1.0, -1.0) * self.output.scale * STEPS
            verdicts |= {self.verdict(one + off), self.verdict(one - off)}
        return len(verdicts) == 1


def choose_golden(
    truth: npt.NDArray[np.integer], kernels: Sequence[npt.NDArray[np.float64]], judge: Judge
) -> Choice:
    """Choose golden images.

    Args:
        truth: n indices into the labels.
        kernels: logits of the int8 model, n x labels, from each kind of kernels that must agree;
            the ones of XNNPACK first.
        judge: the way to a verdict.

    Returns:
        Indices, none of them twice.
    """
    logits, spec = kernels[0], judge.decision.limits
    scores = judge.scores(logits)
    limits = [limit for limit in (spec.review, spec.ng) if limit is not None]
    away = np.min([np.abs(scores - limit) for limit in limits], axis=0)
    # Right answers before wrong ones, then the safest.
    order = np.lexsort((-away, logits.argmax(axis=1) != truth))
    firsts = [int(next(i for i in order if truth[i] == k)) for k in np.unique(truth)]
    safe = tuple(dict.fromkeys([int(order[0]), *firsts]))
    near: list[int] = []
    for limit in limits:
        nearest = np.argsort(np.abs(scores - limit), kind="stable")
        for side in (scores < limit, scores >= limit):
            found = (int(i) for i in nearest if side[i])
            stable = (i for i in found if judge.is_stable(*(one[i] for one in kernels)))
            near += [i for i in [next(stable, None)] if i is not None]
    return Choice(safe, tuple(i for i in dict.fromkeys(near) if i not in safe))


def make_golden(
    safe: Sequence[Frame],
    near: Sequence[Frame],
    engines: Sequence[Engine],
    preprocess: Preprocess,
    judge: Judge,
) -> tuple[list[Golden], dict[str, bytes]]:
    """Encode golden images, and let the model answer them.

    Args:
        safe: pictures, decoded; the first one becomes a JPEG too.
        near: the same; one that was shrunk and is too near to a limit now is left out.
        engines: hold the int8 model, one with each kind of kernels that must agree; the one
            with XNNPACK first.
        preprocess: from frame to tensor.
        judge: the way to a verdict.

    Returns:
        The manifest's entries, and name -> bytes of the files.
    """
    height, width = engines[0].inputs[0].shape[1:3]
    entries, files = [], {}
    for name, data, must_stay in _encode(safe, near, preprocess):
        # From the encoded file, as the device will see it.
        tensor = to_tensor(golden_frame(name, data, preprocess), preprocess, (height, width))
        values = [engine.invoke(tensor)[0].reshape(-1).astype(float) for engine in engines]
        logits = [judge.output.dequantize(one) for one in values]
        if not must_stay and not judge.is_stable(*logits):
            continue
        apart = max(float(np.abs(one - values[0]).max()) for one in values)
        files[name] = data
        entries.append(
            Golden(
                file=name,
                outputs=[values[0].tolist()],
                verdict=judge.verdict(logits[0]),
                max_steps=apart + STEPS + (JPEG_STEPS if name.endswith(".jpg") else 0),
            )
        )
    return entries, files


def _encode(
    safe: Sequence[Frame], near: Sequence[Frame], preprocess: Preprocess
) -> Iterator[tuple[str, bytes, bool]]:
    """Name, bytes, and whether it must stay, of each file."""
    cv2 = require("cv2", extra="runtime")
    for number, frame in enumerate([*safe, *near]):
        # A crop is in pixels of the whole picture: that one stays as it is.
        picture = frame if preprocess.crop else _shrink(frame)
        plane = picture[..., 0] if (picture == picture[..., :1]).all() else picture
        name, must_stay = f"golden/{number:03d}", number < len(safe)
        yield f"{name}.png", cv2.imencode(".png", plane)[1].tobytes(), must_stay
        if number == 0:
            how = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
            yield f"{name}.jpg", cv2.imencode(".jpg", picture, how)[1].tobytes(), must_stay


def _shrink(frame: Frame) -> Frame:
    """At most MAX_GOLDEN_PIXELS of it, its aspect kept."""
    cv2 = require("cv2", extra="runtime")
    height, width = frame.shape[:2]
    factor = (MAX_GOLDEN_PIXELS / (height * width)) ** 0.5
    if factor >= 1.0:
        return frame
    size = max(MIN_SIDE, int(width * factor)), max(MIN_SIDE, int(height * factor))
    small: Frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return small
