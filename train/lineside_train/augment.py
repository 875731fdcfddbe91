"""Augmentation: Keras layers that change the training images a little, each time anew.

They are a part of the training only, never of the model that is saved.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, Final

from lineside_train.backend import load_keras
from lineside_train.options import Flip, TrainOptions


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


def augmentation(options: TrainOptions) -> list[Any]:
    """The layers, in order; none where nothing was asked for.

    Input shape and output shape: (batch, height, width, channels), float32, 0 to 255.
    """
    strength = STRENGTHS[options.augment]
    chain: list[Any] = []
    if options.flip != "none" or options.augment != "none":
        chain.append(_random_affine()(strength, options.flip))
    if strength.contrast:
        chain.append(load_keras().layers.RandomContrast(strength.contrast))
    return chain


@functools.cache
def _random_affine() -> Any:  # noqa: ANN401 - a class, but its base is loaded late
    """The layer that mirrors, turns, shifts and zooms.

    Keras has a layer for each of these. One is three times as quick, and blurs once, not thrice;
    and RandomFlip mirrors along both axes or along neither, where it is asked for both.
    """
    keras = load_keras()
    ops, random = keras.ops, keras.random

    class RandomAffine(keras.layers.Layer):  # type: ignore[misc,name-defined] # no types
        """Mirrors, turns, shifts and zooms each image in its own way, about its centre."""

        def __init__(self, strength: Strength, flip: Flip) -> None:
            super().__init__()
            self.strength = strength
            self.flip = flip
            self.seed_generator = random.SeedGenerator()

        def call(self, images: Any) -> Any:  # noqa: ANN401
            """Change a batch."""
            count, height, width, _ = images.shape
            how = self.strength
            drawn = random.uniform((count, 6), -1.0, 1.0, seed=self.seed_generator)
            turn, zoom, sign_x, sign_y, shift_x, shift_y = ops.unstack(drawn, axis=1)
            angle = turn * math.radians(how.turn)
            scale_x = scale_y = 1.0 + zoom * how.zoom
            if self.flip != "none":
                scale_x = scale_x * ops.where(sign_x < 0, -1.0, 1.0)
            if self.flip == "both":
                scale_y = scale_y * ops.where(sign_y < 0, -1.0, 1.0)
            # An output pixel p is taken from centre + shift + matrix (p - centre).
            sine, cosine = ops.sin(angle), ops.cos(angle)
            a0, a1 = scale_x * cosine, -scale_x * sine
            b0, b1 = scale_y * sine, scale_y * cosine
            x, y = (width - 1) / 2, (height - 1) / 2
            a2 = x - a0 * x - a1 * y + shift_x * how.shift * width
            b2 = y - b0 * x - b1 * y + shift_y * how.shift * height
            none = ops.zeros_like(a0)
            rows = ops.stack([a0, a1, a2, b0, b1, b2, none, none], axis=1)
            return ops.image.affine_transform(
                images, rows, interpolation="bilinear", fill_mode="reflect"
            )

    return RandomAffine
