"""`lineside data check`, as a user calls it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import pytest
from click.testing import CliRunner

from lineside.dataset import (
    NO_GROUPS,
    read_dataset,
    read_groups,
    set_aside_folder,
    split_photos,
    write_groups,
)
from lineside.errors import DatasetError, InputError, StorageError
from lineside.image import Frame
from lineside.run import encode_split
from lineside_train.data import quick
from lineside_train.data.command import data
from lineside_train.data.looks import look_at
from tests.support.command import lineside
from tests.support.photos import change, read


@pytest.fixture
def spoiled(folder: Path) -> Path:
    """Cells with an unreadable file, copies, near copies, two labels for one, and a tape."""
    change(folder, "defective", taped)
    first, second, third, *_ = sorted((folder / "functional").iterdir())
    shutil.copy(first, folder / "functional" / "copy.png")
    shutil.copy(second, folder / "defective" / "other.png")
    (folder / "functional" / "empty.png").touch()
    assert cv2.imwrite(str(folder / "functional" / "near.jpg"), read(third))
    return folder


def taped(frame: Frame) -> Frame:
    frame[:8] = (200, 80, 30)
    return frame


def check(*args: str | Path) -> str:
    """What `lineside data check ARGS --json` prints."""
    arguments = ["check", *map(str, args), "--json"]
    done = CliRunner().invoke(data, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def findings(done: str) -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in json.loads(done)["findings"]}


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


class _Pictures(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if (tag, name) == ("img", "src")]


def test_everything_is_found_shown_moved_and_moved_back(spoiled: Path, tmp_path: Path) -> None:
    before = files(spoiled)
    page = tmp_path / "check.html"
    printed = check(spoiled, "--report", page, "--fix-near")
    report = json.loads(printed)
    assert report["schema"] == "lineside.data_check/1"
    assert report["labels"] == {"defective": 40, "functional": 41}
    assert sum(report["split"].values()) == report["images"] == 81
    found = findings(printed)
    assert {"unreadable", "conflict", "duplicates", "near_duplicates", "border_shortcut"} <= set(
        found
    )
    levels = [one["level"] for one in report["findings"]]
    assert levels == sorted(levels, key=["warning", "note"].index)

    html = page.read_text()
    shown = _Pictures(html).sources
    assert shown
    assert all(source.startswith("data:image/jpeg;base64,") for source in shown)
    assert "Each line is one photo: its top, right, bottom and left edge" in html

    assert before - files(spoiled) >= {
        "functional/copy.png",
        "functional/empty.png",
        "defective/other.png",
        "functional/near.jpg",
    }
    left = findings(check(spoiled))
    assert not {"unreadable", "conflict", "duplicates", "near_duplicates"} & set(left)
    assert re.fullmatch(r"moved back: \d+\n", lineside("data", "put-back", spoiled).stdout)
    assert files(spoiled) == before


def test_without_fix_nothing_is_touched(spoiled: Path) -> None:
    before = files(spoiled)
    # As a program has it that wants to know whether all is well.
    done = lineside("data", "check", spoiled, "--strict", ok=False)
    assert done.returncode == 1
    assert done.stdout.startswith("81 images of 2 labels\n")
    assert "\nwarning: 'functional/empty.png': the file is empty (0 bytes); it is left out\n" in (
        done.stdout
    )
    assert files(spoiled) == before
    assert not set_aside_folder(spoiled).exists()


def test_near_duplicates_become_groups_that_training_keeps(spoiled: Path, tmp_path: Path) -> None:
    near = {f"functional/{path.name}" for path in sorted((spoiled / "functional").iterdir())[2:3]}
    near |= {"functional/near.jpg"}
    rows = [
        replace(row, part="test" if row.file.endswith("near.jpg") else "train")
        if row.file in near
        else row
        for row in split_photos(read_dataset(spoiled).photos, 0)
    ]
    (tmp_path / "split.csv").write_bytes(encode_split(rows))
    printed = check(spoiled, "--split", tmp_path / "split.csv", "--write-groups")
    leaks = findings(printed)["leak"]["items"]
    assert near in [set(item["files"]) for item in leaks]
    again = findings(check(spoiled))
    assert "leak" not in again
    assert "none is divided" in again["groups"]["message"]
    with pytest.raises(
        DatasetError, match=r"split\.csv divides the group 'alike \d+' of .*s\.csv:"
    ):
        check(spoiled, "--split", tmp_path / "split.csv")
    with pytest.raises(StorageError, match=r"is there already, and --groups names another: move"):
        check(spoiled, "--groups", "(cell)", "--write-groups")


def test_groups_may_list_what_was_set_aside(spoiled: Path) -> None:
    groups = {photo.file: photo.file for photo in read_dataset(spoiled).photos}
    write_groups(spoiled / "groups.csv", groups)
    check(spoiled, "--fix-near")
    assert "functional/near.jpg" not in files(spoiled)
    assert set(read_groups(None, read_dataset(spoiled)).of) == {
        photo.file for photo in read_dataset(spoiled).photos
    }


def test_no_split_can_be_made(folder: Path) -> None:
    for path in sorted((folder / "defective").iterdir())[2:]:
        path.unlink()
    found = findings(check(folder))
    assert found["split"]["message"].startswith("the label 'defective' has 2 different images")
    assert found["split"]["level"] == "warning"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--split", "gone.csv"], "--split gone.csv can't be read (No such file or"),
        (["--groups", "gone.csv"], "gone.csv can't be read: No such file or directory"),
        (["--groups", "(x)"], "--groups '(x)' is found in none of the 80 paths, such as"),
        (["--run", "gone"], "gone"),
    ],
)
def test_bad_input(folder: Path, more: list[str], message: str) -> None:
    with pytest.raises(InputError) as error:
        check(folder, *more)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    done = lineside("data", "check", tmp_path / "gone", ok=False)
    assert done.stderr == (
        f"error: {tmp_path / 'gone'} is no folder: a folder that holds one folder for each label "
        "is expected\n"
    )


def test_every_training_begins_with_the_quick_ones(spoiled: Path) -> None:
    dataset = read_dataset(spoiled)
    notices = quick(dataset, split_photos(dataset.photos, 0), NO_GROUPS)
    assert "border_shortcut" in {notice.kind for notice in notices}
    assert all("\n" not in notice.message for notice in notices)


def test_ordinary_cells_train_without_a_word_of_shortcuts(cells: Path) -> None:
    dataset = read_dataset(cells)
    kinds = {one.kind for one in quick(dataset, split_photos(dataset.photos, 0), NO_GROUPS)}
    assert kinds <= {"leak", "near_conflicts"}


def test_a_photo_that_vanishes_meanwhile_is_named(folder: Path) -> None:
    dataset = read_dataset(folder)
    (folder / dataset.photos[3].file).unlink()
    with pytest.raises(DatasetError) as error:
        look_at(dataset)
    assert str(error.value).startswith(f"{dataset.photos[3].file!r} can't be read from {folder}")


@pytest.mark.parametrize("images", [1, 2, 3])
def test_the_smallest_folders(folder: Path, images: int) -> None:
    for label in ("defective", "functional"):
        for path in sorted((folder / label).iterdir())[images:]:
            path.unlink()
    found = findings(check(folder))
    assert set(found) == ({"few", "label_suspects"} if images == 3 else {"few", "split"})
