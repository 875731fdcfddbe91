from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lineside.dataset import Dataset, Grouping, read_dataset
from lineside.errors import DatasetError, RunError
from lineside.run import SplitRow, encode_split
from lineside_train.split import choose_split, import_split


@pytest.fixture
def dataset(cells: Path, tmp_path: Path) -> Dataset:
    """Six cells for each of two labels."""
    for label in ("defective", "functional"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for file in sorted((cells / label).iterdir())[:6]:
            shutil.copy(file, tmp_path / "photos" / label)
    return read_dataset(tmp_path / "photos")


@pytest.fixture
def rows(dataset: Dataset) -> list[SplitRow]:
    return list(choose_split(dataset, 5, None))


def refused(rows: list[SplitRow], dataset: Dataset) -> str:
    with pytest.raises(DatasetError) as error:
        import_split(rows, dataset, "split.csv")
    return str(error.value)


def test_a_split_is_taken_over(dataset: Dataset, rows: list[SplitRow], tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_bytes(encode_split(rows))
    assert list(choose_split(dataset, 0, tmp_path / "split.csv")) == rows
    assert list(choose_split(dataset, 0, None)) != rows, "another seed"


def test_images_that_a_split_does_not_list_are_not_used(
    dataset: Dataset, rows: list[SplitRow]
) -> None:
    fewer = [row for row in rows if row.file != rows[0].file]
    assert rows[0].part == "train"
    assert list(import_split(fewer, dataset, "split.csv")) == fewer


def test_a_file_that_is_not_there_is_named(dataset: Dataset, rows: list[SplitRow]) -> None:
    message = refused([*rows, SplitRow("defective/new.png", "0" * 64, "val")], dataset)
    assert message == (
        f"split.csv lists 'defective/new.png', which is not in {dataset.root}: "
        "take it out of the split, or bring it back"
    )


def test_a_file_that_was_left_out_says_so(dataset: Dataset, rows: list[SplitRow]) -> None:
    (dataset.root / rows[0].file).write_bytes(b"")
    assert "which was left out: take" in refused(rows, read_dataset(dataset.root))


def test_a_file_with_other_content_is_refused(dataset: Dataset, rows: list[SplitRow]) -> None:
    changed = [replace(rows[0], sha256="0" * 64), *rows[1:]]
    assert refused(changed, dataset) == (
        f"split.csv lists {rows[0].file!r} with sha256 {'0' * 64}, "
        f"but its content has {rows[0].sha256}"
    )


def test_a_file_listed_twice_is_refused(dataset: Dataset, rows: list[SplitRow]) -> None:
    assert refused([*rows, rows[3]], dataset) == f"split.csv lists {rows[3].file!r} twice"


def test_identical_images_must_not_be_divided(dataset: Dataset, rows: list[SplitRow]) -> None:
    first = next(row for row in rows if row.part == "train")
    copy = f"{first.label}/zz copy.png"
    shutil.copy(dataset.root / first.file, dataset.root / copy)
    divided = [*rows, SplitRow(copy, first.sha256, "test")]
    assert refused(divided, read_dataset(dataset.root)) == (
        f"split.csv divides identical images: {first.file!r} is in train and {copy!r} in test; "
        "put both into the same part"
    )


def test_every_part_needs_every_label(dataset: Dataset, rows: list[SplitRow]) -> None:
    without = [row for row in rows if row.part != "val" or row.label != "defective"]
    message = refused(without, dataset)
    assert message == "split.csv has no image of the label 'defective' in val: add one"


@pytest.mark.parametrize("file", ["../secret.png", "./x.png", "/etc/passwd", "a\\b/x.png"])
def test_a_label_that_is_no_folder_is_refused(
    dataset: Dataset, rows: list[SplitRow], file: str
) -> None:
    message = refused([SplitRow(file, "0" * 64, "train"), *rows], dataset)
    assert message.startswith(
        f"the label {file.split('/', maxsplit=1)[0]!r} is refused: the name of a plain"
    )


def test_a_split_that_cannot_be_read(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"--split .*gone\.csv can't be read \(No such file"):
        choose_split(dataset, 0, tmp_path / "gone.csv")
    (tmp_path / "split.csv").write_text("what,ever\n1,2\n")
    with pytest.raises(RunError, match=r"split\.csv, line 2: file, sha256 and part"):
        choose_split(dataset, 0, tmp_path / "split.csv")


def test_a_group_on_both_sides_of_an_imported_split(
    dataset: Dataset, rows: list[SplitRow], tmp_path: Path
) -> None:
    (tmp_path / "split.csv").write_bytes(encode_split(rows))
    first, other = rows[0], next(row for row in rows if row.part != rows[0].part)
    grouping = Grouping({first.file: "wafer 7", other.file: "wafer 7"}, "groups.csv")
    with pytest.raises(DatasetError) as error:
        choose_split(dataset, 0, tmp_path / "split.csv", grouping)
    assert "split.csv divides the group 'wafer 7' of groups.csv: " in str(error.value)


def test_a_new_split_keeps_groups_together(dataset: Dataset) -> None:
    groups = {photo.file: f"{photo.label}{k % 3}" for k, photo in enumerate(dataset.photos)}
    parts = {(groups[r.file], r.part) for r in choose_split(dataset, 1, None, Grouping(groups))}
    assert len(parts) == len(set(groups.values()))
