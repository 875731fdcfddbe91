"""Photos that are decoded once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from lineside.errors import DatasetError
from lineside.image import Preprocess
from lineside.run import SplitRow
from lineside_train import cache
from lineside_train.cache import cached_tensors
from tests.support.disk import tiny_disk

SPEC = Preprocess(colour="gray")
SIZE = (32, 24)


def rows_of(cells: Path, count: int = 20) -> list[SplitRow]:
    files = sorted(cells.rglob("*.png"))[:count]
    return [
        SplitRow(
            file.relative_to(cells).as_posix(),
            hashlib.sha256(file.read_bytes()).hexdigest(),
            "train",
        )
        for file in files
    ]


def test_photos_are_decoded_once(cells: Path, tmp_path: Path) -> None:
    rows = rows_of(cells)
    plain = cached_tensors(cells, rows, SPEC, SIZE, None)
    first = cached_tensors(cells, rows, SPEC, SIZE, tmp_path)
    (file,) = tmp_path.iterdir()
    again = cached_tensors(tmp_path / "gone", rows, SPEC, SIZE, tmp_path)  # no photo is read
    assert isinstance(again, np.memmap)
    assert not again.flags.writeable
    for found in (first, again):
        assert (found.shape, found.dtype) == ((20, *SIZE, 1), np.uint8)
        assert np.array_equal(found, plain)
    assert file.stat().st_size < plain.nbytes + 200


def test_other_photos_sizes_or_specs_are_other_files(cells: Path, tmp_path: Path) -> None:
    rows = rows_of(cells)
    cached_tensors(cells, rows, SPEC, SIZE, tmp_path)
    cached_tensors(cells, rows[1:], SPEC, SIZE, tmp_path)
    cached_tensors(cells, rows, SPEC, (24, 32), tmp_path)
    cached_tensors(cells, rows, Preprocess(colour="rgb"), SIZE, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_photo_that_was_changed_meanwhile_is_refused_and_nothing_is_kept(
    cells: Path, tmp_path: Path
) -> None:
    rows = rows_of(cells)
    rows[3] = SplitRow(rows[3].file, "0" * 64, "train")
    with pytest.raises(DatasetError, match="was changed"):
        cached_tensors(cells, rows, SPEC, SIZE, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"no array", None])
def test_a_damaged_file_is_made_again(cells: Path, tmp_path: Path, damage: bytes | None) -> None:
    rows = rows_of(cells)
    cached_tensors(cells, rows, SPEC, SIZE, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-99] if damage is None else damage)
    found = cached_tensors(cells, rows, SPEC, SIZE, tmp_path)
    assert np.array_equal(found, cached_tensors(cells, rows, SPEC, SIZE, None))


def test_a_full_disk_costs_the_time_of_decoding_only(cells: Path, tmp_path: Path) -> None:
    rows = rows_of(cells)
    with tiny_disk(tmp_path / "disk", kib=8) as disk:
        found = cached_tensors(cells, rows, SPEC, SIZE, disk)
        assert list(disk.iterdir()) == []
    assert np.array_equal(found, cached_tensors(cells, rows, SPEC, SIZE, None))


def test_the_files_used_longest_ago_go_first(
    cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(cells)
    for count in (8, 9, 10):
        cached_tensors(cells, rows[:count], SPEC, SIZE, tmp_path)
    files = sorted(tmp_path.iterdir(), key=lambda file: file.stat().st_size)
    for age, file in enumerate((files[0], files[2], files[1])):
        os.utime(file, (1000 + age, 1000 + age))
    cached_tensors(cells, rows[:8], SPEC, SIZE, tmp_path)  # used again
    total = sum(file.stat().st_size for file in files)
    partial = tmp_path / f".{files[2].stem}.host.99"  # what a training left that was killed
    partial.write_bytes(bytes(1000))
    os.utime(partial, (999, 999))
    other = tmp_path / "photo.npy"  # somebody's own, in a folder that --cache was given
    other.write_bytes(bytes(1000))
    os.utime(other, (998, 998))
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(cache, "LIMIT", total - 1)
    cached_tensors(cells, rows[:1], SPEC, SIZE, tmp_path)
    left = set(tmp_path.iterdir())
    assert partial not in left
    assert {other, tmp_path / "folder"} < left
    assert files[2] not in left
    assert {files[0], files[1]} < left
