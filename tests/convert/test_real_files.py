"""Files of others, as they were published, become bundles."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.manifest import Normalization
from lineside_convert.scheme import UNCHANGED
from tests.support.converting import bundle_of, lines, said_of
from tests.support.shared import shared

WORKS = {
    "apple_fresh_rotten_quant": 2,
    "mobilenet_v1_0.25_224_1_metadata_1": 1001,
    "mobilenet_v1_0.25_224_quant": 1001,
    "pretrainedResnet_quant": 10,
    "vww_96_float": 2,
    "vww_96_int8": 2,
}


@pytest.mark.parametrize("name", WORKS)
def test_real_files_of_others(name: str, tmp_path: Path) -> None:
    file = shared("models/works") / f"{name}.tflite"
    has_labels = name.endswith("metadata_1")
    names = [f"line {n}" for n in range(1, WORKS[name] + 1)]
    given = [] if has_labels else ["--labels", lines(tmp_path, *names)]
    bundle = bundle_of(file, *given, out=tmp_path / "b")
    manifest = bundle.manifest
    assert len(manifest.labels) == WORKS[name]
    assert manifest.parity.status == "unknown"
    assert manifest.model.scheme == UNCHANGED
    assert any(note.startswith("No label is known to mean a good part") for note in manifest.notes)
    image = shared("models/images") / "cat_720p.jpg"
    said = said_of(bundle, [image])[0]
    assert said["verdict"] in {"ok", "review"}
    if has_labels:
        normalization = manifest.model.inputs[0].normalization
        assert normalization == Normalization(mean=[127.5], std=[127.5])
        assert any("Labels of the same name" in note for note in manifest.notes)
        assert said["label"] in {"Egyptian cat", "tabby", "tiger cat", "lynx"}
        assert sum(label.name.startswith("crane") for label in manifest.labels) == 2
    else:
        assert manifest.labels[0].name == "line 1"


def test_images_measure_a_quantized_file(cells: Path, tmp_path: Path) -> None:
    file = shared("models/works") / "vww_96_int8.tflite"
    named = lines(tmp_path, "defective", "functional")
    bundle = bundle_of(file, "--labels", named, "--images", cells, out=tmp_path / "b")
    parity = bundle.manifest.parity
    assert (parity.status, parity.images) == ("measured", 36)
    assert parity.reference == "the same file by plain kernels"
    assert bundle.manifest.metrics is not None
    assert bundle.manifest.model.scheme == UNCHANGED
