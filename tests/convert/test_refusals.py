"""What `lineside convert` refuses: in one line, with the way out, and nothing is left behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from lineside.bundle import open_bundle
from lineside.dataset import read_dataset
from lineside.errors import (
    ConvertError,
    DatasetError,
    InputError,
    LinesideError,
    MessageError,
    RunError,
    StorageError,
)
from lineside.run import Run, open_run
from lineside_convert.command import convert
from lineside_convert.workshop import Workshop
from tests.support.command import lineside
from tests.support.converting import converted
from tests.support.disk import tiny_disk
from tests.support.tiny import tiny_model


def attempt(*args: object) -> Result:
    """`lineside convert ARGS` in this process: for what is refused before TensorFlow is asked."""
    return CliRunner().invoke(convert, [str(arg) for arg in args])


def reason(kind: type[LinesideError], *args: object) -> str:
    """The one line that says why it was refused."""
    error = attempt(*args).exception
    assert isinstance(error, kind), error
    assert "\n" not in str(error)
    return str(error)


def workers_of(folder: Path) -> list[str]:
    """The processes that still work in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended meanwhile
            continue
        if str(folder) in command and "lineside_convert" in command:
            found.append(command)
    return found


@pytest.fixture(scope="module")
def run(run_folder: Path) -> Run:
    return open_run(run_folder)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A .tflite of others that takes a moment: 8 x 8 pixels, two values."""
    path = tmp_path / "in" / "tiny.tflite"
    path.parent.mkdir()
    path.write_bytes(tiny_model())
    return path


# ---- options


@pytest.mark.parametrize(
    ("args", "kind", "message"),
    [
        (["--name", "a/b"], MessageError, "--name 'a/b' is refused: 1 to 64 of the characters"),
        (["--version", "1.4"], InputError, "--version '1.4' is refused: three numbers as in 1.4.0"),
        (["--escape-cost", 0], InputError, "the cost 'escape' must be a number above 0, got 0"),
        (["--review-cost", "nan"], InputError, "the cost 'review' must be a number above 0"),
        (["--max-escapes", 0], InputError, "escapes must lie above 0 and up to 1, such as 0.01"),
        (["--max-escapes", 0.1], InputError, "--max-escapes means nothing without images to"),
        (["--sort", "--reject-cost", 2], InputError, "--reject-cost means nothing when sorting"),
        (["--scheme", "int4"], InputError, "--scheme 'int4' is refused: float32, float16, "),
        (["--std", 0, "--mean", 0], InputError, "--mean [0.0] --std [0.0]: as many of each, std"),
        (["--mean", 127.5], InputError, "--mean [127.5] --std []: as many of each, std above 0"),
        (["--mean", "nan", "--std", 1], InputError, "--mean [nan] --std [1.0]: "),
        (["--std", -1, "--mean", 0], InputError, "std above 0"),
        (["--good", "ok", "--sort"], InputError, "--good and --sort contradict each other"),
        (["--device-bench", "{in}/no.json"], InputError, "no.json can't be read: No such file"),
        (["--device-bench", "{in}/no.txt"], InputError, "it is written by 'lineside bench BUNDLE"),
        (["--sign", "{in}/open.pem"], InputError, "open.pem: others can read this private key"),
        (["--sign", "{in}/no.pem"], InputError, "no.pem can't be read: No such file"),
        (["--candidates", "{in}"], StorageError, "/in is there already: choose another name"),
        (["--labels", "{in}/no.labels"], InputError, "no.labels can't be read: No such file"),
        (["--mean", 1, "--mean", 2, "--std", 1, "--std", 2], InputError, "one value, or 1, are"),
    ],
)  # fmt: skip
def test_options(
    tiny: Path, tmp_path: Path, args: list[object], kind: type[LinesideError], message: str
) -> None:
    (tiny.parent / "no.txt").write_text("faster than light\n")
    (tiny.parent / "labels.txt").write_text("bad\nok\n")
    (tiny.parent / "open.pem").write_text("mine\n")
    (tiny.parent / "open.pem").chmod(0o644)
    given = [str(arg).replace("{in}", str(tiny.parent)) for arg in args]
    if "--labels" not in given:
        given += ["--labels", str(tiny.parent / "labels.txt")]
    assert message in reason(kind, tiny, "--out", tmp_path / "b", *given)
    assert os.listdir(tmp_path) == ["in"]  # noqa: PTH208 - hidden ones too
    assert workers_of(tmp_path) == []


def test_percentages(tiny: Path, tmp_path: Path) -> None:
    for option in ("--max-flips", "--max-loss"):
        done = attempt(tiny, "--out", tmp_path / "b", option, 101)
        assert "0<=x<=100" in done.output
    assert attempt(tiny, "--out", tmp_path / "b", "--calibration", 0).exit_code == 2


def test_a_runtime_that_is_not_there(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LINESIDE_TFLITE_RUNTIME", raising=False)
    (tiny.parent / "labels.txt").write_text("bad\nok\n")
    said = reason(
        ConvertError, tiny, "--labels", tiny.parent / "labels.txt", "--out", tmp_path / "b",
        "--runtime", "tflite-runtime",
    )  # fmt: skip
    assert "tflite-runtime" in said
    assert "--check-python" in said
    assert os.listdir(tmp_path) == ["in"]  # noqa: PTH208


# ---- places


def test_what_is_there_is_not_overwritten(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine").touch()
    said = reason(StorageError, run_folder, "--out", tmp_path / "b")
    assert "is there already: choose another name, or remove it" in said
    (tmp_path / "c.zip").write_text("mine")
    said = reason(StorageError, run_folder, "--out", tmp_path / "c", "--zip")
    assert "c.zip is there already" in said
    assert (tmp_path / "c.zip").read_text() == "mine"


def test_a_full_disk(run_folder: Path, tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", kib=256) as disk:
        said = reason(StorageError, run_folder, "--out", disk / "b")
        assert "less than 64 MiB are free on its disk: free some, and run it again" in said
        assert list(disk.iterdir()) == []


# ---- what is no model


def test_what_is_nothing_to_convert(tmp_path: Path) -> None:
    out = tmp_path / "b"
    said = reason(InputError, tmp_path / "gone.keras", "--out", out)
    assert said == f"{tmp_path}/gone.keras is not there"
    (tmp_path / "empty").mkdir()
    said = reason(RunError, tmp_path / "empty", "--out", out)
    assert "empty is no complete run: run.json is missing" in said
    (tmp_path / "notes.txt").write_text("a text")
    said = reason(InputError, tmp_path / "notes.txt", "--out", out)
    assert "a .keras or a .tflite file is expected" in said
    (tmp_path / "notes.tflite").write_text("This is a text, and no model at all.\n")
    said = reason(ConvertError, tmp_path / "notes.tflite", "--out", out)
    assert "notes.tflite is refused: it is no TFLite file" in said
    (tmp_path / "empty.tflite").touch()
    said = reason(ConvertError, tmp_path / "empty.tflite", "--out", out)
    assert said.endswith("is refused: the file is empty")
    assert not out.exists()
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


WRONG = {
    "not_a_number": r"the weights logits/bias are not finite \(NaN or infinite\): train again",
    "of_code": r"of_code.keras can't be loaded: .*`Lambda` layer whose `function` is a Python lam",
    "of_a_class": r"it needs the code of '_Doubled', and no code of a model is run here; save it",
    "of_three_labels": r"labels.txt gives 2 labels, but the model has 3 answers: one line for each",
    "two_inputs": r"has 2 inputs and 1 outputs: one picture and one vector of values are expected",
    "of_any_size": r"takes \?x\?x1: a picture of a fixed height, width and 1 or 3 channels is exp",
    "of_a_rare_operator": r"TFLite has no operator MatrixInverse, used by the layer whiten; repl",
    "damaged": r"damaged.keras is no file of Keras, or is damaged: a .keras file of Keras 3",
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_network_that_is_refused(
    networks: Path, labels: Path, workshop: Workshop, tmp_path: Path, kind: str
) -> None:
    with pytest.raises(LinesideError, match=WRONG[kind]) as caught:
        converted(workshop, networks / f"{kind}.keras", tmp_path / "b", labels=labels)
    assert "\n" not in str(caught.value)
    assert str(networks / f"{kind}.keras") in str(caught.value) or kind == "of_three_labels"
    assert list(tmp_path.iterdir()) == []


def test_code_in_a_model_is_not_run(
    networks: Path, labels: Path, workshop: Workshop, tmp_path: Path
) -> None:
    with pytest.raises(ConvertError):
        converted(workshop, networks / "of_code.keras", tmp_path / "b", labels=labels)
    assert not (networks / "executed").exists()


def test_a_run_with_another_network(
    networks: Path, run_folder: Path, workshop: Workshop, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(run_folder, tmp_path / "run"))
    shutil.copy(networks / "of_three_labels.keras", folder / "model.keras")
    expected = r"a model from \(64, 64, 1\) to 2 values is expected, got \(64, 64, 1\) to 3"
    with pytest.raises(ConvertError, match=expected):
        converted(workshop, folder, tmp_path / "b")


def test_a_folder_that_is_no_saved_model(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"\1\2\3" * 99)
    (tmp_path / "labels.txt").write_text("a\nb\n")
    with pytest.raises(ConvertError, match="is no SavedModel with a signature") as caught:
        converted(workshop, tmp_path / "model", tmp_path / "b", labels=tmp_path / "labels.txt")
    assert "\n" not in str(caught.value)


def test_as_a_person_sees_it(networks: Path, labels: Path, tmp_path: Path) -> None:
    """A whole process: one line on stderr, no file, no process left."""
    done = lineside(
        "convert", networks / "of_a_rare_operator.keras", "--labels", labels,
        "--out", tmp_path / "b", ok=False,
    )  # fmt: skip
    assert done.stdout == ""
    assert "used by the layer whiten; replace that layer" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert os.listdir(tmp_path) == []  # noqa: PTH208
    assert workers_of(tmp_path) == []


# ---- labels


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"bad\n", "gives 1 labels, but the model has 2 answers: one line for each, in the order"),
        (b"a\nb\nc\n", "gives 3 labels, but the model has 2 answers: one line for each"),
        (b"bad\n\nok\n", "labels.txt, line 2: a label of 1 to 128 characters is expected"),
        (b"", "labels.txt, line 1: a label of 1 to 128 characters is expected"),
        (b"bad\n" + 129 * b"x" + b"\n", "labels.txt, line 2: a label of 1 to 128 characters"),
        ("schön\nhäßlich\n".encode("latin-1"), "labels.txt is no text in UTF-8"),
        (None, "labels.txt can't be read: No such file or directory"),
    ],
)
def test_labels(tiny: Path, tmp_path: Path, data: bytes | None, message: str) -> None:
    path = tiny.parent / "labels.txt"
    if data is not None:
        path.write_bytes(data)
    said = reason(InputError, tiny, "--labels", path, "--out", tmp_path / "b")
    assert message in said
    assert "--labels" in said
    assert os.listdir(tmp_path) == ["in"]  # noqa: PTH208


def test_without_labels(tiny: Path, tmp_path: Path) -> None:
    said = reason(InputError, tiny, "--out", tmp_path / "b")
    expected = "tiny.tflite does not say its labels: --labels FILE with one line for each is"
    assert expected in said


def test_labels_that_can_be_read(tiny: Path, tmp_path: Path) -> None:
    path = tiny.parent / "labels.txt"
    path.write_bytes("\ufeffgut\r\nhäßlich \r\n\r\n".encode())
    done = attempt(tiny, "--labels", path, "--good", "gut", "--out", tmp_path / "b")
    assert done.exit_code == 0, done.exception
    labels = open_bundle(tmp_path / "b").manifest.labels
    assert [(label.name, label.good) for label in labels] == [("gut", True), ("häßlich", False)]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--good", "fine"], "--good 'fine' is none of the labels: 'bad', 'ok'"),
        (["--good", "bad", "--good", "ok"], "all of the labels 'bad', 'ok' mean a good part"),
    ],
)
def test_which_are_good(tiny: Path, tmp_path: Path, args: list[str], message: str) -> None:
    path = tiny.parent / "labels.txt"
    path.write_text("bad\nok\n")
    said = reason(DatasetError, tiny, "--labels", path, *args, "--out", tmp_path / "b")
    assert message in said


# ---- images


def without(label: str) -> Callable[[Path], object]:
    return lambda folder: shutil.rmtree(folder / label)


def unreadable(folder: Path) -> None:
    for path in folder.glob("*/*"):
        path.write_bytes(b"no picture")


def other_label(folder: Path) -> None:
    (folder / "ok").rename(folder / "fine")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("bad"), "holds only the label 'ok': a folder for each of two labels or more"),
        (unreadable, "holds no image: a folder for each of two labels or more is expected"),
        (other_label, "the model has no label 'fine': rename the folder, or the line in --labels"),
        (shutil.rmtree, "is no folder: a folder that holds one folder for each label is expected"),
    ],
)
def test_images(
    tiny: Path, cells: Path, tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    photos = tiny.parent / "photos"
    for label, found in (("bad", "defective"), ("ok", "functional")):
        (photos / label).mkdir(parents=True)
        for path in sorted((cells / found).iterdir())[:6]:
            shutil.copy(path, photos / label)
    assert len(read_dataset(photos).photos) == 12
    change(photos)
    names = tiny.parent / "labels.txt"
    names.write_text("bad\nok\n")
    given = [tiny, "--labels", names, "--images", photos, "--out", tmp_path / "b"]
    assert message in reason(DatasetError, *given)
    assert os.listdir(tmp_path) == ["in"]  # noqa: PTH208


def test_photos_that_are_gone(run_folder: Path, tmp_path: Path) -> None:
    said = reason(RunError, run_folder, "--out", tmp_path / "b", "--images", tmp_path / "gone")
    assert "say where they are with --images DIR" in said


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_photo_that_was_changed(
    run: Run, cells: Path, workshop: Workshop, tmp_path: Path, part: str
) -> None:
    data = Path(shutil.copytree(cells, tmp_path / "moved"))
    row = next(row for row in run.split if row.part == part)
    other = next(other for other in run.split if other.sha256 != row.sha256)
    shutil.copy(cells / other.file, data / row.file)
    with pytest.raises(DatasetError) as caught:
        converted(workshop, run.path, tmp_path / "b", data=data)
    expected = f"{row.file!r} was changed: sha256 {row.sha256} is expected, got {other.sha256}"
    assert str(caught.value) == expected
    (data / row.file).unlink()
    with pytest.raises(DatasetError) as caught:
        converted(workshop, run.path, tmp_path / "b", data=data)
    assert f"{row.file!r} can't be read from {data}" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["moved"]


def test_a_model_that_answers_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "nan.tflite"
    path.write_bytes(tiny_model(bias=[float("nan"), 0.0], last=None))
    said = reason(ConvertError, path, "--out", tmp_path / "b")
    assert "its output is not finite (NaN or infinite)" in said
    path.write_bytes(tiny_model(weights=np.zeros((2, 64)), bias=[1.0, 0.0]))
    said = reason(ConvertError, path, "--out", tmp_path / "b")
    assert "it gives the same answer for each of" in said
