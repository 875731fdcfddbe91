"""The networks: compact CNNs of layers that stay exact when they are quantized.

Nothing but convolutions, batch normalization (folded into them by the converter), ReLU, pooling
and one dense layer: no swish, no squeeze-excite, no Lambda.

Input shape:  (batch, size, size, 1 or 3), float32, raw pixels from 0 to 255
Output shape: (batch, labels), float32, logits
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


def build_network(options: TrainOptions, channels: int, labels: int) -> Any:  # noqa: ANN401
    """A network that isn't trained.

    Args:
        options: `arch`, `image_size`, `width` and `units` are looked at.
        channels: 1 for gray, 3 for rgb.
        labels: how many.
    """
    keras = load_keras()
    size = options.image_size
    pixels = keras.Input((size, size, channels), name="pixels")
    # Written like this, and not as a Rescaling layer, the converter folds it into one subtraction
    # and keeps the full resolution of 8 bits.
    x = (pixels - 127.5) * (1 / 127.5)
    x = _BODIES[options.arch](x, options)
    logits = keras.layers.Dense(labels, name="logits")(x)
    return keras.Model(pixels, logits, name=options.arch)


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


_BODIES: Final[dict[str, Callable[[Tensor, TrainOptions], Tensor]]] = {
    "plain": _plain,
    "separable": _separable,
    "mlp": _mlp,
}
