"""`lineside convert`, whole: real runs in, real bundles out, and refusals that leave nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("tensorflow", reason="converting needs the extra 'convert'")

from lineside.bundle import Bundle, open_bundle
from lineside.dataset import load_tensors
from lineside.errors import (
    ConvertError,
    DatasetError,
    InputError,
    MessageError,
    ParityError,
    RunError,
    StorageError,
)
from lineside.inspector import Inspector
from lineside.run import Run, open_run
from lineside.runtime.golden import golden_frame
from lineside_convert.command import convert
from tests.support.command import lineside

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return open_bundle(bundle_folder)


@pytest.fixture(scope="module")
def run(run_folder: Path) -> Run:
    return open_run(run_folder)


def attempt(*args: object) -> Result:
    """`lineside convert ARGS` in this process: for what is refused before TensorFlow is asked."""
    return CliRunner().invoke(convert, [str(arg) for arg in args])


# ---- what a bundle holds


def test_the_model_takes_raw_pixels_and_gives_logits(bundle: Bundle) -> None:
    model = bundle.manifest.model
    source, output = model.inputs[0], model.outputs[0]
    assert model.scheme == "static_wi8_ai8"
    assert (source.dtype, source.scale, source.zero_point) == ("uint8", 1.0, 0)
    assert source.shape == (1, 64, 64, 1)
    assert (output.kind, output.dtype, output.shape) == ("class_logits", "int8", [1, 2])


def test_no_float_is_left_in_the_model(bundle: Bundle) -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
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


def test_the_report_shows_float_beside_int8(bundle: Bundle) -> None:
    report = bundle.files["report.html"].decode()
    assert "float" in report
    assert "int8" in report
    assert bundle.manifest.version in report


def test_no_path_of_this_machine_is_in_it(bundle: Bundle, run: Run) -> None:
    for name in ("manifest.json", "model.tflite", "report.html"):
        assert run.info.data_root.encode() not in bundle.files[name]
        assert str(run.path).encode() not in bundle.files[name]


def test_the_same_run_gives_the_same_bytes(
    run_folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "again"
    said = lineside(
        "convert", run_folder, "--out", out, "--name", "cells", "--version", "2.0.1", "--zip"
    ).stdout
    again, zipped = open_bundle(out), open_bundle(tmp_path / "deep" / "again.zip")
    assert zipped.digest == again.digest
    assert (again.manifest.name, again.manifest.version) == ("cells", "2.0.1")
    same = [name for name in bundle.files if name.startswith(("model", "golden"))]
    assert {name: again.files[name] for name in same} == {name: bundle.files[name] for name in same}
    assert again.manifest.golden == bundle.manifest.golden
    assert again.digest in said
    assert "balanced accuracy" in said
    assert sorted(path.name for path in out.parent.iterdir()) == ["again", "again.zip"]


# ---- what is refused before the work begins


def test_options_that_cannot_be_used(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "b"
    for args, kind, message in (
        (["--name", "a/b"], MessageError, "--name 'a/b' is refused: 1 to 64 of the characters"),
        (["--version", "1.4"], InputError, "--version '1.4' is refused: three numbers as in"),
        (["--escape-cost", "0"], InputError, "the cost 'escape' must be a number above 0, got 0"),
        (["--review-cost", "nan"], InputError, "the cost 'review' must be a number above 0"),
    ):
        result = attempt(run_folder, "--out", out, *args)
        assert isinstance(result.exception, kind)
        assert message in str(result.exception)
    assert "0<=x<=100" in attempt(run_folder, "--out", out, "--max-flips", "101").output
    assert not out.exists()


def test_what_is_there_is_not_overwritten(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine").touch()
    result = attempt(run_folder, "--out", tmp_path / "b")
    assert isinstance(result.exception, StorageError)
    assert "is there already: choose another name, or remove it" in str(result.exception)
    (tmp_path / "c.zip").write_text("mine")
    result = attempt(run_folder, "--out", tmp_path / "c", "--zip")
    assert "c.zip is there already" in str(result.exception)
    assert (tmp_path / "c.zip").read_text() == "mine"


def test_what_is_no_run(tmp_path: Path) -> None:
    result = attempt(tmp_path / "nothing", "--out", tmp_path / "b")
    assert isinstance(result.exception, RunError)
    assert "is no run: a folder written by 'lineside train' is expected" in str(result.exception)


def test_photos_that_are_gone(run_folder: Path, tmp_path: Path) -> None:
    result = attempt(run_folder, "--out", tmp_path / "b", "--data", tmp_path / "gone")
    assert isinstance(result.exception, RunError)
    assert "say where they are with --data DIR" in str(result.exception)


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_photo_that_was_changed(run: Run, cells: Path, tmp_path: Path, part: str) -> None:
    data = Path(shutil.copytree(cells, tmp_path / "moved"))
    row = next(row for row in run.split if row.part == part)
    other = next(other for other in run.split if other.sha256 != row.sha256)
    shutil.copy(cells / other.file, data / row.file)
    result = attempt(run.path, "--out", tmp_path / "b", "--data", data)
    assert isinstance(result.exception, DatasetError)
    expected = f"{row.file!r} was changed: sha256 {row.sha256} is expected, got {other.sha256}"
    assert str(result.exception) == expected
    (data / row.file).unlink()
    result = attempt(run.path, "--out", tmp_path / "b", "--data", data)
    assert isinstance(result.exception, DatasetError)
    assert f"{row.file!r} can't be read from {data}" in str(result.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["moved"]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk(run_folder: Path, tiny_disk: Path) -> None:
    result = attempt(run_folder, "--out", tiny_disk / "b")
    assert isinstance(result.exception, StorageError)
    assert "the disk is full; free some space and run it again" in str(result.exception)
    assert list(tiny_disk.iterdir()) == []


# ---- models that can't become a bundle


WRONG = {
    "not_a_number": "the Keras model's logits are not finite (NaN or infinite): train it again",
    "constant": "the int8 model gives the same answer for every image",
    "of_code": "of_code.keras can't be loaded: Requested the deserialization of a `Lambda` layer",
    "of_three_labels": "(None, 64, 64, 1) to (None, 2) is expected, got (None, 64, 64, 1) to (",
    "damaged": "damaged.keras can't be loaded",
}


@pytest.fixture(scope="module")
def networks(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .keras file for each way to be wrong: see `tests.support.networks`."""
    out = tmp_path_factory.mktemp("networks")
    command = [sys.executable, "-m", "tests.support.networks", run_folder, out, *WRONG]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    return out


@pytest.fixture
def wrong_run(run_folder: Path, networks: Path, tmp_path: Path) -> Any:  # noqa: ANN401 - a function
    """Gives a copy of the run with another network."""

    def make(kind: str) -> Path:
        folder = Path(shutil.copytree(run_folder, tmp_path / kind))
        shutil.copy(networks / f"{kind}.keras", folder / "model.keras")
        return folder

    return make


def test_a_network_that_int8_ruins(wrong_run: Any, tmp_path: Path) -> None:  # noqa: ANN401
    result = attempt(wrong_run("outgrown"), "--out", tmp_path / "b")
    assert isinstance(result.exception, ParityError)
    message = str(result.exception)
    assert "the int8 model's verdict differs from the Keras model's on" in message
    assert "of 36 images of val, at most 1 may: " in message
    assert ".png (" in message
    assert "No bundle was written" in message
    assert "--max-flips" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outgrown"]


def test_a_network_that_kills_the_converter(wrong_run: Any, tmp_path: Path) -> None:  # noqa: ANN401
    result = attempt(wrong_run("recurrent"), "--out", tmp_path / "b")
    assert isinstance(result.exception, ConvertError)
    assert "TensorFlow was killed by SIG" in str(result.exception)
    assert "GRU and LSTM need unroll=True" in str(result.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recurrent"]


@pytest.mark.parametrize("kind", WRONG)
def test_a_network_that_is_refused(networks: Path, kind: str) -> None:
    said = (networks / f"{kind}.said").read_text()
    assert WRONG[kind] in said
    assert "\n" not in said
