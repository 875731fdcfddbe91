"""Weights of EfficientNet-Lite0 as timm publishes them: `tf_efficientnet_lite0`, as safetensors.

PyTorch's names and order of axes, made Keras'. timm keeps TensorFlow's padding, epsilon and range
of pixels (-1 to 1) in that model, so nothing else differs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside.errors import TrainError
from lineside.extras import require

_LAST: Final = {
    "stem_conv": "conv_stem",
    "stem_bn": "bn1",
    "head_conv": "conv_head",
    "head_bn": "bn2",
}

_FIRST_STAGE: Final = {
    "depthwise": "conv_dw",
    "depthwise_bn": "bn1",
    "project": "conv_pw",
    "project_bn": "bn2",
}
"""Its blocks don't expand."""

_OTHER_STAGES: Final = {
    "expand_conv": "conv_pw",
    "expand_bn": "bn1",
    "depthwise": "conv_dw",
    "depthwise_bn": "bn2",
    "project": "conv_pwl",
    "project_bn": "bn3",
}

Values = list[npt.NDArray[np.generic]]


def timm_name(layer: str) -> str:
    """What timm calls a layer of `efficientnet_lite0`.

    Args:
        layer: such as `stage2_block1_project`.
    """
    found = re.fullmatch(r"stage(\d)_block(\d)_(\w+)", layer)
    if found is None:
        return _LAST[layer]
    stage, block, part = int(found[1]) - 1, int(found[2]) - 1, found[3]
    return f"blocks.{stage}.{block}.{(_OTHER_STAGES if stage else _FIRST_STAGE)[part]}"


def read_timm(path: Path, network: Any) -> list[tuple[str, Values]]:  # noqa: ANN401 - no types
    """Read a file of timm's.

    Args:
        path: of a `.safetensors` file.
        network: EfficientNet-Lite0 without its last layer, whose names are looked at.

    Returns:
        For each layer that has weights, in order: timm's name of it, and the weights in Keras'
        order of axes.

    Raises:
        TrainError: it is damaged, or of another network.
    """
    safetensors = require("safetensors", extra="train")
    numpy_reader = require("safetensors.numpy", extra="train")
    try:
        arrays = numpy_reader.load_file(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        msg = f"--weights {path} can't be read: {str(error).splitlines()[0]}"
        raise TrainError(msg) from error
    found = []
    for layer in (one for one in network.layers if one.weights):
        name = timm_name(layer.name)
        parts = ("weight", "bias", "running_mean", "running_var")
        values = [arrays[f"{name}.{part}"] for part in parts if f"{name}.{part}" in arrays]
        if len(values) != len(layer.weights):
            msg = (
                f"--weights {path} does not fit: {name!r} is missing; timm's "
                "tf_efficientnet_lite0 is expected"
            )
            raise TrainError(msg)
        if values[0].ndim == 4:
            # PyTorch: out, in, height, width; of a depthwise one: channels, 1, height, width.
            depthwise = type(layer).__name__ == "DepthwiseConv2D"
            values = [values[0].transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))]
        found.append((name, values))
    return found
