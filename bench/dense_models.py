"""Full-int8 models with dense layers: `python bench/dense_models.py RUN CALIBRATION.npy OUT`.

    OUT/tensor.tflite    a network with two dense layers, one scale for the weights of each
    OUT/channel.tflite   the same, a scale for each output: tflite-runtime dies of it on arm64
    OUT/run_channel.tflite   a run's network, converted like the second

The first two are not trained: what they show does not hang on their weights. TensorFlow has a
process of its own, since it greets.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf


def two_dense_layers(shape: tuple[int, ...]) -> Any:  # noqa: ANN401 - Keras has no types
    """A small network, from raw pixels to two logits; its dense weights differ in size."""
    keras.utils.set_random_seed(0)
    image = keras.Input(batch_shape=(1, *shape))
    x = keras.layers.Rescaling(1 / 255)(image)
    for filters in (8, 16):
        x = keras.layers.Conv2D(filters, 3, strides=2, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(64, activation="relu")(x)
    model = keras.Model(image, keras.layers.Dense(2)(x))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel * rng.uniform(0.2, 3.0, kernel.shape[-1]), bias])
    return model


def convert(
    model: Any,  # noqa: ANN401 - Keras has no types
    pixels: npt.NDArray[np.uint8],
    *,
    per_channel: bool,
) -> bytes:
    """Full int8: raw uint8 pixels in, int8 logits out."""
    image = keras.Input(batch_shape=(1, *pixels.shape[1:]), name="image")
    whole = keras.Model(image, model(image, training=False))
    converter = tf.lite.TFLiteConverter.from_keras_model(whole)

    def pictures() -> Iterator[list[npt.NDArray[np.float32]]]:
        for tensor in pixels:
            yield [tensor[np.newaxis].astype(np.float32)]

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = pictures
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
    converter._experimental_disable_per_channel_quantization_for_dense_layers = (  # noqa: SLF001
        not per_channel
    )
    return bytes(converter.convert())


def main(run: Path, calibration: Path, out: Path) -> None:
    """Write the three."""
    pixels = np.load(calibration)
    network = two_dense_layers(pixels.shape[1:])
    trained = keras.saving.load_model(run / "model.keras", compile=False)
    (out / "tensor.tflite").write_bytes(convert(network, pixels, per_channel=False))
    (out / "channel.tflite").write_bytes(convert(network, pixels, per_channel=True))
    (out / "run_channel.tflite").write_bytes(convert(trained, pixels, per_channel=True))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
