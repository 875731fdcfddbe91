"""Networks that start from weights of others: real ones, trained on ImageNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lineside.errors import TrainError
from lineside.run import open_run
from lineside_train.backend import load_keras
from lineside_train.fitting.examples import predict
from lineside_train.networks import build_network
from lineside_train.networks.imagenet import donor
from lineside_train.networks.timm import timm_name
from lineside_train.options import TrainOptions
from tests.support.command import lineside
from tests.support.shared import shared

pytestmark = pytest.mark.train

V1 = "weights/mobilenet_v1_0.25_224_imagenet_notop_from_float_tflite.weights.h5"
V2 = "weights/mobilenet_v2_1.0_224_imagenet_notop_dequantized_from_int8.weights.h5"


def options(**changed: object) -> TrainOptions:
    how = {"arch": "mobilenet_v1", "width": 0.25, "image_size": 64, "weights": str(shared(V1))}
    return TrainOptions(**how | changed)


def features(network: object) -> object:
    return load_keras().Model(network.input, network.get_layer("logits").input)


def refused(**changed: object) -> str:
    with pytest.raises(TrainError) as error:
        build_network(options(**changed), 3, 2)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("arch", "width", "file"), [("MobileNet", 0.25, V1), ("MobileNetV2", 1, V2)]
)
def test_the_layers_say_what_keras_own_network_says(arch: str, width: float, file: str) -> None:
    keras = load_keras()
    ours = build_network(
        options(
            arch="mobilenet_v1" if width == 0.25 else "mobilenet_v2",
            width=width,
            image_size=96,
            weights=str(shared(file)),
        ),
        3,
        2,
    )
    theirs = getattr(keras.applications, arch)(
        input_shape=(96, 96, 3), alpha=width, include_top=False, weights=None, pooling="avg"
    )
    theirs.load_weights(shared(file))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3)).astype(np.uint8)
    expected = theirs.predict_on_batch(pixels / np.float32(127.5) - 1)
    assert np.allclose(predict(features(ours), pixels), expected, atol=1e-4)
    assert np.abs(expected).max() > 0.1


def test_a_gray_picture_is_seen_as_the_trained_network_sees_it() -> None:
    gray, colour = (features(build_network(options(), channels, 2)) for channels in (1, 3))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 1)).astype(np.uint8)
    expected = predict(colour, np.repeat(pixels, 3, axis=3))
    assert np.allclose(predict(gray, pixels), expected, atol=1e-4)


def test_batch_normalization_stays_frozen_and_the_head_can_learn_alone() -> None:
    for tune, trainable in (("all", 1 + 27), ("head", 1)):
        network = build_network(options(fine_tune=tune), 1, 2)
        learning = [layer for layer in network.layers if layer.trainable_weights]
        assert len(learning) == trainable
        assert not any("bn" in layer.name for layer in learning)


def test_weights_of_another_run(run_folder: Path) -> None:
    model = run_folder / "model.keras"
    trained = load_keras().models.load_model(model, compile=False)
    how = TrainOptions(image_size=64, weights=str(model))
    network = build_network(how, 1, 5)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 1)).astype(np.uint8)
    assert np.allclose(predict(features(network), pixels), predict(features(trained), pixels))
    assert network.output_shape == (None, 5)
    with pytest.raises(TrainError, match=r"its layer 'conv2d\w*' has weights of 5x5x1x8, 5x5x1x16"):
        build_network(TrainOptions(image_size=64, width=2.0, weights=str(model)), 1, 2)
    with pytest.raises(TrainError, match="12 layers with weights, separable has 22: it is of anot"):
        build_network(TrainOptions(image_size=64, arch="separable", weights=str(model)), 1, 2)
    with pytest.raises(TrainError, match=r"a file \.keras is expected for --arch plain"):
        build_network(TrainOptions(image_size=64, weights=str(run_folder / "run.json")), 1, 2)


def test_weights_of_another_shape_say_which_layer() -> None:
    assert refused(width=0.5) == (
        f"--weights {shared(V1)} does not fit: its layer 'conv1' has weights of 3x3x3x8, "
        "3x3x3x16 are expected: check --arch and --width"
    )
    assert refused(weights=str(shared(V2))) == (
        f"--weights {shared(V2)} does not fit: its layer 'conv1' has weights of 3x3x3x32, "
        "3x3x3x8 are expected: check --arch and --width"
    )
    assert "its layer " in refused(arch="mobilenet_v2", width=1.0)


def test_files_that_hold_no_weights(tmp_path: Path) -> None:
    assert "there is no such file; 'imagenet' downloads" in refused(weights=str(tmp_path / "none"))
    for name in ("empty.weights.h5", "empty.h5", "empty.keras"):
        (tmp_path / name).touch()
        assert f"{name} can't be read: " in refused(weights=str(tmp_path / name))
    cut = tmp_path / "cut.weights.h5"
    cut.write_bytes(shared(V1).read_bytes()[:400_000])
    assert "cut.weights.h5 can't be read: " in refused(weights=str(cut))
    (tmp_path / "list.txt").touch()
    assert "a file .keras, .weights.h5 or .h5 is expected" in refused(
        weights=str(tmp_path / "list.txt")
    )


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    network = build_network(options(), 3, 2)
    layer = network.get_layer("conv_pw_3")
    (kernel,) = layer.get_weights()
    kernel[0, 0, 0, 0] = np.nan
    layer.set_weights([kernel])
    network.save(tmp_path / "broken.keras")
    assert "its layer 'conv_pw_3' holds weights that are no numbers" in refused(
        weights=str(tmp_path / "broken.keras")
    )


def test_what_cant_be_downloaded() -> None:
    assert refused(arch="efficientnet_lite0", width=1.0, weights="imagenet") == (
        "Keras has no weights to download for --arch efficientnet_lite0: name a file, "
        "or take mobilenet_v1 or mobilenet_v2"
    )
    assert refused(width=0.3, weights="imagenet") == (
        "--weights imagenet has no --width 0.3 of mobilenet_v1: take 0.25, 0.5, 0.75, 1"
    )


def test_efficientnet_lite0_is_as_large_as_published() -> None:
    how = TrainOptions(arch="efficientnet_lite0", image_size=224)
    network = build_network(how, 3, 1000)
    learned = sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)
    assert learned == 4_652_008


def published(folder: Path) -> tuple[Path, object]:
    """EfficientNet-Lite0 as timm would publish it, with weights drawn by chance; and by Keras."""
    save_file = pytest.importorskip(
        "safetensors.numpy", reason="timm's weights need the extra 'train'"
    ).save_file
    network = donor("efficientnet_lite0", 1.0)
    random = np.random.default_rng(0)
    arrays = {"classifier.weight": np.zeros((1000, 1280), np.float32)}
    for layer in (one for one in network.layers if one.weights):
        values = [
            random.uniform(0.5, 1.5, value.shape).astype(np.float32)
            if value.ndim == 1
            else random.normal(0, 0.3 / np.sqrt(value[..., 0].size), value.shape).astype(np.float32)
            for value in layer.get_weights()
        ]
        layer.set_weights(values)
        if values[0].ndim == 4:
            depthwise = type(layer).__name__ == "DepthwiseConv2D"
            values = [values[0].transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))]
        parts = ("weight", "bias", "running_mean", "running_var")
        for part, value in zip(parts, values, strict=False):
            arrays[f"{timm_name(layer.name)}.{part}"] = np.ascontiguousarray(value)
    save_file(arrays, folder / "lite0.safetensors")
    return folder / "lite0.safetensors", network


def test_weights_as_timm_publishes_them(tmp_path: Path) -> None:
    path, theirs = published(tmp_path)
    how = TrainOptions(arch="efficientnet_lite0", image_size=224, weights=str(path))
    ours = build_network(how, 3, 2)
    pixels = np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3)).astype(np.uint8)
    maps = theirs.predict_on_batch(pixels / np.float32(127.5) - 1)
    expected = np.asarray(maps).mean(axis=(1, 2))
    assert np.allclose(predict(features(ours), pixels), expected, rtol=1e-3, atol=1e-4)
    assert expected.std() > 1e-3
    assert timm_name("stage1_block1_project") == "blocks.0.0.conv_pw"
    assert timm_name("stage6_block4_project_bn") == "blocks.5.3.bn3"


def test_files_that_are_not_timms(tmp_path: Path) -> None:
    save_file = pytest.importorskip(
        "safetensors.numpy", reason="timm's weights need the extra 'train'"
    ).save_file
    other, cut = tmp_path / "other.safetensors", tmp_path / "cut.safetensors"
    save_file({"fc.weight": np.zeros((2, 2), np.float32)}, other)
    cut.write_bytes(other.read_bytes()[:-3])
    how = {"arch": "efficientnet_lite0", "width": 1.0}
    assert "'conv_stem' is missing; timm's tf_efficientnet_lite0 is expected" in refused(
        **how, weights=str(other)
    )
    assert "cut.safetensors can't be read: " in refused(**how, weights=str(cut))
    assert "a file .keras, .weights.h5 or .h5 is expected" in refused(weights=str(other))


# From the command line


def test_a_training_without_a_way_out_of_the_plant(cells: Path, tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"  # nothing listens there
    done = lineside(
        *("train", cells, "--out", tmp_path / "run", "--arch", "mobilenet_v1", "--width", 0.25),
        *("--weights", "imagenet", "--image-size", 32),
        ok=False,
        env={"KERAS_HOME": str(tmp_path), "https_proxy": nowhere, "http_proxy": nowhere},
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: --weights imagenet can't be downloaded (")
    assert last.endswith(
        "): without a way out of the plant, name a file that was downloaded elsewhere"
    )
    assert list(tmp_path.glob("run*")) == []


def test_tuning_a_network_of_others(cells: Path, tmp_path: Path) -> None:
    done = lineside(
        *("train", cells, "--out", tmp_path / "run", "--arch", "mobilenet_v1", "--width", 0.25),
        *("--weights", shared(V1), "--image-size", 96, "--epochs", 2),
    )
    run = open_run(tmp_path / "run")
    assert "parameters, 2 epochs in" in done.stdout
    assert run.info.preprocess.colour == "gray"
    assert run.metrics.figures["test"]["auroc"] > 0.75
