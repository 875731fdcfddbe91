"""The child that makes an untrained network int8 TFLite: as quick as the trained one would be.

    python -m lineside_train.search.untrained

A process of its own: it converts by TensorFlow whatever backend trains, and leaves the accelerator
to the training. Each line on stdin is a `Request`; each is answered by an empty line on stdout once
its file is written. What goes wrong ends the process, and stands at the end of stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from lineside.extras import require
from lineside_train.backend import load_keras
from lineside_train.networks import build_network
from lineside_train.options import TrainOptions

IMAGES: Final = 2
"""Noise to calibrate by: the ranges cost no time either."""


class Request(Struct, frozen=True, kw_only=True):
    """One network."""

    options: TrainOptions
    """What decides its shape; weights are not looked at."""
    channels: int
    """Of what it sees."""
    labels: int
    """How many."""
    out: str
    """The .tflite to write: uint8 pixels in, int8 logits out, a batch of 1."""


def convert(request: Request) -> bytes:
    """The network as a .tflite."""
    tensorflow: Any = require("tensorflow", extra="train")
    constants: Any = require("tensorflow.python.framework.convert_to_constants", extra="train")
    options = msgspec.structs.replace(request.options, weights=None, fine_tune="all")
    network = build_network(options, request.channels, request.labels)
    shape = (1, options.image_size, options.image_size, request.channels)
    traced = tensorflow.function(lambda pixels: network(pixels, training=False))
    whole = traced.get_concrete_function(tensorflow.TensorSpec(shape, tensorflow.float32))
    frozen = constants.convert_variables_to_constants_v2(whole)
    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: _noise(shape)
    converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tensorflow.uint8
    converter.inference_output_type = tensorflow.int8
    model: bytes = converter.convert()
    return model


def _noise(shape: tuple[int, ...]) -> Iterator[list[npt.NDArray[np.float32]]]:
    random = np.random.default_rng(0)
    for _ in range(IMAGES):
        pixels = random.integers(0, 256, shape).astype(np.float32)
        pixels.flat[:2] = 0, 255  # so that the input is pixels as they are
        yield [pixels]


def main() -> None:
    """Answer requests until stdin ends."""
    # Libraries print on stdout as well.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        keras = load_keras()
        for line in sys.stdin.buffer:
            request = msgspec.json.decode(line, type=Request)
            Path(request.out).write_bytes(convert(request))
            keras.utils.clear_session()
            answers.write("\n")
            answers.flush()


if __name__ == "__main__":
    main()
