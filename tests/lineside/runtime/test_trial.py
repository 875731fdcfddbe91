"""The child that tries a bundle: whatever a model does to it, the parent says what it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.bundle import open_bundle, write_bundle
from lineside.errors import BundleError, EngineError
from lineside.runtime import installed_engines
from lineside.runtime.device import device_name
from lineside.runtime.trial import load_bundle, try_bundle
from tests.support.bundles import crash, edit_manifest, edit_model, negate_last_layer, with_model
from tests.support.shared import shared


def test_a_good_bundle(bundle_folder: Path) -> None:
    bundle = open_bundle(bundle_folder)
    trial = try_bundle(bundle_folder)
    assert trial.digest == bundle.digest
    assert trial.runtime == installed_engines()[0]
    assert trial.golden == len(bundle.manifest.golden)
    assert trial.worst_steps <= max(golden.max_steps for golden in bundle.manifest.golden)
    assert 0 < trial.invoke_ms_p50 < 1000


def test_what_is_loaded_is_what_was_tried(bundle_folder: Path) -> None:
    inspector = load_bundle(bundle_folder)
    assert inspector.model_ref.digest == open_bundle(bundle_folder).digest


def test_a_model_that_kills_its_process(bundle_folder: Path, tmp_path: Path) -> None:
    model = edit_model(open_bundle(bundle_folder).model, crash)
    with_model(bundle_folder, tmp_path / "b", model)
    with pytest.raises(
        EngineError, match=r"b is refused: its model killed the process .*\(SIGSEGV\)$"
    ):
        try_bundle(tmp_path / "b")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("keyword_scrambled_8bit.tflite", "refuses the model|killed the process|not as the man"),
        ("model_invoking_error.tflite", "refuses the model|killed the process|not as the man"),
        ("mobilenet_v1_0.25_128_quant_edgetpu.tflite", "edgetpu-custom-op"),
        ("person_detect_vela.tflite", "ethos-u"),
        ("person_detect.tflite", "refuses the model|killed the process|not as the manifest"),
    ],
)
def test_models_of_others_that_must_be_refused(
    bundle_folder: Path, tmp_path: Path, file: str, message: str
) -> None:
    with_model(bundle_folder, tmp_path / "b", shared(f"models/refuse/{file}").read_bytes())
    with pytest.raises(EngineError, match=message):
        try_bundle(tmp_path / "b")


def test_a_model_that_answers_something_else(bundle_folder: Path, tmp_path: Path) -> None:
    model = edit_model(open_bundle(bundle_folder).model, negate_last_layer)
    with_model(bundle_folder, tmp_path / "b", model)
    expected = r"\d+ of \d+ golden images fail .*golden/000.png: verdict \w+ within .*, got \w+ and"
    with pytest.raises(EngineError, match=expected):
        try_bundle(tmp_path / "b")


def test_a_model_that_takes_too_long(bundle_folder: Path) -> None:
    with pytest.raises(EngineError, match=r"its model did not answer within 0.01 s"):
        try_bundle(bundle_folder, timeout=0.01)


def test_a_model_that_is_not_as_the_manifest_says(bundle_folder: Path, tmp_path: Path) -> None:
    bundle = open_bundle(bundle_folder)
    folder = with_model(bundle_folder, tmp_path / "b", bundle.model).path

    def change(manifest: dict) -> None:  # type: ignore[type-arg]
        manifest["models"][0]["outputs"][0]["scale"] = 0.5

    edit_manifest(folder, change)
    with pytest.raises(EngineError, match=r"output is not as the manifest says: .*scale 0.5"):
        try_bundle(folder)


def test_a_golden_image_that_is_no_picture(bundle_folder: Path, tmp_path: Path) -> None:
    bundle = open_bundle(bundle_folder)
    files = {name: data for name, data in bundle.files.items() if name != "manifest.json"}
    write_bundle(tmp_path / "b", bundle.manifest, files | {"golden/000.png": b"no picture"})
    with pytest.raises(EngineError, match=r"golden/000.png: no picture"):
        try_bundle(tmp_path / "b")


def test_a_bundle_that_is_refused_says_so_through_the_child(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"is no bundle: a folder or a \.zip"):
        try_bundle(tmp_path / "nothing")
    with pytest.raises(BundleError, match=r"is no bundle: a folder or a \.zip"):
        load_bundle(tmp_path / "nothing")


def test_the_current_folder_is_not_imported_from(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')\n")
    monkeypatch.chdir(tmp_path)
    assert try_bundle(bundle_folder).golden > 0


def test_the_device_has_a_name() -> None:
    assert device_name().endswith("cores")
