"""Models that nobody here made become bundles: of Keras, SavedModels, and .tflite files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from lineside.bundle import Bundle, open_bundle
from lineside.decision import softmax
from lineside.evaluate import evaluate
from lineside.inspect import inspect
from lineside.inspector import Inspector
from lineside.manifest import Normalization
from lineside.runtime.trial import try_bundle
from lineside_convert.scheme import STATIC, UNCHANGED
from lineside_convert.tflite.metadata import read_metadata
from lineside_convert.workshop import Workshop
from tests.support import ways
from tests.support.bundles import edit_model
from tests.support.converting import bundle_of, chosen_for, converted, lines, prepared, run, said_of
from tests.support.shared import shared

MINUS_ONE_TO_ONE = Normalization(mean=[127.5], std=[127.5])


# ---- of Keras and TensorFlow, with images


@pytest.fixture(scope="module")
def of_the_cells(networks: Path, labels: Path, cells: Path) -> tuple[Path, Path, Path]:
    return networks, labels, cells


@pytest.fixture(scope="module")
def answers_of_the_run(run_folder: Path, workshop: Workshop) -> dict[str, np.ndarray]:
    """The sha256 of an image of val -> the logits of the run's own network."""
    trials = prepared(workshop, run_folder)
    assert trials.photos is not None
    rows = trials.photos.part("val")
    return {row.sha256: one for row, one in zip(rows, trials.original("val"), strict=True)}


@pytest.mark.parametrize(
    ("model", "own_kind", "kind", "layout", "normalization"),
    [
        ("softmax.keras", "class_probabilities", "class_logits", "nhwc", None),
        ("saved_model", "class_probabilities", "class_logits", "nhwc", None),
        ("binary.keras", "binary_probability", "binary_logit", "nhwc", None),
        ("channels_first.keras", "class_logits", "class_logits", "nchw", None),
        ("other_range.keras", "class_logits", "class_logits", "nhwc", MINUS_ONE_TO_ONE),
        ("colour.keras", "class_logits", "class_logits", "nhwc", None),
    ],
)
def test_models_of_others_in_int8(
    of_the_cells: tuple[Path, Path, Path], workshop: Workshop,
    answers_of_the_run: dict[str, np.ndarray],
    model: str, own_kind: str, kind: str, layout: str, normalization: Normalization | None,
) -> None:  # fmt: skip
    """All of them are the run's network in another form: so they say what it says."""
    networks, labels, cells = of_the_cells
    trials = prepared(
        workshop, networks / model, labels=labels, data=cells, scheme=STATIC,
        normalization=normalization, calibration=60,
    )  # fmt: skip
    subject = trials.subject
    assert (subject.own_kind, subject.kind, subject.layout) == (own_kind, kind, layout)
    assert subject.preprocess.colour == ("rgb" if model == "colour.keras" else "gray")
    assert subject.normalization is None  # it is in the graph
    assert [(one.name, one.good) for one in subject.labels] == [
        ("defective", False),
        ("functional", True),
    ]
    noted = any("pixels from 0 to 255" in note for note in subject.notes)
    assert noted is (normalization is None)
    made = chosen_for(trials).candidate
    assert made.measured is not None
    assert len(made.measured.flips) <= 1
    original = trials.original("val")
    assert trials.photos is not None
    known = answers_of_the_run
    rows = trials.photos.part("val")
    both = [(i, known[row.sha256]) for i, row in enumerate(rows) if row.sha256 in known]
    assert len(both) > 3
    mine, theirs = (np.stack(one) for one in zip(*[(original[i], x) for i, x in both], strict=True))
    np.testing.assert_allclose(softmax(mine), softmax(theirs), atol=2e-3)


def test_a_sigmoid_for_each_label_gives_probabilities(
    of_the_cells: tuple[Path, Path, Path], workshop: Workshop,
    answers_of_the_run: dict[str, np.ndarray],
) -> None:  # fmt: skip
    """They are no logits, and without the sigmoid they would mean something else."""
    networks, labels, cells = of_the_cells
    trials = prepared(workshop, networks / "sigmoids.keras", labels=labels, data=cells)
    kind = "class_probabilities"
    assert (trials.subject.own_kind, trials.subject.kind) == (kind, kind)
    made = trials.make("float32")
    assert made.kind == kind
    assert trials.photos is not None
    rows = trials.photos.part("val")
    known = [
        (i, x)
        for i, row in enumerate(rows)
        if (x := answers_of_the_run.get(row.sha256)) is not None
    ]
    assert len(known) > 3
    for logits in (trials.original("val"), trials.score(made, "val")[0]):
        for i, theirs in known:
            each = 1 / (1 + np.exp(-theirs))
            np.testing.assert_allclose(softmax(logits[i]), each / each.sum(), atol=2e-3)


@pytest.fixture(scope="module")
def of_one_value(
    networks: Path, labels: Path, cells: Path, workshop: Workshop,
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:  # fmt: skip
    out = tmp_path_factory.mktemp("binary") / "b"
    return converted(workshop, networks / "binary.keras", out, labels=labels, data=cells)


def test_one_value_for_two_labels(of_one_value: Bundle, cells: Path) -> None:
    manifest = of_one_value.manifest
    output = manifest.model.outputs[0]
    assert (output.kind, output.shape, output.dtype) == ("binary_logit", [1, 1], "int8")
    assert manifest.parity.reference == "keras"
    assert manifest.name == "binary"
    assert manifest.provenance["model"] == "binary.keras"
    assert len(manifest.provenance["sha256"]) == 64
    assert manifest.provenance["calibration"]["images"] == 144
    images = [path for label in ("defective", "functional") for path in (cells / label).iterdir()]
    said = said_of(of_one_value, images[:8] + images[-8:])
    right = [one["label"] == image.parent.name for one, image in zip(
        said, images[:8] + images[-8:], strict=True)]  # fmt: skip
    assert sum(right) >= 10


def test_without_images_nothing_is_quantized_and_all_is_noted(
    networks: Path, labels: Path, workshop: Workshop, cells: Path, tmp_path: Path
) -> None:
    bundle = converted(workshop, networks / "colour.keras", tmp_path / "b", labels=labels)
    manifest = bundle.manifest
    assert manifest.parity.status == "unknown"
    assert manifest.metrics is None
    assert not manifest.model.scheme.startswith("static")
    assert manifest.model.inputs[0].dtype == "float32"
    assert manifest.decision.chosen_on == "nothing"
    assert any("the golden images are test patterns" in note for note in manifest.notes)
    image = min((cells / "defective").iterdir())
    assert said_of(bundle, [image])[0]["verdict"] in {"ok", "ng"}
    assert "were no images" in bundle.files["report.html"].decode()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b"]


# ---- .tflite files


@pytest.fixture(scope="module")
def float_file(chosen: tuple[Bundle, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .tflite in float32 that takes raw pixels, gives logits and knows its labels."""
    path = tmp_path_factory.mktemp("float") / "theirs.tflite"
    path.write_bytes(open_bundle(chosen[1] / "float32").model)
    return path


def test_a_float_file_with_images_is_quantized(
    float_file: Path, cells: Path, workshop: Workshop, chosen: tuple[Bundle, Path], tmp_path: Path
) -> None:
    bundle = converted(
        workshop, float_file, tmp_path / "b", data=cells,
        normalization=Normalization(mean=[0.0], std=[1.0]),
    )  # fmt: skip
    manifest, known = bundle.manifest, chosen[0].manifest
    assert manifest.model.scheme == STATIC
    assert [label.name for label in manifest.labels] == ["defective", "functional"]
    assert manifest.parity.reference == "the same file by plain kernels"
    assert manifest.parity.flips <= 1
    assert manifest.model.inputs == known.model.inputs
    assert manifest.model.graph == known.model.graph
    report = bundle.files["report.html"].decode()
    for scheme in (UNCHANGED, "float16", "weights_wi8_af32", STATIC):
        assert scheme in report
    assert try_bundle(bundle.path).golden == len(manifest.golden)
    said = read_metadata(bundle.model)
    assert said.labels == ("defective", "functional")
    assert (said.name, said.description) == (
        "theirs",
        f"Made by lineside convert, scheme {STATIC}.",
    )


def test_a_float_file_without_images_stays_as_it_is(float_file: Path, tmp_path: Path) -> None:
    bundle = bundle_of(float_file, "--mean", 0, "--std", 1, out=tmp_path / "b")
    assert bundle.manifest.model.scheme == UNCHANGED
    assert bundle.manifest.model.inputs[0].normalization is None
    for scheme, message in (
        (
            STATIC,
            "int8 is calibrated with images: say where they are with --images DATA",
        ),
    ):
        done = run(float_file, "--scheme", scheme, "--out", tmp_path / "c")
        assert str(done.exception) == message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b"]


def _forget(tree: Any) -> None:  # noqa: ANN401 - generated code without types
    """What the file says of itself."""
    tree.metadata = []


def test_parity_unknown_is_said_everywhere(float_file: Path, cells: Path, tmp_path: Path) -> None:
    silent = tmp_path / "silent.tflite"
    silent.write_bytes(edit_model(float_file.read_bytes(), _forget))
    named = lines(tmp_path, "defective", "functional")
    done = run(silent, "--labels", named, "--out", tmp_path / "b")
    assert done.exit_code == 0, done.output
    assert "; parity unknown" in done.output
    assert "note: Nothing says how the model wants its pixels: they are divided by 255" in (
        done.output
    )
    bundle = open_bundle(tmp_path / "b")
    assert bundle.manifest.model.inputs[0].normalization == Normalization(mean=[0.0], std=[255.0])
    image = min((cells / "defective").iterdir())
    shown = CliRunner().invoke(inspect, [str(bundle.path), str(image)])
    assert "arity" in shown.output
    assert "unknown" in shown.output
    small = tmp_path / "small"
    for label in ("defective", "functional"):
        (small / label).mkdir(parents=True)
        for path in sorted((cells / label).iterdir())[:4]:
            shutil.copy(path, small / label)
    shown = CliRunner().invoke(evaluate, [str(bundle.path), str(small)])
    assert shown.exit_code == 0, shown.output
    assert "unknown" in shown.output


@pytest.mark.parametrize("how", ["int8", "uint8", "nchw", "softmax"])
def test_other_ways_in_and_out(
    chosen: tuple[Bundle, Path], cells: Path, labels: Path, tmp_path: Path, how: str
) -> None:
    """The run's network in int8 as others would write it: so it says the same of every image."""
    known = chosen[0]
    change = {
        "uint8": lambda model: model,
        "int8": lambda model: ways.other_input(model, "int8"),
        "nchw": ways.channels_first,
        "softmax": ways.probabilities,
    }[how]
    file = tmp_path / "theirs.tflite"
    file.write_bytes(change(known.model))
    bundle = bundle_of(file, "--labels", labels, out=tmp_path / "b")
    source, output = bundle.manifest.model.inputs[0], bundle.manifest.model.outputs[0]
    assert (source.dtype, source.scale) == ("int8" if how == "int8" else "uint8", 1.0)
    assert source.zero_point == (-128 if how == "int8" else 0)
    assert source.layout == ("nchw" if how == "nchw" else "nhwc")
    assert source.normalization is None
    assert output.kind == ("class_probabilities" if how == "softmax" else "class_logits")
    assert bundle.manifest.model.scheme == UNCHANGED
    assert not any("pixels" in note for note in bundle.manifest.notes)
    one, other = Inspector(known), Inspector(bundle)
    for image in sorted((cells / "defective").iterdir())[:5]:
        found = [softmax(each.logits(each.tensor(_frame(image)))) for each in (one, other)]
        np.testing.assert_allclose(found[0], found[1], atol=1.5 / 256)


def _frame(path: Path) -> np.ndarray:
    from lineside.image import decode

    return decode(path.read_bytes(), name=path.name)


# ---- labels


@pytest.mark.parametrize(
    ("options", "good"),
    [
        ({}, [False, True]),
        ({"good": ("defective",)}, [True, False]),
        ({"sort": True}, [True, True]),
    ],
)
def test_which_are_good(
    float_file: Path, workshop: Workshop, options: dict[str, Any], good: list[bool]
) -> None:
    subject = prepared(workshop, float_file, **options).subject
    assert [label.good for label in subject.labels] == good


def test_sorting(float_file: Path, tmp_path: Path) -> None:
    bundle = bundle_of(float_file, "--sort", out=tmp_path / "b")
    assert bundle.manifest.decision.score == "uncertainty"
    assert bundle.manifest.decision.limits.ng is None


def test_the_files_own_labels_give_way(
    float_file: Path, workshop: Workshop, tmp_path: Path
) -> None:
    subject = prepared(workshop, float_file, labels=lines(tmp_path, "bad", "ok")).subject
    assert [(label.name, label.good) for label in subject.labels] == [("bad", False), ("ok", True)]


def test_labels_of_one_name_are_told_apart(
    float_file: Path, workshop: Workshop, tmp_path: Path
) -> None:
    subject = prepared(workshop, float_file, labels=lines(tmp_path, "crane", "crane")).subject
    assert [label.name for label in subject.labels] == ["crane", "crane (2)"]
    assert "Labels of the same name were told apart by their line number." in subject.notes


def test_what_is_written_is_read_back(chosen: tuple[Bundle, Path], tmp_path: Path) -> None:
    """The labels in a bundle's .tflite are enough to convert it again."""
    said = read_metadata(chosen[0].model)
    assert said.labels == ("defective", "functional")
    assert (said.name, said.version) == ("cells", "1.0.0")
    file = tmp_path / "again.tflite"
    file.write_bytes(chosen[0].model)
    bundle = bundle_of(file, out=tmp_path / "b")
    assert bundle.manifest.labels == chosen[0].manifest.labels
    assert bundle.manifest.model.inputs == chosen[0].manifest.model.inputs


def test_a_quantized_file_is_made_nothing_else(labels: Path, tmp_path: Path) -> None:
    model = shared("models/works/vww_96_int8.tflite")
    done = run(model, "--labels", labels, "--scheme", "float32", "--out", tmp_path / "b")
    assert done.exit_code != 0
    assert "is quantized already, and can't be made float32: take it as it is" in str(
        done.exception
    )
    assert not (tmp_path / "b").exists()
