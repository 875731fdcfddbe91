"""A run's Keras model as a .tflite in float32: `python -m tests.support.float_model RUN OUT`.

TensorFlow lives in a process of its own in the tests: it takes its time, and raises warnings
that are not ours.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import tensorflow as tf


def main(run: Path, out: Path) -> None:
    """Write OUT, which takes raw pixels as float32, a batch of 1."""
    model = keras.saving.load_model(run / "model.keras", compile=False)
    image = keras.Input(batch_shape=(1, *model.input_shape[1:]), name="image")
    converter = tf.lite.TFLiteConverter.from_keras_model(
        keras.Model(image, model(image, training=False))
    )
    out.write_bytes(converter.convert())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
