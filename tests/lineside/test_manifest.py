"""manifest.json: read strictly where it matters, and open to what is not known yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lineside.errors import BundleError
from lineside.manifest import decode_manifest, encode_manifest


@pytest.fixture
def manifest(bundle_folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bundle_folder / "manifest.json").read_bytes())
    return found


def read(manifest: dict[str, Any]) -> None:
    decode_manifest(json.dumps(manifest).encode())


def test_it_survives_a_round_trip(bundle_folder: Path) -> None:
    data = (bundle_folder / "manifest.json").read_bytes()
    assert encode_manifest(decode_manifest(data)) == data


def test_it_says_what_a_station_needs(bundle_folder: Path) -> None:
    manifest = decode_manifest((bundle_folder / "manifest.json").read_bytes())
    assert [(label.name, label.good) for label in manifest.labels] == [
        ("defective", False),
        ("functional", True),
    ]
    assert manifest.input_size == (64, 64)
    assert manifest.preprocess.channels == 1
    assert manifest.model.inputs[0].source == "image"


def test_unknown_fields_are_ignored(manifest: dict[str, Any]) -> None:
    manifest["vendor"] = {"of": ["the", "future"]}
    manifest["models"][0]["outputs"][0]["vendor"] = 1
    manifest["labels"][0]["vendor"] = None
    read(manifest)


def test_a_newer_minor_version_is_read(manifest: dict[str, Any]) -> None:
    manifest["schema"] = "lineside.bundle/1.7"
    read(manifest)


def change(*path: str | int, to: object) -> Callable[[dict[str, Any]], None]:
    def apply(manifest: dict[str, Any]) -> None:
        place: Any = manifest
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return apply


def twice(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest.update({key: manifest[key] * 2})


BAD: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a newer major version": (
        change("schema", to="lineside.bundle/2"),
        r"schema 'lineside.bundle/1' is expected, got 'lineside.bundle/2'; update lineside",
    ),
    "something else": (change("schema", to="lineside.bundle/10"), r"got 'lineside.bundle/10'"),
    "a name with a slash": (change("name", to="a/b"), r"\$\.name"),
    "a version of two numbers": (change("version", to="1.4"), r"\$\.version"),
    "one label": (lambda m: m.update(labels=m["labels"][:1]), r"\$\.labels"),
    "a label twice": (
        lambda m: m["labels"][1].update(name=m["labels"][0]["name"]),
        r"a label comes twice",
    ),
    "more labels than outputs": (
        lambda m: m["labels"].append({"name": "x", "good": True}),
        r"3 labels, but class_logits of shape \[1, 2\]",
    ),
    "two models": (twice("models"), r"\$\.models"),
    "two inputs": (
        lambda m: m["models"][0].update(inputs=m["models"][0]["inputs"] * 2),
        r"one input and one output, got 2 and 1",
    ),
    "another scale of raw pixels": (
        change("models", 0, "inputs", 0, "scale", to=0.784),
        r"a uint8 input takes raw pixels: scale 1 and zero point 0 are expected, got 0.784 and 0",
    ),
    "colours that the model does not take": (
        change("inputs", 0, "preprocess", "colour", to="rgb"),
        r"rgb pixels have 3 channels, but the input of shape \[1, .*, 1\] \(nhwc\) takes 1",
    ),
    "a batch of two": (
        change("models", 0, "inputs", 0, "shape", to=[2, 64, 64, 1]),
        r"an input of one picture is expected, got the shape \[2, 64, 64, 1\]",
    ),
    "a normalization of three channels for one": (
        change("models", 0, "inputs", 0, "normalization", to={"mean": [1, 2, 3], "std": [1]}),
        r"a normalization holds 1 or 1 values, got 3 of mean and 1 of std",
    ),
    "a normalization that divides by 0": (
        change("models", 0, "inputs", 0, "normalization", to={"mean": [1], "std": [0]}),
        r"the std of a normalization must be above 0, got \[0.0\]",
    ),
    "a normalization without a scale": (
        lambda m: m["models"][0]["inputs"][0].update(
            scale=0, normalization={"mean": [0], "std": [255]}
        ),
        r"a normalized uint8 input needs a scale above 0, got 0.0",
    ),
    "a model that is not listed": (
        change("models", 0, "file", to="other.tflite"),
        r"the model 'other.tflite' is not listed under files",
    ),
    "a golden image that is not listed": (
        change("golden", 0, "file", to="golden/999.png"),
        r"the golden image 'golden/999.png' is not listed under files",
    ),
    "no golden image": (change("golden", to=[]), r"\$\.golden"),
    "a golden image with one value": (
        change("golden", 0, "outputs", to=[[1]]),
        r"golden/000.png: 2 output values are expected",
    ),
    "a path in files": (
        change("files", "../model.tflite", to={"sha256": "0" * 64, "size": 1}),
        r"matching regex .* at `key` in `\$\.files`",
    ),
    "a limit above 1": (change("decision", "limits", "ng", to=1.5), r"\$\.decision\.limits\.ng"),
    "a temperature of 0": (change("decision", "temperature", to=0), r"\$\.decision\.temperature"),
    "an unknown resize": (
        change("inputs", 0, "preprocess", "resize", to="guess"),
        r"\$\.inputs\[0\]\.preprocess\.resize",
    ),
    "a way to the tensor that is not known": (
        change("inputs", 0, "preprocess", "blur", to=3),
        r"blur",
    ),
    "a newer way to the tensor": (
        change("inputs", 0, "preprocess", "version", to=2),
        r"\$\.inputs\[0\]\.preprocess\.version",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_contradicts_itself_is_refused(manifest: dict[str, Any], what: str) -> None:
    spoil, message = BAD[what]
    spoil(manifest)
    with pytest.raises(BundleError, match=message) as caught:
        read(manifest)
    assert str(caught.value).startswith("manifest.json")
