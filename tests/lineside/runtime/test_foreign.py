"""Models that nobody here made, from a picture to a verdict, each fed as its manifest says."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lineside.bundle import Bundle, open_bundle
from lineside.image import Frame, decode
from lineside.inspector import Inspector
from lineside.runtime.trial import load_bundle
from tests.support.foreign import write_foreign
from tests.support.shared import shared
from tests.support.ways import channels_first, never_quantized, other_input, probabilities

HALF = (127.5, 127.5)
CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
MODELS: dict[str, tuple[tuple[float, float] | None, list[str]]] = {
    # file -> normalization, labels (none: they are in the file)
    "mobilenet_v1_0.25_224_1_metadata_1.tflite": (HALF, []),
    "mobilenet_v1_0.25_224_quant.tflite": ((128, 128), []),
    "vww_96_float.tflite": ((0, 255), ["no person", "person"]),
    "vww_96_int8.tflite": ((0, 255), ["no person", "person"]),
    "pretrainedResnet_quant.tflite": (None, CIFAR),
    "apple_fresh_rotten_quant.tflite": ((0, 255), ["fresh", "rotten"]),
}


def picture(name: str) -> bytes:
    return shared(f"models/images/{name}").read_bytes()


def labels_inside(model: Path) -> list[str]:
    """The lines of the labels in a model file; what comes twice gets its line number."""
    with zipfile.ZipFile(model) as archive:
        lines = archive.read("labels.txt").decode().splitlines()
    return [line if lines.count(line) == 1 else f"{line} {n}" for n, line in enumerate(lines)]


def bundle_of(file: str, out: Path) -> Bundle:
    model = shared(f"models/works/{file}")
    normalization, labels = MODELS[file]
    return write_foreign(
        out,
        model.read_bytes(),
        labels or labels_inside(model),
        {"golden/000.jpg": picture("hot_dog.jpg"), "golden/001.jpg": picture("cat_720p.jpg")},
        normalization=normalization,
    )


@pytest.mark.parametrize("file", MODELS)
def test_it_is_tried_and_loaded_like_any_bundle(file: str, tmp_path: Path) -> None:
    bundle = bundle_of(file, tmp_path / "b")
    inspector = load_bundle(bundle.path)
    frame = decode(picture("missvickie_potato_chips.bmp"))
    answer = inspector.inspect(frame).answer
    assert answer.verdict in {"ok", "review"}  # sorting
    assert answer.label in {label.name for label in bundle.manifest.labels}
    # They end in a softmax: what the bundle says is what it gave.
    tensor = inspector.tensor(frame)
    p = inspector.engine.outputs[0].dequantize(inspector.outputs(tensor))
    assert answer.score == pytest.approx(1.0 - p.max() / p.sum(), abs=1e-6)


def test_both_mobilenets_see_a_hot_dog(tmp_path: Path) -> None:
    frame = decode(picture("hot_dog.jpg"))
    float_, quantized = (
        Inspector(bundle_of(file, tmp_path / file.replace(".", "_"))).inspect(frame).answer
        for file in list(MODELS)[:2]
    )
    assert float_.label == "hotdog"
    # The quantized one has a grid of 1/256: there the bakery is just as probable.
    best = dict(quantized.scores)
    assert best["hotdog"] == max(best.values())
    assert best["hotdog"] == pytest.approx(dict(float_.scores)["hotdog"], abs=0.1)


def test_both_vww_models_agree(tmp_path: Path) -> None:
    pictures = [decode(picture(p.name)) for p in sorted(shared("models/images").iterdir())]
    first, second = (
        Inspector(bundle_of(f"vww_96_{kind}.tflite", tmp_path / kind)) for kind in ("float", "int8")
    )
    for frame in pictures:
        one, other = first.inspect(frame).answer, second.inspect(frame).answer
        assert one.label == other.label
        assert one.score == pytest.approx(other.score, abs=0.05)


def test_int8_gets_the_pixel_minus_128(tmp_path: Path) -> None:
    inspector = Inspector(bundle_of("pretrainedResnet_quant.tflite", tmp_path / "b"))
    tensor = inspector.tensor(decode(picture("cat_720p.jpg")))
    direct = inspector.engine.invoke((tensor.astype(int) - 128).astype(np.int8))[0]
    assert np.array_equal(inspector.outputs(tensor), direct.reshape(-1))


def test_channels_first_in_colour(tmp_path: Path) -> None:
    model = shared("models/works/vww_96_int8.tflite").read_bytes()
    frame = decode(picture("cat_720p.jpg"))
    logits = []
    for layout, bytes_ in (("nhwc", model), ("nchw", channels_first(model))):
        bundle = write_foreign(
            tmp_path / layout,
            bytes_,
            MODELS["vww_96_int8.tflite"][1],
            {"golden/000.jpg": picture("cat_720p.jpg")},
            normalization=(0, 255),
            layout=layout,  # type: ignore[arg-type]
        )
        logits.append(load_bundle(bundle.path).logits(Inspector(bundle).tensor(frame)))
    assert np.array_equal(logits[0], logits[1])


OWN: dict[str, Callable[[bytes], bytes]] = {
    "float": lambda model: other_input(model, "float32"),
    "int8": lambda model: other_input(model, "int8"),
    "never quantized": lambda model: never_quantized(other_input(model, "float32")),
    "channels first": channels_first,
    "float, channels first": lambda model: channels_first(other_input(model, "float32")),
    "probabilities": probabilities,
    "one probability": lambda model: probabilities(model, binary=True),
}


@pytest.fixture(scope="module")
def goldens(bundle_folder: Path) -> list[Frame]:
    bundle = open_bundle(bundle_folder)
    return [decode(bundle.files[golden.file]) for golden in bundle.manifest.golden]


@pytest.mark.parametrize("way", OWN)
def test_another_way_in_or_out_says_the_same(
    bundle_folder: Path, goldens: list[Frame], tmp_path: Path, way: str
) -> None:
    """The demo's own model, with operators before and behind it."""
    plain = open_bundle(bundle_folder)
    kinds = {"probabilities": "class_probabilities", "one probability": "binary_probability"}
    names = [label.name for label in plain.manifest.labels]
    pictures = {"golden/000.png": plain.files["golden/000.png"]}
    bundle = write_foreign(
        tmp_path / "b",
        OWN[way](plain.model),
        names,
        pictures,
        kind=kinds.get(way, "class_logits"),
        layout="nchw" if "channels first" in way else "nhwc",
        good=0,
    )
    same = write_foreign(
        tmp_path / "same", plain.model, names, pictures, kind="class_logits", good=0
    )
    inspector, reference = load_bundle(bundle.path), Inspector(same)
    for frame in goldens:
        answer, expected = inspector.inspect(frame).answer, reference.inspect(frame).answer
        # A probability in steps of 1/256.
        assert answer.score == pytest.approx(expected.score, abs=0.004 if way in kinds else 1e-9)
        assert {name for name, _ in answer.scores} == set(names)
