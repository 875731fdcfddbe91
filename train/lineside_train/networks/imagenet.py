"""Networks that others have trained on ImageNet, without their last layer.

Input shape:  (batch, size, size, channels), float32, normalized pixels from -1 to 1
Output shape: (batch, features)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from lineside_train.backend import load_keras
from lineside_train.networks.efficientnet_lite import efficientnet_lite0
from lineside_train.networks.small import BATCH_NORM_MOMENTUM
from lineside_train.options import TrainOptions

DROPOUT: Final = 0.2

Tensor = Any
"""A symbolic tensor of Keras, which ships no types."""


def _mobilenet_v1(x: Tensor, width: float) -> Tensor:
    """Howard et al., MobileNets, 2017."""
    build = load_keras().applications.MobileNet
    return build(input_tensor=x, alpha=width, include_top=False, weights=None).output


def _mobilenet_v2(x: Tensor, width: float) -> Tensor:
    """Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018."""
    build = load_keras().applications.MobileNetV2
    return build(input_tensor=x, alpha=width, include_top=False, weights=None).output


def _efficientnet_lite0(x: Tensor, width: float) -> Tensor:  # noqa: ARG001 - it has one width
    return efficientnet_lite0(x)


_FEATURES: Final[dict[str, Callable[[Tensor, float], Tensor]]] = {
    "mobilenet_v1": _mobilenet_v1,
    "mobilenet_v2": _mobilenet_v2,
    "efficientnet_lite0": _efficientnet_lite0,
}


def _backbone(
    features: Callable[[Tensor, float], Tensor],
) -> Callable[[Tensor, TrainOptions], Tensor]:
    def build(x: Tensor, options: TrainOptions) -> Tensor:
        keras = load_keras()
        layers = keras.layers
        maps = features(x, options.width)
        for layer in keras.Model(keras.utils.get_source_inputs(maps), maps).layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.momentum = BATCH_NORM_MOMENTUM
        x = layers.GlobalAveragePooling2D()(maps)
        return layers.Dropout(DROPOUT)(x)

    return build


BACKBONES: Final = {arch: _backbone(features) for arch, features in _FEATURES.items()}
"""By the name of the architecture."""


def donor(arch: str, width: float) -> Any:  # noqa: ANN401 - Keras ships no types
    """The network as others have trained it: on 224 x 224 pixels in colour, without its last layer.

    Args:
        arch: the name of the architecture.
        width: multiplies the channels of its layers.
    """
    keras = load_keras()
    colours = keras.Input((224, 224, 3))
    return keras.Model(colours, _FEATURES[arch](colours, width))
