from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from lineside_train.backend import load_keras
from lineside_train.networks import build_network
from lineside_train.options import IMAGENET, MIN_IMAGENET_SIZE, Arch, TrainOptions

pytestmark = pytest.mark.train

EXACT_WHEN_QUANTIZED = {
    *("InputLayer", "Subtract", "Multiply", "Conv2D", "DepthwiseConv2D", "BatchNormalization"),
    *("ReLU", "MaxPooling2D", "GlobalAveragePooling2D", "Dropout", "Flatten", "Dense"),
    *("Add", "ZeroPadding2D"),
}


@pytest.mark.parametrize("arch", get_args(Arch))
@pytest.mark.parametrize(("size", "channels", "labels"), [(16, 1, 2), (50, 3, 5), (128, 1, 2)])
def test_every_network_takes_pixels_and_gives_logits(
    arch: str, size: int, channels: int, labels: int
) -> None:
    size = max(size, MIN_IMAGENET_SIZE) if arch in IMAGENET else size
    network = build_network(TrainOptions(arch=arch, image_size=size), channels, labels)
    assert network.input_shape == (None, size, size, channels)
    assert network.input.dtype == "float32"
    assert network.output_shape == (None, labels)
    assert {type(op).__name__ for op in network.operations} <= EXACT_WHEN_QUANTIZED
    assert network.layers[-1].activation.__name__ == "linear"


def test_pixels_are_normalized_inside_to_minus_one_and_one() -> None:
    keras = load_keras()
    network = build_network(TrainOptions(image_size=16), 1, 2)
    normalized = keras.Model(network.input, network.layers[1].input)
    pixels = np.linspace(0, 255, 256, dtype=np.float32).reshape(1, 16, 16, 1)
    found = keras.ops.convert_to_numpy(normalized(pixels)).ravel()
    assert np.allclose(found, np.linspace(-1, 1, 256), atol=1e-6)


@pytest.mark.parametrize("arch", ["plain", "separable", "mobilenet_v1"])
def test_the_width_scales_the_network(arch: str) -> None:
    sizes = [
        build_network(TrainOptions(arch=arch, width=width), 1, 2).count_params()
        for width in (0.25, 0.5, 1.0, 2.0)
    ]
    assert sizes == sorted(sizes)
    assert sizes[-1] / sizes[-2] == pytest.approx(4, rel=0.2)


def test_separable_is_smaller_than_plain() -> None:
    plain = build_network(TrainOptions(), 1, 2).count_params()
    separable = build_network(TrainOptions(arch="separable"), 1, 2).count_params()
    assert separable < plain / 5


def test_the_textbook_baseline_has_as_many_weights_as_a_textbook_says() -> None:
    network = build_network(TrainOptions(arch="mlp", image_size=64, units=32), 1, 2)
    assert network.count_params() == 64 * 64 * 32 + 32 + 32 * 2 + 2


def test_the_same_weights_whether_or_not_it_was_saved(tmp_path: Path) -> None:
    keras = load_keras()
    network = build_network(TrainOptions(image_size=32), 1, 2)
    network.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 1)).astype(np.float32)
    assert np.allclose(network(pixels), loaded(pixels), atol=1e-6)
