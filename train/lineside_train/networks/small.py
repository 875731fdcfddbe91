"""lineside's own small networks, trained from scratch.

Input shape:  (batch, size, size, channels), float32, normalized pixels
Output shape: (batch, features)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from lineside_train.backend import load_keras
from lineside_train.options import TrainOptions

BATCH_NORM_MOMENTUM: Final = 0.9
"""Small data sets have few batches: Keras' own 0.99 would lag behind."""

DROPOUT: Final = 0.1

Tensor = Any
"""A symbolic tensor of Keras, which ships no types."""


def _channels(options: TrainOptions, base: int) -> int:
    """`base`, multiplied by the width, in steps of 8 (what vector units like)."""
    return max(8, 8 * round(base * options.width / 8))


def _convolve(x: Tensor, channels: int, *, kernel: int = 3, stride: int = 1) -> Tensor:
    """Convolution, batch normalization, ReLU."""
    layers = load_keras().layers
    x = layers.Conv2D(
        channels,
        kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
    return layers.ReLU()(x)


def _convolve_separably(x: Tensor, channels: int) -> Tensor:
    """A 3x3 convolution of each channel, then a 1x1 convolution across them."""
    layers = load_keras().layers
    x = layers.DepthwiseConv2D(
        3, padding="same", use_bias=False, depthwise_initializer="he_normal"
    )(x)
    x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
    x = layers.ReLU()(x)
    return _convolve(x, channels, kernel=1)


def _stages(x: Tensor, options: TrainOptions, block: Callable[[Tensor, int], Tensor]) -> Tensor:
    """A stem at half the size, then stages of blocks, each at half the size of the one before."""
    layers = load_keras().layers
    x = _convolve(x, _channels(options, 8), kernel=5, stride=2)
    for channels, blocks in ((16, 2), (32, 2), (64, 1)):
        x = layers.MaxPooling2D()(x)
        for _ in range(blocks):
            x = block(x, _channels(options, channels))
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dropout(DROPOUT)(x)


def _plain(x: Tensor, options: TrainOptions) -> Tensor:
    return _stages(x, options, _convolve)


def _separable(x: Tensor, options: TrainOptions) -> Tensor:
    return _stages(x, options, _convolve_separably)


def _mlp(x: Tensor, options: TrainOptions) -> Tensor:
    """What a textbook starts from: every pixel to every hidden unit."""
    layers = load_keras().layers
    return layers.Dense(options.units, activation="relu")(layers.Flatten()(x))


BODIES: Final[dict[str, Callable[[Tensor, TrainOptions], Tensor]]] = {
    "plain": _plain,
    "separable": _separable,
    "mlp": _mlp,
}
