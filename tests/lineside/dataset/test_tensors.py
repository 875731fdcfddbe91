"""Photos as a model sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lineside.dataset import (
    load_tensors,
    read_dataset,
)
from lineside.errors import DatasetError, ImageError
from lineside.image import Preprocess, decode, to_tensor
from tests.support.pictures import colourful, encoded


@pytest.mark.parametrize("spec", [Preprocess(colour="gray"), Preprocess(resize="stretch")])
def test_tensors_are_what_the_one_way_from_bytes_to_tensor_gives(
    folder: Path, spec: Preprocess
) -> None:
    files = [photo.file for photo in read_dataset(folder).photos][::-1]
    tensors = load_tensors(folder, files, spec, (24, 32), what="Reading")
    assert (tensors.shape, tensors.dtype) == ((12, 24, 32, spec.channels), np.uint8)
    for file, tensor in zip(files, tensors, strict=True):
        frame = decode((folder / file).read_bytes())
        assert np.array_equal(tensor, to_tensor(frame, spec, (24, 32)))


@pytest.mark.parametrize(
    "file", ["../outside.png", "/etc/hostname", "functional/../../outside.png"]
)
def test_a_file_outside_of_the_folder_is_refused(folder: Path, file: str) -> None:
    (folder.parent / "outside.png").write_bytes(encoded(colourful(), "PNG"))
    with pytest.raises(DatasetError, match=f"'{file}' lies outside of {folder}, and is refused"):
        load_tensors(folder, [file], Preprocess(), (16, 16), what="Reading")


def test_a_file_that_went_away_is_named(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"'functional/gone\.png' can't be read from .*No such"):
        load_tensors(folder, ["functional/gone.png"], Preprocess(), (16, 16), what="Reading")


def test_a_file_that_broke_meanwhile_is_named(folder: Path) -> None:
    (folder / "functional" / "late.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"'functional/late\.png': the file is empty"):
        load_tensors(folder, ["functional/late.png"], Preprocess(), (16, 16), what="Reading")
