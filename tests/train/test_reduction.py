"""`lineside train --reduce`: what it comes to, and what it says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lineside.image import Decode
from lineside.run import open_run
from lineside_train.options import TrainOptions
from lineside_train.task import Task, gather
from tests.support.command import lineside
from tests.support.pictures import colourful, encoded


def photos(folder: Path, height: int = 120, width: int = 160, *, each: int = 4) -> Path:
    for label in ("crack", "ok"):
        (folder / label).mkdir(parents=True)
        for n in range(each):
            seed = n + 100 * (label == "ok")
            data = encoded(colourful(height, width, seed), "JPEG")
            (folder / label / f"{n}.jpg").write_bytes(data)
    return folder


def settled(folder: Path, **options: object) -> Decode:
    task = Task(
        data=folder,
        out=folder.parent / "run",
        good=(),
        sort=False,
        split=None,
        options=TrainOptions(**options),  # type: ignore[arg-type]
    )
    return gather(task).preprocess.decode


def test_a_photo_is_decoded_whole_unless_asked(tmp_path: Path) -> None:
    assert settled(photos(tmp_path / "photos"), image_size=16) == Decode(1)


@pytest.mark.parametrize(("size", "resize", "reduce"), [(16, "letterbox", 8), (16, "stretch", 4)])
def test_auto_is_the_most_that_leaves_enough(
    tmp_path: Path, size: int, resize: str, reduce: int
) -> None:
    folder = photos(tmp_path / "photos")
    assert settled(folder, image_size=size, resize=resize, reduce="auto") == Decode(reduce)  # type: ignore[arg-type]


def test_the_smallest_photo_decides(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    data = encoded(colourful(40, 40), "JPEG", turned=6)
    (folder / "ok" / "small.jpg").write_bytes(data)
    assert settled(folder, image_size=16, reduce="auto") == Decode(2)


def test_it_is_said_before_the_training(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    options = ("--image-size", "16", "--resize", "stretch")
    for reduce, said in (("auto", "rgb, decoded at 1/4 of its size"), ("1", "the model sees rgb")):
        done = lineside(
            *("train", folder, "--out", tmp_path / "run", *options, "--reduce", reduce),
            env={"KERAS_BACKEND": "none"},
            ok=False,
        )
        assert done.stdout.splitlines()[0].endswith(said)


def test_less_than_the_model_sees_is_noted(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    done = lineside(
        *("train", folder, "--out", tmp_path / "run", "--reduce", "8"),
        env={"KERAS_BACKEND": "none"},
        ok=False,
    )
    assert done.stdout.splitlines()[0] == (
        "notice: --reduce 8 leaves less than the model sees: 20x15 pixels of a photo of 160x120; "
        "--reduce 1 leaves enough of every one"
    )


def test_hardly_anything_left_is_refused(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 90, 50)
    done = lineside("train", folder, "--out", tmp_path / "run", "--reduce", "8", ok=False)
    assert done.stderr == (
        "error: --reduce 8 leaves 7x12 pixels of a photo of 50x90, 8x8 is the least: "
        "--reduce 1 would do\n"
    )


@pytest.mark.parametrize("value", ["3", "16", "most"])
def test_other_values_are_refused(tmp_path: Path, value: str) -> None:
    folder = photos(tmp_path / "photos", each=1)
    done = lineside("train", folder, "--out", tmp_path / "run", f"--reduce={value}", ok=False)
    assert f"'--reduce': '{value}' is not one of '1', '2', '4', '8', 'auto'" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.train
def test_a_run_and_its_bundle_hold_it_and_verdicts_agree(tmp_path: Path) -> None:
    folder, run, bundle = photos(tmp_path / "photos", each=12), tmp_path / "run", tmp_path / "b"
    options = ("--image-size", "16", "--epochs", "1", "--arch", "mlp", "--reduce", "auto")
    lineside("train", folder, "--out", run, *options)
    info = open_run(run).info
    assert info.preprocess.decode == Decode(8)
    assert info.options["reduce"] == "auto"
    lineside("convert", run, "--out", bundle, "--scheme", "float32")
    manifest = (bundle / "manifest.json").read_text()
    assert '"reduce": 8' in manifest
    shutil.rmtree(run)
    done = lineside("inspect", bundle, folder / "ok", "--json")
    assert done.stdout.count('"verdict"') == 12
    assert "no_read" not in done.stdout
