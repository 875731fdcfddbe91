"""Which images make a batch, and how each of them is changed: drawn from the seed alone.

Nothing here depends on the machine, on the backend, on how many machines share a batch, or on
what was drawn before: a training that goes on after epoch 12 sees what it would have seen.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from lineside_train.fitting.examples import Images
from lineside_train.options import Flip, Mix, TrainOptions

Floats = npt.NDArray[np.float32]

MIXUP: Final = 0.2
"""Both parameters of the beta distribution that shares are drawn from."""


@dataclass(frozen=True)
class Strength:
    """How far images are changed at most, either way.

    Attributes:
        turn: degrees.
        shift: share of the image's side.
        zoom: share of the image's side.
        contrast: share of the distance from the image's mean.
    """

    turn: float
    shift: float
    zoom: float
    contrast: float


STRENGTHS: Final = {
    "none": Strength(turn=0.0, shift=0.0, zoom=0.0, contrast=0.0),
    "light": Strength(turn=3.0, shift=0.03, zoom=0.05, contrast=0.1),
    "strong": Strength(turn=8.0, shift=0.05, zoom=0.08, contrast=0.1),
}
"""No brightness: how dark a part looks is often what tells a bad one (seen on solar cells)."""


@dataclass(frozen=True, eq=False)
class MixDraw:
    """How the images of a batch are mixed.

    Attributes:
        partner: int32, n: which image of the batch each is mixed with.
        kept: float32, n x height or 1 x width or 1 x 1: how much of its own pixel stays.
    """

    partner: npt.NDArray[np.int32]
    kept: Floats


@dataclass(frozen=True, eq=False)
class Draw:
    """One batch.

    Attributes:
        chosen: int64, n indices of images.
        affine: float32, n x 8, as `keras.ops.image.affine_transform` takes it; None: as they are.
        contrast: float32, n x 1 x 1 x 1, what distances from the mean are multiplied by; or None.
        mix: how images of the batch are mixed with each other; or None.
    """

    chosen: npt.NDArray[np.int64]
    affine: Floats | None = None
    contrast: Floats | None = None
    mix: MixDraw | None = None

    def some(self, rows: slice | npt.NDArray[np.integer]) -> Draw:
        """Some rows of the batch; whom they are mixed with is still told by rows of the whole one.

        Args:
            rows: which ones.
        """
        return Draw(
            self.chosen[rows],
            None if self.affine is None else self.affine[rows],
            None if self.contrast is None else self.contrast[rows],
            None if self.mix is None else MixDraw(self.mix.partner[rows], self.mix.kept[rows]),
        )

    def inputs(self, tensors: Images) -> dict[str, npt.NDArray[np.generic]]:
        """What the trainee takes: the images, and how they are changed.

        Args:
            tensors: all images, uint8, height x width x channels each.
        """
        given: dict[str, npt.NDArray[np.generic]] = {"pixels": tensors[self.chosen]}
        if self.affine is not None:
            given["affine"] = self.affine
        if self.contrast is not None:
            given["contrast"] = self.contrast
        if self.mix is not None:
            given |= {"partner": self.mix.partner, "kept": self.mix.kept}
        return given

    def targets(self, truth: npt.NDArray[np.int64], labels: int) -> Floats:
        """What is to be answered: float32, n x labels, rows that add up to 1.

        Args:
            truth: all images' labels.
            labels: how many there are.
        """
        pure = np.eye(labels, dtype=np.float32)[truth[self.chosen]]
        if self.mix is None:
            return pure
        share = self.mix.kept.mean(axis=(1, 2))
        return np.asarray(share * pure + (1 - share) * pure[self.mix.partner], np.float32)


@dataclass(frozen=True)
class Draws:
    """Draws batches of one training.

    Attributes:
        images: how many there are.
        size: height and width of them, in pixels.
        options: `seed`, `batch_size`, `augment` and `flip` are looked at.
    """

    images: int
    size: tuple[int, int]
    options: TrainOptions

    @property
    def batch(self) -> int:
        """Images in a batch."""
        return min(self.options.batch_size, self.images)

    @property
    def steps(self) -> int:
        """Batches in an epoch: full ones."""
        return self.images // self.batch

    def draw(self, epoch: int, step: int) -> Draw:
        """One batch of an epoch, both counted from 0."""
        order = _order(self.images, self.options.seed, epoch)
        chosen = order[step * self.batch : (step + 1) * self.batch]
        random = np.random.default_rng([self.options.seed, epoch, step + 1])
        how = STRENGTHS[self.options.augment]
        affine = contrast = None
        if self.options.augment != "none" or self.options.flip != "none":
            affine = affine_rows(random, len(chosen), self.size, how, self.options.flip)
        if how.contrast:
            drawn = random.uniform(1 - how.contrast, 1 + how.contrast, (len(chosen), 1, 1, 1))
            contrast = drawn.astype(np.float32)
        mix = mixed(random, len(chosen), self.size, self.options.mix)
        return Draw(chosen, affine, contrast, mix)


@functools.lru_cache(maxsize=2)
def _order(images: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """All images, in the order of an epoch."""
    return np.random.default_rng([seed, epoch]).permutation(images)


def mixed(
    random: np.random.Generator, count: int, size: tuple[int, int], how: Mix
) -> MixDraw | None:
    """Mixes each image with another one of the batch.

    `mixup` adds them up, with shares drawn from Beta(0.2, 0.2) (Zhang et al., mixup: Beyond
    Empirical Risk Minimization, ICLR 2018). `cutmix` puts a rectangle of the other one into it, its
    area drawn evenly (Yun et al., CutMix, ICCV 2019).

    Args:
        random: drawn from.
        count: images.
        size: height and width of them, in pixels.
        how: which of them.
    """
    if how == "none":
        return None
    partner = random.permutation(count).astype(np.int32)
    if how == "mixup":
        share = random.beta(MIXUP, MIXUP, (count, 1, 1, 1))
        return MixDraw(partner, share.astype(np.float32))
    side = np.sqrt(random.uniform(0, 1, (count, 1)))
    inside = [
        np.abs(np.arange(length) - random.uniform(0, length, (count, 1))) < side * length / 2
        for length in size
    ]
    box = inside[0][:, :, np.newaxis, np.newaxis] & inside[1][:, np.newaxis, :, np.newaxis]
    return MixDraw(partner, (~box).astype(np.float32))


def affine_rows(
    random: np.random.Generator, count: int, size: tuple[int, int], how: Strength, flip: Flip
) -> Floats:
    """Mirrors, turns, shifts and zooms, each image in its own way, about its centre.

    Args:
        random: drawn from.
        count: images.
        size: height and width of them, in pixels.
        how: how far.
        flip: along which axes.

    Returns:
        float32, count x 8: a0, a1, a2, b0, b1, b2, 0, 0. The output pixel (x, y) is taken from
        (a0 x + a1 y + a2, b0 x + b1 y + b2).
    """
    height, width = size
    turn, zoom, sign_x, sign_y, shift_x, shift_y = random.uniform(-1.0, 1.0, (6, count))
    angle = turn * math.radians(how.turn)
    scale_x = scale_y = 1.0 + zoom * how.zoom
    if flip != "none":
        scale_x = scale_x * np.where(sign_x < 0, -1.0, 1.0)
    if flip == "both":
        scale_y = scale_y * np.where(sign_y < 0, -1.0, 1.0)
    # An output pixel p is taken from centre + shift + matrix (p - centre).
    sine, cosine = np.sin(angle), np.cos(angle)
    a0, a1 = scale_x * cosine, -scale_x * sine
    b0, b1 = scale_y * sine, scale_y * cosine
    x, y = (width - 1) / 2, (height - 1) / 2
    a2 = x - a0 * x - a1 * y + shift_x * how.shift * width
    b2 = y - b0 * x - b1 * y + shift_y * how.shift * height
    none = np.zeros(count)
    return np.stack([a0, a1, a2, b0, b1, b2, none, none], axis=1).astype(np.float32)
