"""EfficientNet-Lite0, which Keras does not bring.

EfficientNet-B0 (Tan and Le, EfficientNet, ICML 2019) as its authors made it for quantized devices:
ReLU6 instead of swish, no squeeze-excite, stem and head of fixed size.

Input shape:  (batch, height, width, channels), float32, normalized pixels from -1 to 1
Output shape: (batch, height / 32, width / 32, 1280), rounded up
"""

from __future__ import annotations

from typing import Any, Final

from lineside_train.backend import load_keras

Tensor = Any
"""A symbolic tensor of Keras, which ships no types."""

BLOCKS: Final = (
    # kernel, blocks, channels, expansion, stride of the first block
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)

EPSILON: Final = 1e-3
"""Of batch normalization, as the published weights were trained with."""


def efficientnet_lite0(x: Tensor) -> Tensor:
    """The feature maps of EfficientNet-Lite0."""
    x = _convolve(x, 32, kernel=3, stride=2, name="stem")
    for stage, (kernel, blocks, channels, expansion, stride) in enumerate(BLOCKS, start=1):
        for block in range(blocks):
            x = _invert(
                x,
                channels,
                kernel=kernel,
                expansion=expansion,
                stride=stride if block == 0 else 1,
                name=f"stage{stage}_block{block + 1}",
            )
    return _convolve(x, 1280, kernel=1, stride=1, name="head")


def _convolve(x: Tensor, channels: int, *, kernel: int, stride: int, name: str) -> Tensor:
    layers = load_keras().layers
    x = layers.Conv2D(
        channels, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x)


def _invert(
    x: Tensor, channels: int, *, kernel: int, expansion: int, stride: int, name: str
) -> Tensor:
    """An inverted residual block: expand, convolve each channel, project; and the way around."""
    layers = load_keras().layers
    before = x
    if expansion > 1:
        wide = expansion * x.shape[-1]
        x = _convolve(x, wide, kernel=1, stride=1, name=f"{name}_expand")
    x = layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_depthwise_bn")(x)
    x = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(x)
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project")(x)
    x = layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_project_bn")(x)
    if stride == 1 and before.shape[-1] == channels:
        x = layers.Add(name=f"{name}_add")([before, x])
    return x
