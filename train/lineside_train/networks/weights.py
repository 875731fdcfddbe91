"""Trained weights: from a file, or downloaded by Keras.

The layers of both networks are paired in order, so the names that somebody gave them play no part.
Where a network sees gray, its first convolution gets the sum over the colours: what the trained one
says of a gray picture, with a third of the work.
"""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside.errors import TrainError
from lineside.extras import require
from lineside_train.backend import load_keras
from lineside_train.networks.imagenet import BACKBONES, donor
from lineside_train.networks.timm import read_timm
from lineside_train.options import TrainOptions

PUBLISHED: Final = {
    "mobilenet_v1": ("MobileNet", (0.25, 0.5, 0.75, 1.0)),
    "mobilenet_v2": ("MobileNetV2", (0.35, 0.5, 0.75, 1.0)),
}
"""What `keras.applications` has weights for: its name, and the widths."""

_STORED: Final = {
    "Conv2D": "conv2d",
    "DepthwiseConv2D": "depthwise_conv2d",
    "BatchNormalization": "batch_normalization",
}
"""What a `.weights.h5` calls the layers of these classes; those after the first get a number."""

Values = list[npt.NDArray[np.generic]]


def start_from(network: Any, options: TrainOptions, weights: str) -> None:  # noqa: ANN401
    """Give a network trained weights, all but its last layer.

    Batch normalization is frozen: the trained mean and variance are of millions of images, those of
    a batch are of a few dozen. (And in some files it is folded into the convolutions.)

    Args:
        network: of `build_network`; its weights are replaced.
        options: `arch`, `width` and `fine_tune` are looked at.
        weights: `imagenet`, or the path of a `.weights.h5`, `.h5`, `.keras` or `.safetensors` file.

    Raises:
        TrainError: they can't be had, or are of another network; names the layer.
    """
    batch_norm = load_keras().layers.BatchNormalization
    given = _downloaded(options) if weights == "imagenet" else _read(Path(weights), options)
    takers = [layer for layer in network.layers if layer.weights and layer.name != "logits"]
    name = f"--weights {weights}"
    if len(given) != len(takers):
        msg = (
            f"{name} has {len(given)} layers with weights, {options.arch} has {len(takers)}: "
            "it is of another architecture"
        )
        raise TrainError(msg)
    for layer, (giver, values) in zip(takers, given, strict=True):
        _hand_over(layer, giver, values, f"{name} does not fit --arch {options.arch}")
    for layer in takers:
        layer.trainable = options.fine_tune == "all" and not isinstance(layer, batch_norm)


def _hand_over(layer: Any, giver: str, values: Values, name: str) -> None:  # noqa: ANN401
    wanted = [tuple(variable.shape) for variable in layer.weights]
    if len(wanted) == 1 == len(values) and len(wanted[0]) == 4:
        (value,) = values
        if wanted[0] == (*value.shape[:2], 1, *value.shape[3:]) and value.shape[2] == 3:
            values = [value.sum(axis=2, keepdims=True)]
    found = [value.shape for value in values]
    if found != wanted:
        msg = (
            f"{name}: its layer {giver!r} has weights of {_shapes(found)}, "
            f"{_shapes(wanted)} are expected: check --width and --colour"
        )
        raise TrainError(msg)
    if not all(np.isfinite(value).all() for value in values):
        msg = f"{name}: its layer {giver!r} holds weights that are no numbers"
        raise TrainError(msg)
    layer.set_weights(values)


def _shapes(shapes: list[tuple[int, ...]]) -> str:
    return " and ".join("x".join(map(str, shape)) for shape in dict.fromkeys(shapes))


def _values(network: Any) -> list[tuple[str, Values]]:  # noqa: ANN401
    """Name and weights of each layer that has some, but for the last one, `logits`."""
    return [
        (layer.name, layer.get_weights())
        for layer in network.layers
        if layer.weights and layer.name != "logits"
    ]


def _downloaded(options: TrainOptions) -> list[tuple[str, Values]]:
    if options.arch not in PUBLISHED:
        msg = (
            f"Keras has no weights to download for --arch {options.arch}: name a file, "
            f"or take {' or '.join(PUBLISHED)}"
        )
        raise TrainError(msg)
    application, widths = PUBLISHED[options.arch]
    if options.width not in widths:
        msg = (
            f"--weights imagenet has no --width {options.width:g} of {options.arch}: "
            f"take {', '.join(f'{width:g}' for width in widths)}"
        )
        raise TrainError(msg)
    build = getattr(load_keras().applications, application)
    try:
        network = build(
            input_shape=(224, 224, 3), alpha=options.width, include_top=False, weights="imagenet"
        )
    except Exception as error:
        msg = (
            f"--weights imagenet can't be downloaded ({str(error).splitlines()[0]}): without a way "
            "out of the plant, name a file that was downloaded elsewhere"
        )
        raise TrainError(msg) from error
    return _values(network)


def _check_shapes(network: Any, path: Path) -> None:  # noqa: ANN401
    """Refuse a `.weights.h5` of another network, and say which layer it is.

    Keras would say it in some hundred lines, and leave layers that are missing as they were drawn.

    Raises:
        TrainError: a layer is missing, or of another shape.
    """
    with require("h5py", extra="train").File(path) as file:
        if "layers" not in file:  # the older format, which Keras checks by itself
            return
        counted: Counter[str] = Counter()
        for layer in (one for one in network.layers if one.weights):
            kind = _STORED[type(layer).__name__]
            stored = file["layers"].get(f"{kind}_{counted[kind]}" if counted[kind] else kind)
            counted[kind] += 1
            values = stored["vars"].values() if stored is not None else ()
            found = [tuple(value.shape) for value in values]
            wanted = [tuple(variable.shape) for variable in layer.weights]
            if found != wanted:
                msg = (
                    f"--weights {path} does not fit: its layer {layer.name!r} "
                    + (f"has weights of {_shapes(found)}" if found else "is missing")
                    + f", {_shapes(wanted)} are expected: check --arch and --width"
                )
                raise TrainError(msg)


def _read(path: Path, options: TrainOptions) -> list[tuple[str, Values]]:
    if not path.is_file():
        msg = f"--weights {path}: there is no such file; 'imagenet' downloads"
        raise TrainError(msg)
    keras = load_keras()
    try:
        if path.suffix == ".keras":
            return _values(keras.models.load_model(path, compile=False, safe_mode=True))
        if path.suffix == ".safetensors" and options.arch == "efficientnet_lite0":
            return read_timm(path, donor(options.arch, options.width))
        if path.suffix == ".h5" and options.arch in BACKBONES:
            network = donor(options.arch, options.width)
            _check_shapes(network, path)
            with warnings.catch_warnings():  # a line for each list of layers inside a layer
                warnings.simplefilter("ignore", UserWarning)
                network.load_weights(path)
            return _values(network)
    except (OSError, ValueError, TypeError, KeyError) as error:
        msg = f"--weights {path} can't be read: {str(error).strip().splitlines()[0]}"
        raise TrainError(msg) from error
    kinds = ".keras, .weights.h5 or .h5" if options.arch in BACKBONES else ".keras"
    if options.arch == "efficientnet_lite0":
        kinds = ".keras, .weights.h5 or .safetensors"
    msg = f"--weights {path}: a file {kinds} is expected for --arch {options.arch}"
    raise TrainError(msg)
