"""`lineside convert`, whole: real runs in, real bundles out."""

from __future__ import annotations

import importlib
import json
import zipfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineside.bundle import Bundle, open_bundle
from lineside.dataset import load_tensors
from lineside.inspector import Inspector
from lineside.run import Run, open_run
from lineside.runtime.golden import golden_frame
from lineside_convert.tflite.metadata import read_metadata
from tests.support.command import lineside

EPOCH = 1_760_000_000  # 2025-10-09 08:53:20 UTC


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return open_bundle(bundle_folder)


@pytest.fixture(scope="module")
def run(run_folder: Path) -> Run:
    return open_run(run_folder)


# ---- what a bundle holds


def test_the_model_takes_raw_pixels_and_gives_logits(bundle: Bundle) -> None:
    model = bundle.manifest.model
    source, output = model.inputs[0], model.outputs[0]
    assert model.scheme == "static_wi8_ai8"
    assert (source.dtype, source.scale, source.zero_point) == ("uint8", 1.0, 0)
    assert source.shape == (1, 64, 64, 1)
    assert (output.kind, output.dtype, output.shape) == ("class_logits", "int8", [1, 2])


def test_no_float_is_left_in_the_model(bundle: Bundle) -> None:
    schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")
    tree = schema.ModelT.InitFromPackedBuf(bundle.model, 0)
    kinds = {value: name for name, value in vars(schema.TensorType).items() if name.isupper()}
    assert {kinds[tensor.type] for tensor in tree.subgraphs[0].tensors} <= {
        "INT8", "UINT8", "INT32",
    }  # fmt: skip


def test_limits_are_chosen_on_val(bundle: Bundle) -> None:
    decision = bundle.manifest.decision
    assert (decision.score, decision.chosen_on) == ("p_not_good", "val")
    assert decision.costs == {"escape": 2.0, "reject": 1.0, "review": 0.5}
    assert decision.limits.ng is not None
    assert decision.limits.review is None or decision.limits.review < decision.limits.ng


def test_both_models_were_measured_on_test(bundle: Bundle, run: Run) -> None:
    metrics = bundle.manifest.metrics
    assert metrics is not None
    assert (metrics.split, metrics.images) == ("test", len(run.rows("test")))
    trained = run.metrics.figures["test"]
    assert metrics.float_["auroc"] == pytest.approx(trained["auroc"], abs=1e-3)
    assert metrics.quantized["auroc"] == pytest.approx(metrics.float_["auroc"], abs=0.03)
    assert metrics.quantized["verdicts"]["images"] == metrics.images


def test_the_quantized_figures_are_those_of_the_model_in_the_bundle(
    bundle: Bundle, run: Run
) -> None:
    metrics = bundle.manifest.metrics
    assert metrics is not None
    rows = run.rows("test")
    tensors = load_tensors(
        Path(run.info.data_root),
        [row.file for row in rows],
        bundle.manifest.preprocess,
        bundle.manifest.input_size,
        what="test",
    )
    inspector = Inspector(bundle)
    names = [label.name for label in bundle.manifest.labels]
    said = [names[int(inspector.logits(tensor).argmax())] for tensor in tensors]
    right = np.mean([one == row.label for one, row in zip(said, rows, strict=True)])
    assert metrics.quantized["accuracy"] == pytest.approx(right)


def test_parity_was_measured_on_val(bundle: Bundle, run: Run) -> None:
    parity = bundle.manifest.parity
    assert (parity.status, parity.split, parity.images) == ("measured", "val", 36)
    assert parity.images == len(run.rows("val"))
    assert parity.flips <= 1
    assert 0 < parity.worst < 0.2


def test_golden_images_are_real_images_of_val(bundle: Bundle, run: Run) -> None:
    rows = run.rows("val")
    tensors = load_tensors(
        Path(run.info.data_root),
        [row.file for row in rows],
        bundle.manifest.preprocess,
        bundle.manifest.input_size,
        what="val",
    )
    inspector = Inspector(bundle)
    labels = set()
    pngs = [golden for golden in bundle.manifest.golden if golden.file.endswith(".png")]
    for golden in pngs:
        frame = golden_frame(golden.file, bundle.files[golden.file], bundle.manifest.preprocess)
        same = [i for i, t in enumerate(tensors) if np.array_equal(t, inspector.tensor(frame))]
        assert len(same) == 1
        labels.add(rows[same[0]].label)
    assert labels == {"defective", "functional"}
    assert {golden.verdict for golden in pngs} >= {"ok", "ng"}
    assert len(bundle.manifest.golden) == len(pngs) + 1


def test_where_it_comes_from(bundle: Bundle, run: Run) -> None:
    provenance = bundle.manifest.provenance
    assert provenance["data"] == f"sha256:{run.info.data}"
    assert provenance["split"] == f"sha256:{run.info.split}"
    assert provenance["seed"] == 0
    assert {"lineside", "keras", "tensorflow", "numpy", "ai-edge-litert"} <= set(
        provenance["versions"]["convert"]
    )
    train = {row.sha256: row.label for row in run.rows("train")}
    sample = [train[sha256] for sha256 in provenance["calibration"]["sha256"]]
    assert len(sample) == provenance["calibration"]["images"] == 144
    assert sample.count("defective") == sample.count("functional")


def test_what_ran_it(bundle: Bundle) -> None:
    with_it, without = bundle.manifest.model.runtimes
    assert (with_it.name, with_it.xnnpack, with_it.same_answers) == ("ai-edge-litert", True, True)
    assert (without.name, without.xnnpack) == ("ai-edge-litert", False)
    assert bundle.manifest.measured["invoke_ms_p50"] > 0
    assert bundle.manifest.measured["device"].endswith("cores")


def test_other_tools_read_what_it_is(bundle: Bundle) -> None:
    said = read_metadata(bundle.model)
    assert said.present
    assert (said.name, said.version) == (bundle.manifest.name, bundle.manifest.version)
    assert said.labels == tuple(label.name for label in bundle.manifest.labels)
    assert said.description == "Made by lineside convert, scheme static_wi8_ai8."


def test_the_report_shows_float_beside_int8(bundle: Bundle) -> None:
    report = bundle.files["report.html"].decode()
    assert "float" in report
    assert "int8" in report
    assert bundle.manifest.version in report


def test_no_path_of_this_machine_is_in_it(bundle: Bundle, run: Run) -> None:
    for name in ("manifest.json", "model.tflite", "report.html"):
        assert run.info.data_root.encode() not in bundle.files[name]
        assert str(run.path).encode() not in bundle.files[name]


# ---- again


@pytest.fixture(scope="module")
def again(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """The same run in another process, signed: the bundle, the public key, and what was said."""
    folder = tmp_path_factory.mktemp("again")
    lineside("keys", "new", "plant", "--out", folder)
    env = {"PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": str(EPOCH)}
    out = folder / "deep" / "b"
    key = folder / "plant.pem"
    said = lineside("convert", run_folder, "--out", out, "--zip", "--sign", key, env=env).stdout
    assert sorted(path.name for path in out.parent.iterdir()) == ["b", "b.zip"]
    return out, folder / "plant.pub.pem", said


def of_the_moment(bundle: Bundle) -> dict[str, Any]:
    """The manifest, without what may differ; the report is dated, and tells the time it took."""
    manifest = json.loads(bundle.files["manifest.json"])
    for name in ("created", "measured"):
        manifest.pop(name)
    manifest["files"].pop("report.html")
    return manifest


def test_the_same_run_gives_the_same_bytes(again: tuple[Path, Path, str], bundle: Bundle) -> None:
    other = open_bundle(again[0])
    same = [name for name in bundle.files if name.startswith(("model", "golden"))]
    assert len(same) > 4
    assert {name: other.files[name] for name in same} == {name: bundle.files[name] for name in same}
    assert of_the_moment(other) == of_the_moment(bundle)


def test_a_build_has_the_date_that_it_is_given(again: tuple[Path, Path, str]) -> None:
    at = datetime.fromtimestamp(EPOCH, timezone.utc)
    assert open_bundle(again[0]).manifest.created == at.strftime("%Y-%m-%dT%H:%M:%SZ")
    with zipfile.ZipFile(again[0].with_name("b.zip")) as archive:
        dates = {info.date_time for info in archive.infolist()}
    assert dates == {(at.year, at.month, at.day, at.hour, at.minute, at.second)}


def test_the_zip_is_the_same(again: tuple[Path, Path, str]) -> None:
    folder, zipped = open_bundle(again[0]), open_bundle(again[0].with_name("b.zip"))
    assert dict(zipped.files) == dict(folder.files)
    assert zipped.digest == folder.digest


def test_it_is_signed(again: tuple[Path, Path, str]) -> None:
    out, public, said = again
    assert said.splitlines()[-2].endswith(", signed")
    found = lineside("verify", out, "--trust", public).stdout
    assert open_bundle(out, trust=public.read_bytes()).signed_by in found
    lineside("verify", out.with_name("b.zip"), "--trust", public)


def test_what_is_said(again: tuple[Path, Path, str]) -> None:
    out, _, said = again
    assert "balanced accuracy" in said
    assert "scheme: static_wi8_ai8, " in said
    assert "verdict flips on val: " in said
    assert "speed: " in said
    assert "runtime: ai-edge-litert " in said
    assert open_bundle(out).digest in said
    assert f"Next: lineside inspect {out} IMAGE…" in said
