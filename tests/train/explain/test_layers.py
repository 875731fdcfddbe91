"""Class activation maps: that they are what they claim, on a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineside.dataset import load_tensors
from lineside.run import open_run
from lineside_train.backend import load_keras
from lineside_train.explain.layers import LastLayers
from lineside_train.fitting.examples import predict
from lineside_train.networks.build import build_network
from lineside_train.options import TrainOptions

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def network(run_folder: Path) -> Any:  # noqa: ANN401 - Keras ships no types
    return load_keras().models.load_model(run_folder / "model.keras", compile=False)


@pytest.fixture(scope="module")
def tensors(run_folder: Path) -> np.ndarray:
    run = open_run(run_folder)
    files = [row.file for row in run.rows("test")][::6]
    where = Path(run.info.data_root)
    return load_tensors(where, files, run.info.preprocess, run.info.image_size, what="Reading")


def test_the_last_layer_gives_the_networks_logits(network: Any, tensors: np.ndarray) -> None:  # noqa: ANN401
    layers = LastLayers(network)
    found = layers.logits(layers.embed(tensors))
    assert np.allclose(found, predict(network, tensors), atol=1e-4)


def test_a_map_is_the_gradient_of_the_logits(network: Any, tensors: np.ndarray) -> None:  # noqa: ANN401
    """Grad-CAM by its definition, with a gradient, gives the same maps up to a factor."""
    tensorflow = pytest.importorskip(
        "tensorflow", reason="gradients are taken by TensorFlow, of the extra 'train'"
    )
    keras = load_keras()
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the gradient tape is TensorFlow's: unset KERAS_BACKEND")
    labels = np.arange(len(tensors)) % 2
    pooling = next(x for x in network.layers if isinstance(x, keras.layers.GlobalAveragePooling2D))
    maps = predict(keras.Model(network.inputs, pooling.input), tensors)
    head = network.get_layer("logits")
    with tensorflow.GradientTape() as tape:
        activations = tensorflow.convert_to_tensor(maps)
        tape.watch(activations)
        logits = head(tensorflow.reduce_mean(activations, axis=(1, 2)))
        own = tensorflow.gather(logits, labels, batch_dims=1)
        apart = own - (tensorflow.reduce_sum(logits, axis=1) - own)
    weights = tape.gradient(apart, activations).numpy().mean(axis=(1, 2))  # their equation 1
    expected = np.maximum(np.einsum("nyxk,nk->nyx", maps, weights), 0)  # their equation 2
    found = LastLayers(network).heat(tensors, labels)
    assert found.max() > 0
    assert np.allclose(found, expected * maps.shape[1] * maps.shape[2], atol=1e-4)


def test_what_is_covered_up_is_what_counted(network: Any, tensors: np.ndarray) -> None:  # noqa: ANN401
    """Where a map is hottest, grey instead of the picture lowers the logit more than where cold."""
    layers = LastLayers(network)
    labels = predict(network, tensors).argmax(axis=1)
    heat = layers.heat(tensors, labels)
    side = tensors.shape[1] // heat.shape[1]
    before = predict(network, tensors)
    lost = []
    for spot in (heat.reshape(len(heat), -1).argmax(axis=1), heat.reshape(len(heat), -1).argmin(1)):
        covered = tensors.copy()
        for image, place in enumerate(spot):
            row, column = divmod(int(place), heat.shape[2])
            rows = slice(max(0, (row - 1) * side), (row + 2) * side)
            columns = slice(max(0, (column - 1) * side), (column + 2) * side)
            covered[image, rows, columns] = covered[image].mean()
        after = predict(network, covered)
        apart = [
            z[np.arange(len(z)), labels] - z[np.arange(len(z)), 1 - labels] for z in (before, after)
        ]
        lost.append(float(np.mean(apart[0] - apart[1])))
    assert lost[0] > lost[1]


def test_an_mlp_has_no_maps() -> None:
    options = TrainOptions(arch="mlp", image_size=16)
    layers = LastLayers(build_network(options, 1, 3))
    assert not layers.has_maps
    assert layers.embed(np.zeros((2, 16, 16, 1), np.uint8)).shape == (2, 32)


@pytest.mark.parametrize("arch", ["separable", "mobilenet_v2"])
def test_other_networks_have_maps(arch: str) -> None:
    options = TrainOptions(arch=arch, image_size=64, width=0.35 if arch == "mobilenet_v2" else 0.5)
    layers = LastLayers(build_network(options, 3, 4))
    assert layers.has_maps
    heat = layers.heat(np.full((2, 64, 64, 3), 90, np.uint8), np.array([0, 3]))
    assert heat.shape[0] == 2
    assert heat.min() >= 0
