"""The command as a user types it, up to the point where training would begin."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.command import lineside
from tests.support.pictures import colourful, encoded


def refused(*args: str | Path | float, env: dict[str, str] | None = None) -> str:
    """What `lineside train` says when it refuses: one line."""
    said = lineside("train", *args, ok=False, env=env).stderr
    assert said.startswith("error: "), said
    assert said.count("\n") == 1, said
    return said.removeprefix("error: ").rstrip("\n")


@pytest.fixture
def folder(cells: Path, tmp_path: Path) -> Path:
    """Six cells for each of two labels that aren't known."""
    for label, name in (("defective", "crack"), ("functional", "fine")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for file in sorted((cells / label).iterdir())[:6]:
            shutil.copy(file, tmp_path / "photos" / name)
    return tmp_path / "photos"


def test_help_shows_examples() -> None:
    said = lineside("train", "--help").stdout
    assert "lineside train photos --out runs/first\n" in said
    for option in ("--good", "--sort", "--arch", "--split", "--augment", "--flip", "--patience"):
        assert option in said


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    said = refused(tmp_path / "nowhere", "--out", tmp_path / "run")
    assert said.startswith(f"{tmp_path}/nowhere is no folder")


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    said = refused(tmp_path / "photos", "--out", tmp_path / "run")
    assert said.startswith(f"{tmp_path}/photos holds no image")


def test_one_label(folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder / "crack")
    said = refused(folder, "--out", tmp_path / "run")
    assert "holds only the label 'fine': a folder for each of two labels or more" in said


def test_too_few_images(folder: Path, tmp_path: Path) -> None:
    for file in sorted((folder / "crack").iterdir())[2:]:
        file.unlink()
    said = refused(folder, "--out", tmp_path / "run", "--good", "fine")
    assert said.startswith("the label 'crack' has 2 different images, 3 are the least")


def test_no_label_known_as_good(folder: Path, tmp_path: Path) -> None:
    said = refused(folder, "--out", tmp_path / "run")
    assert said.startswith("none of the labels 'crack', 'fine' is known to mean a good part")
    assert "--good LABEL" in said
    assert "--sort" in said


def test_a_run_that_is_there_is_refused_before_any_work(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    done = lineside("train", folder, "--out", tmp_path / "run", "--good", "fine", ok=False)
    assert done.stderr == (
        f"error: {tmp_path}/run is there already: choose another name for --out, or remove it\n"
    )
    assert done.stdout == ""
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_a_run_among_the_photos_is_refused(folder: Path) -> None:
    said = refused(folder, "--out", folder / "runs" / "first")
    assert said.startswith(f"{folder}/runs/first lies inside {folder}, where it would be taken")


def test_an_unknown_backend(folder: Path, tmp_path: Path) -> None:
    said = refused(
        folder, "--out", tmp_path / "run", "--good", "fine", env={"KERAS_BACKEND": "theano"}
    )
    assert said == "KERAS_BACKEND is 'theano': tensorflow or jax is expected"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--good", "fine", "--sort"], "--good and --sort contradict each other"),
        (["--arch", "mlp", "--width", "2"], "--width means nothing to --arch mlp"),
        (["--units", "8"], "--units means nothing to --arch plain"),
        (["--arch", "resnet"], "'resnet' is not one of 'plain', 'separable', 'mlp'"),
        (["--image-size", "8"], "8 is not in the range 16<=x<=1024"),
        (["--width", "0"], "0.0 is not in the range 0.1<=x<=8.0"),
        (["--learning-rate", "0"], "0.0 is not in the range 0.0<x<=10.0"),
        (["--epochs", "many"], "'many' is not a valid integer"),
        (["--escape-cost", "-1"], "the cost 'escape' must be a number above 0, got -1"),
        (["--max-escapes", "0"], "a limit on escapes must lie above 0 and up to 1, such as 0.01"),
        (["--sort", "--reject-cost", "2"], "--reject-cost means nothing when sorting"),
        (["--folds", "2"], "2 is not in the range 3<=x<=20"),
        (["--good", "fine", "--folds", "9"], "has 6 different images (or groups) to be divided by"),
    ],
)
def test_options_that_cannot_be_meant(
    folder: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    done = lineside("train", folder, "--out", tmp_path / "run", *options, ok=False)
    assert message in done.stderr


def test_notices_come_first(folder: Path, tmp_path: Path) -> None:
    (folder / "fine" / "太阳 1.png").write_bytes(b"")
    (folder / "fine" / "b.jpg").write_bytes(encoded(colourful(), "JPEG", turned=6))
    # Nothing is trained here: the backend is refused behind the notices.
    done = lineside(
        *("train", folder, "--out", tmp_path / "run", "--good", "fine"),
        env={"KERAS_BACKEND": "none", "PYTHONIOENCODING": "utf-8"},
        ok=False,
    )
    lines = done.stdout.splitlines()
    assert lines == [
        "notice: 'fine/太阳 1.png': the file is empty (0 bytes); it is left out",
        "notice: images with an EXIF rotation: 1 (first: 'fine/b.jpg'); it is applied",
        (
            "notice: 1 image of another shape or size than the others, 300x300 "
            "(first: 'fine/b.jpg', 80x60)"
        ),
        "13 images of 2 labels, good: 'fine'; the model sees rgb",
        "  train      7: 3 'crack', 4 'fine'",
        "  val        2: 1 'crack', 1 'fine'",
        "  test       4: 2 'crack', 2 'fine'",
    ]


def test_hundreds_of_notices_are_not_all_printed(folder: Path, tmp_path: Path) -> None:
    for n in range(200):
        (folder / "fine" / f"{n}.png").write_bytes(b"")
    done = lineside(
        *("train", folder, "--out", tmp_path / "run", "--sort"),
        env={"KERAS_BACKEND": "none"},
        ok=False,
    )
    notices = [line for line in done.stdout.splitlines() if line.startswith("notice: ")]
    assert len(notices) == 21
    assert notices[-1] == "notice: … and 180 more, all in the report"
    assert "12 images of 2 labels, sorted into all of them; the model sees gray" in done.stdout
