"""The plain converter: full int8 by TFLiteConverter, as its manual says, and nothing else.

    python bench/plain_int8.py MODEL.keras IMAGES.npy OUT.tflite

IMAGES is uint8, n x height x width x channels.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf


def main(model: Path, images: Path, out: Path) -> None:
    """Convert."""
    pixels = np.load(images)

    def representative() -> Iterator[list[npt.NDArray[np.float32]]]:
        for one in pixels:
            yield [one[np.newaxis].astype(np.float32)]

    loaded = keras.saving.load_model(model, compile=False)
    # XNNPACK wants a fixed batch, so that the comparison of times is fair.
    fixed = keras.Input(batch_shape=(1, *loaded.input_shape[1:]))
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(fixed, loaded(fixed)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.int8
    out.write_bytes(converter.convert())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
