"""`lineside inspect`: one verdict for each image."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lineside.bundle import open_bundle, zip_bundle
from lineside.errors import BundleError, EngineError, InputError
from lineside.inspect import find_images, inspect, inspect_files
from lineside.inspector import Inspector
from lineside.manifest import PARITY_UNKNOWN
from tests.support.bundles import crash, edit_model, unmeasured, with_model
from tests.support.command import lineside


@pytest.fixture
def photos(cells: Path, tmp_path: Path) -> Path:
    """Six photos, some in folders below."""
    for number, label in enumerate(("defective", "functional")):
        folder = tmp_path / "photos" / f"tray {number}"
        folder.mkdir(parents=True)
        for file in sorted((cells / label).iterdir())[:3]:
            shutil.copy(file, folder)
    return tmp_path / "photos"


def read(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_one_json_object_a_line(bundle_folder: Path, photos: Path) -> None:
    done = lineside("inspect", bundle_folder, photos, "--json")
    lines = read(done.stdout)
    files = sorted(str(file) for file in photos.rglob("*.png"))
    assert [line["file"] for line in lines] == files
    assert done.stderr == ""
    for line in lines:
        assert set(line) == {
            "file", "verdict", "reasons", "label", "score", "scores", "latency_ms",
        }  # fmt: skip
        assert line["verdict"] in {"ok", "ng", "review"}
        assert line["reasons"]
        assert line["label"] == line["scores"][0][0]
        assert sum(p for _, p in line["scores"]) == pytest.approx(1.0)
        assert dict(line["scores"])["defective"] == pytest.approx(line["score"])
        assert min(line["latency_ms"].values()) > 0


@pytest.mark.parametrize("how", [[], ["--json"]])
def test_what_there_is_to_know_is_said_on_stderr(
    bundle_folder: Path, photos: Path, tmp_path: Path, how: list[str]
) -> None:
    bundle = unmeasured(bundle_folder, tmp_path / "b", "the labels were guessed", "one more")
    said, plain = (lineside("inspect", path, photos, *how) for path in (bundle, bundle_folder))
    assert said.stderr.splitlines() == [
        "note: the labels were guessed",
        "note: one more",
        f"note: {PARITY_UNKNOWN}",
    ]
    assert plain.stderr == ""
    if how:
        assert [set(line) for line in read(said.stdout)] == [set(x) for x in read(plain.stdout)]
    else:
        assert said.stdout == plain.stdout


def test_the_zip_answers_as_the_folder(bundle_folder: Path, photos: Path, tmp_path: Path) -> None:
    zip_bundle(bundle_folder, tmp_path / "cells.zip")
    files = sorted(photos.rglob("*.png"))
    zipped, plain = (
        [(line.verdict, line.score) for line in inspect_files(Inspector(open_bundle(path)), files)]
        for path in (tmp_path / "cells.zip", bundle_folder)
    )
    assert zipped == plain


def test_a_table_for_people(bundle_folder: Path, photos: Path) -> None:
    said = CliRunner().invoke(inspect, [str(bundle_folder), str(photos)])
    lines = said.stdout.splitlines()
    assert said.exit_code == 0
    assert lines[0].split() == ["verdict", "score", "label", "file"]
    assert len(lines) == 7
    assert lines[1].split()[0] in {"ok", "ng", "review"}
    assert lines[1].endswith(".png")


def test_what_cannot_be_read_is_a_no_read(bundle_folder: Path, photos: Path) -> None:
    good = next(photos.rglob("*.png"))
    (photos / "empty.png").write_bytes(b"")
    (photos / "cut.png").write_bytes(good.read_bytes()[:1000])
    (photos / "text.png").write_text("hello")
    wanted = [photos / name for name in ("empty.png", "cut.png", "text.png", "missing.png")]
    done = lineside("inspect", bundle_folder, good, *wanted, "--json", ok=False)
    assert "error: 4 of 5 images gave no_read" in done.stderr
    first, *others = read(done.stdout)
    assert first["verdict"] in {"ok", "ng", "review"}
    for line, expected in zip(
        others,
        ["the file is empty (0 bytes)", "truncated", "no picture", "No such file or directory"],
        strict=True,
    ):
        assert line["verdict"] == "no_read"
        assert expected in line["reasons"][0]
        assert line["file"] in line["reasons"][0]
        assert (line["label"], line["score"], line["latency_ms"]) == (None, None, None)


def test_odd_names(bundle_folder: Path, photos: Path) -> None:
    good = next(photos.rglob("*.png")).read_bytes()
    names = ["ein Ä.png", "瑕疵.png", "[red]x.png", "-n.png"]
    for name in names:
        (photos / name).write_bytes(good)
    undecodable = os.fsencode(photos) + b"/caf\xe9.png"
    Path(os.fsdecode(undecodable)).write_bytes(good)
    inspector = Inspector(open_bundle(bundle_folder))
    found = [line.file for line in inspect_files(inspector, find_images([photos]))]
    assert {str(photos / name) for name in names} < set(found)
    assert str(photos) + r"/caf\xe9.png" in found
    done = lineside("inspect", bundle_folder, photos, env={"PYTHONUTF8": "1"})
    assert "[red]x.png" in done.stdout
    assert r"caf\xe9.png" in done.stdout


def test_a_folder_without_an_image(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no photo")
    with pytest.raises(InputError, match=r"holds no image: \.bmp, \.jpeg, .* are looked for"):
        find_images([tmp_path])


def test_a_model_that_crashes_stops_nothing_but_its_child(
    bundle_folder: Path, photos: Path, tmp_path: Path
) -> None:
    model = edit_model(open_bundle(bundle_folder).model, crash)
    with_model(bundle_folder, tmp_path / "bad", model)
    done = CliRunner().invoke(inspect, [str(tmp_path / "bad"), str(photos)])
    assert isinstance(done.exception, EngineError)
    assert "its model killed the process that tried it (SIGSEGV)" in str(done.exception)


def test_what_is_no_bundle(photos: Path) -> None:
    done = CliRunner().invoke(inspect, [str(photos), str(photos)])
    assert isinstance(done.exception, BundleError)
    assert "'tray 0/" in str(done.exception)
