"""Golden images: chosen from `val`, so that a device shows with few that it answers as it must.

At least one for each label, the one whose verdict is safest; then, on both sides of each limit,
the one nearest to it whose verdict is still the same when every output is `PNG_STEPS` off (what
is nearer than that would fail on a device that is as good). They are kept as PNG after decoding,
and the safest once more as JPEG, to test the device's decoder.
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

PNG_STEPS: Final = 1
"""Steps that an int8 output of a golden PNG may be off."""

JPEG_STEPS: Final = 8
"""Steps that an int8 output of the golden JPEG may be off: decoders round differently."""

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

    def is_stable(self, logits: npt.NDArray[np.float64]) -> bool:
        """Whether the verdict stays when every output is PNG_STEPS off, in the worst way."""
        if is_sorting(self.labels):
            worse = np.where(np.arange(len(self.labels)) == logits.argmax(), -1.0, 1.0)
        else:
            worse = np.where([label.good for label in self.labels], -1.0, 1.0)
        off = worse * self.output.scale * PNG_STEPS
        return self.verdict(logits + off) == self.verdict(logits - off)


def choose_golden(
    truth: npt.NDArray[np.integer], logits: npt.NDArray[np.float64], judge: Judge
) -> Choice:
    """Choose golden images.

    Args:
        truth: n indices into the labels.
        logits: n x labels, of the int8 model.
        judge: the way to a verdict.

    Returns:
        Indices, none of them twice.
    """
    scores, spec = judge.scores(logits), judge.decision.limits
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
            stable = (int(i) for i in nearest if side[i] and judge.is_stable(logits[i]))
            near += [i for i in [next(stable, None)] if i is not None]
    return Choice(safe, tuple(i for i in dict.fromkeys(near) if i not in safe))


def make_golden(
    safe: Sequence[Frame],
    near: Sequence[Frame],
    engine: Engine,
    preprocess: Preprocess,
    judge: Judge,
) -> tuple[list[Golden], dict[str, bytes]]:
    """Encode golden images, and let the model answer them.

    Args:
        safe: pictures, decoded; the first one becomes a JPEG too.
        near: the same; one that was shrunk and is too near to a limit now is left out.
        engine: holds the int8 model.
        preprocess: from frame to tensor.
        judge: the way to a verdict.

    Returns:
        The manifest's entries, and name -> bytes of the files.
    """
    height, width = engine.inputs[0].shape[1:3]
    entries, files = [], {}
    for name, data, must_stay in _encode(safe, near, preprocess):
        # From the encoded file, as the device will see it.
        tensor = to_tensor(golden_frame(name, data, preprocess), preprocess, (height, width))
        values = engine.invoke(tensor)[0].reshape(-1)
        logits = judge.output.dequantize(values)
        if not must_stay and not judge.is_stable(logits):
            continue
        files[name] = data
        entries.append(
            Golden(
                file=name,
                outputs=[values.astype(float).tolist()],
                verdict=judge.verdict(logits),
                max_steps=PNG_STEPS if name.endswith(".png") else JPEG_STEPS,
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
