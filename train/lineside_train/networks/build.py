"""The whole network: from raw pixels to logits.

Input shape:  (batch, size, size, 1 or 3), float32, raw pixels from 0 to 255
Output shape: (batch, labels), float32, logits
"""

from __future__ import annotations

from typing import Any

from lineside_train.backend import load_keras
from lineside_train.networks.imagenet import BACKBONES
from lineside_train.networks.small import BODIES
from lineside_train.networks.weights import start_from
from lineside_train.options import TrainOptions


def build_network(options: TrainOptions, channels: int, labels: int) -> Any:  # noqa: ANN401
    """A network that isn't trained, or starts from the weights that `options` names.

    Args:
        options: `arch`, `image_size`, `width`, `units`, `weights` and `fine_tune` are looked at.
        channels: 1 for gray, 3 for rgb.
        labels: how many.

    Raises:
        TrainError: the weights can't be had, or don't fit.
    """
    keras = load_keras()
    size = options.image_size
    pixels = keras.Input((size, size, channels), name="pixels")
    # The range that everybody's ImageNet weights for these networks were trained with, too; it is
    # written nowhere else. Not as a Rescaling layer: like this the converter folds it into one
    # subtraction and keeps the full resolution of 8 bits.
    x = (pixels - 127.5) * (1 / 127.5)
    x = (BODIES | BACKBONES)[options.arch](x, options)
    # In float32 whatever the others compute in: a loss wants all digits.
    logits = keras.layers.Dense(labels, name="logits", dtype="float32")(x)
    network = keras.Model(pixels, logits, name=options.arch)
    if options.weights is not None:
        start_from(network, options, options.weights)
    return network


def without_head(network: Any) -> Any:  # noqa: ANN401
    """What the last layer, `logits`, is given: a model that shares the network's other layers.

    Output shape: (batch, features)
    """
    return load_keras().Model(network.inputs[0], network.get_layer("logits").input)
