"""The inspector: a bundle, loaded, from frame to verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineside.bundle import Bundle, open_bundle
from lineside.errors import BundleError, EngineError, ImageError
from lineside.image import crop_to, decode, to_tensor
from lineside.inspector import Inspector
from lineside.manifest import decode_manifest, encode_manifest
from tests.support.bundles import edit_manifest, with_model


@pytest.fixture(scope="module")
def inspector(bundle_folder: Path) -> Inspector:
    return Inspector(open_bundle(bundle_folder))


@pytest.fixture(scope="module")
def frame(bundle_folder: Path) -> np.ndarray:
    return decode(open_bundle(bundle_folder).files["golden/000.png"])


def test_it_says_which_model_it_is(inspector: Inspector) -> None:
    bundle = inspector.bundle
    ref = inspector.model_ref
    assert (ref.role, ref.name, ref.version) == ("main", bundle.manifest.name, "1.0.0")
    assert ref.digest == bundle.digest


def test_an_inspection_is_tensor_model_decision(inspector: Inspector, frame: np.ndarray) -> None:
    manifest = inspector.bundle.manifest
    tensor = to_tensor(frame, manifest.preprocess, manifest.input_size)
    stored = inspector.engine.invoke(tensor)[0].reshape(-1)
    output = manifest.model.outputs[0]
    logits = (stored.astype(float) - output.zero_point) * output.scale
    assert inspector.logits(tensor) == pytest.approx(logits)
    found = inspector.inspect(frame)
    assert found.answer == inspector.decide(inspector.logits(tensor))
    assert found.answer.verdict == manifest.golden[0].verdict
    assert found.preprocess_ms > 0
    assert found.invoke_ms > 0


def test_the_region_comes_first(inspector: Inspector, frame: np.ndarray) -> None:
    box = (10, 20, 150, 120)
    inside = np.ascontiguousarray(crop_to(frame, box))
    assert inspector.inspect(frame, box).answer == inspector.inspect(inside).answer
    assert np.array_equal(inspector.tensor(frame, box), inspector.tensor(inside))


def test_a_region_outside_the_frame(inspector: Inspector, frame: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"the region \(0, 0, 9999, 10\) reaches outside the"):
        inspector.inspect(frame, (0, 0, 9999, 10))


def test_another_shape_is_refused(inspector: Inspector) -> None:
    with pytest.raises(EngineError, match=r"the model takes uint8 \[1, 64, 64, 1\], got uint8"):
        inspector.logits(np.zeros((32, 32, 1), np.uint8))


def changed(folder: Path, out: Path, change: Callable[[dict[str, Any]], None]) -> Bundle:
    copy = with_model(folder, out, open_bundle(folder).model).path
    edit_manifest(copy, change)
    return open_bundle(copy)


@pytest.mark.parametrize(
    ("part", "field", "value", "message"),
    [
        (
            "inputs",
            "dtype",
            "float32",
            r"input is not as .*: expected float32 .* got uint8 \[1, 64",
        ),
        (
            "inputs",
            "layout",
            "nchw",
            r"gray pixels have 1 channels, but the input of shape \[1, 64",
        ),
        ("inputs", "shape", [1, 32, 32, 1], r"input is not as .*: expected uint8 \[1, 32, 32, 1\]"),
        ("inputs", "tensor", 3, "which is not as the manifest says"),
        ("outputs", "scale", 0.5, r"output is not as .*: expected int8 \[1, 2\], scale 0.5"),
        ("outputs", "zero_point", 9, r"output is not as .*zero point 9, got int8"),
        ("outputs", "dtype", "uint8", r"output is not as .*: expected uint8 \[1, 2\]"),
        ("outputs", "tensor", 1, r"1 inputs and 1 outputs, which is not as the manifest says"),
    ],
)
def test_a_model_that_is_not_as_its_manifest_says(
    bundle_folder: Path, tmp_path: Path, part: str, field: str, value: object, message: str
) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["models"][0][part][0][field] = value

    with pytest.raises((EngineError, BundleError), match=message):
        Inspector(changed(bundle_folder, tmp_path / "b", change))


def test_another_kind_of_output_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["models"][0]["outputs"][0]["kind"] = "anomaly_map"

    with pytest.raises(
        EngineError,
        match=r"kind 'anomaly_map' are not known here: one of class_logits, .*update lineside",
    ):
        Inspector(changed(bundle_folder, tmp_path / "b", change))


def test_the_manifest_in_memory_is_the_one_on_disk(inspector: Inspector) -> None:
    manifest = inspector.bundle.manifest
    assert decode_manifest(encode_manifest(manifest)) == manifest
