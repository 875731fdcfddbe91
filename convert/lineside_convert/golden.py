"""Golden images: chosen from `val`, so that a device shows with few that it answers as it must.

At least one for each label, the one whose verdict is safest; then, on both sides of each limit,
the one nearest to it whose verdict does not hang on one step of an output (what is nearer than
that would fail on a device that is as good). They are kept as PNG after decoding, and the safest
once more as JPEG, whole, to test the device's decoder.

XNNPACK and TensorFlow Lite's plain kernels, which a device without it runs, round differently:
a few steps. Where both give the same verdicts on `val`, both are right, and each golden image
allows for the difference that it shows itself. Where they do not, the model is for XNNPACK only,
and golden images fail on any other device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from lineside.decision import Decision, defect_scores, softmax
from lineside.extras import require
from lineside.image import MIN_SIDE, Frame, Preprocess
from lineside.manifest import DecisionSpec, Golden, Label
from lineside.messages import Verdict
from lineside.outputs import to_logits
from lineside.runtime import TensorInfo
from lineside.runtime.golden import golden_frame

Values = npt.NDArray[np.float64]
"""Outputs as the model stores them."""

Answering = Callable[[Frame], Values]
"""From a frame to the model's outputs as stored, flat."""

STEPS: Final = 1
"""Steps that a quantized output may be off in any case: other machines round differently."""

FLOAT_STEP: Final = 1e-3
"""The same for a float output, as a share of its greatest value (at least 1)."""

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
    """The converted model's way from stored outputs to a verdict.

    Attributes:
        output: the model's output.
        kind: what its values mean: see `lineside.outputs`.
        decision: temperature and limits.
        labels: in the order of the outputs.
    """

    output: TensorInfo
    kind: str
    decision: DecisionSpec
    labels: Sequence[Label]

    def logits(self, values: Values) -> Values:
        """The logits, n x labels, of stored values, n x values."""
        return to_logits(self.output.dequantize(values), self.kind)

    def verdict(self, values: Values) -> Verdict:
        """The verdict for the stored values of one picture."""
        return Decision(self.decision, self.labels)(self.logits(values)).verdict

    def scores(self, values: Values) -> Values:
        """The defect scores, n, of stored values, n x values."""
        return defect_scores(softmax(self.logits(values), self.decision.temperature), self.labels)

    def step(self, values: Values) -> float:
        """How far one value may be off in any case, as stored."""
        if self.output.scale:
            return float(STEPS)
        return FLOAT_STEP * max(1.0, float(np.abs(values).max()))

    def is_stable(self, *values: Values) -> bool:
        """Whether all verdicts are the same, with every output one step off in the worst way.

        Args:
            values: as stored, of one picture, from each kind of kernels that must agree.
        """
        verdicts = set()
        for one in values:
            off = np.where(self._towards_bad(one), 1.0, -1.0) * self.step(one)
            verdicts |= {self.verdict(one + off), self.verdict(one - off)}
        return len(verdicts) == 1

    def _towards_bad(self, values: Values) -> npt.NDArray[np.bool_]:
        """For each value whether a greater one makes the score greater."""
        bad = np.array([not label.good for label in self.labels])
        if values.size == 1:  # it stands for the second of two labels
            return bad[1:] if bad.any() else values < self.output.zero_point
        return bad if bad.any() else np.arange(values.size) != values.argmax()


def choose_golden(
    truth: npt.NDArray[np.integer], kernels: Sequence[Values], judge: Judge
) -> Choice:
    """Choose golden images.

    Args:
        truth: n indices into the labels.
        kernels: stored values of the converted model, n x values, from each kind of kernels that
            must agree; the ones of XNNPACK first.
        judge: the way to a verdict.

    Returns:
        Indices, none of them twice.
    """
    values, spec = kernels[0], judge.decision.limits
    scores, said = judge.scores(values), judge.logits(values).argmax(axis=1)
    limits = [limit for limit in (spec.review, spec.ng) if limit is not None]
    away = np.min([np.abs(scores - limit) for limit in limits], axis=0)
    # Right answers before wrong ones, then the safest.
    order = np.lexsort((-away, said != truth))
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


def test_pictures(size: tuple[int, int]) -> list[Frame]:
    """Pictures to test a device with where there are no photos: the same ones everywhere.

    Args:
        size: height and width, in pixels.

    Returns:
        A ramp, a checkerboard, stripes, and noise of two kinds; uint8, height x width x 3.
    """
    height, width = (max(MIN_SIDE, side) for side in size)
    y, x = np.mgrid[:height, :width]
    random = np.random.Generator(np.random.PCG64(0))
    coarse = random.integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8)
    ramp = np.stack([255 * x // width, 255 * y // height, 255 * (x + y) // (width + height)], -1)
    checkers = np.repeat((((x // 8 + y // 8) % 2) * 255)[..., np.newaxis], 3, axis=2)
    stripes = np.stack([x * 7 % 256, y * 5 % 256, (x + y) * 3 % 256], -1)
    blocks = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    noise = random.integers(0, 256, (height, width, 3), np.uint8)
    return [one.astype(np.uint8) for one in (ramp, checkers, stripes, blocks, noise)]


def make_golden(
    safe: Sequence[Frame],
    near: Sequence[Frame],
    whole: Frame,
    inspectors: Sequence[Answering],
    preprocess: Preprocess,
    judge: Judge,
) -> tuple[list[Golden], dict[str, bytes]]:
    """Encode golden images, and let the model answer them.

    Args:
        safe: pictures, decoded as `preprocess` says.
        near: the same; one that was shrunk and is too near to a limit now is left out.
        whole: the first of `safe`, decoded whole: it becomes the JPEG.
        inspectors: the converted model, with each kind of kernels that must agree; the one with
            XNNPACK first.
        preprocess: from frame to pixels.
        judge: the way to a verdict.

    Returns:
        The manifest's entries, and name -> bytes of the files.
    """
    entries, files = [], {}
    for name, data, must_stay in _encode(safe, near, whole, preprocess):
        # From the encoded file, as the device will see it.
        frame = golden_frame(name, data, preprocess)
        values = [answer(frame) for answer in inspectors]
        if not must_stay and not judge.is_stable(*values):
            continue
        apart = max(float(np.abs(one - values[0]).max()) for one in values)
        step = judge.step(values[0])
        files[name] = data
        entries.append(
            Golden(
                file=name,
                outputs=[values[0].tolist()],
                verdict=judge.verdict(values[0]),
                max_steps=apart + step * (1 + (JPEG_STEPS if name.endswith(".jpg") else 0)),
            )
        )
    return entries, files


def _encode(
    safe: Sequence[Frame], near: Sequence[Frame], whole: Frame, preprocess: Preprocess
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
            picture = whole if preprocess.crop else _shrink(whole, preprocess.decode.reduce)
            yield f"{name}.jpg", cv2.imencode(".jpg", picture, how)[1].tobytes(), must_stay


def _shrink(frame: Frame, reduce: int = 1) -> Frame:
    """At most MAX_GOLDEN_PIXELS of it, its aspect kept; what is left at 1/reduce is a picture."""
    cv2 = require("cv2", extra="runtime")
    height, width = frame.shape[:2]
    factor = (MAX_GOLDEN_PIXELS / (height * width)) ** 0.5
    if factor >= 1.0:
        return frame
    least = MIN_SIDE * reduce
    size = max(least, int(width * factor)), max(least, int(height * factor))
    small: Frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return small
