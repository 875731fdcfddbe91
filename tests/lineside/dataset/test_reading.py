"""A folder of photos: what is used, what is left out, and what is said about it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from lineside.dataset import (
    Dataset,
    Notice,
    check_label,
    load_tensors,
    read_dataset,
)
from lineside.errors import DatasetError
from lineside.image import Preprocess
from tests.support.pictures import colourful, encoded, png_that_claims


def notices(dataset: Dataset, kind: str) -> list[Notice]:
    return [notice for notice in dataset.notices if notice.kind == kind]


def test_every_cell_is_found_with_its_hash(cells: Path) -> None:
    dataset = read_dataset(cells)
    assert dataset.labels == ("defective", "functional")
    assert dataset.notices == ()
    assert dataset.gray
    files = sorted(path.relative_to(cells).as_posix() for path in cells.rglob("*.png"))
    assert [photo.file for photo in dataset.photos] == files
    for photo in dataset.photos[::40]:
        assert photo.sha256 == hashlib.sha256((cells / photo.file).read_bytes()).hexdigest()
        assert photo.label == photo.file.split("/")[0]


def test_one_picture_in_colour_makes_the_data_colour(folder: Path) -> None:
    (folder / "functional" / "new.png").write_bytes(encoded(colourful(), "PNG"))
    assert not read_dataset(folder).gray


def test_photos_may_lie_deeper(folder: Path) -> None:
    deeper = folder / "functional" / "monday" / "early"
    deeper.mkdir(parents=True)
    (deeper / "a.JPG").write_bytes(encoded(colourful(), "JPEG"))
    dataset = read_dataset(folder)
    assert "functional/monday/early/a.JPG" in [photo.file for photo in dataset.photos]
    assert dataset.labels == ("defective", "functional")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere is no folder: a folder that holds one folder"):
        read_dataset(tmp_path / "nowhere")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as refused:
        read_dataset(tmp_path)
    assert f"{tmp_path} holds no image: a folder for each of two labels" in str(refused.value)
    assert f"such as {tmp_path}/good and {tmp_path}/scratch" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_one_label_is_refused(folder: Path) -> None:
    shutil.rmtree(folder / "defective")
    with pytest.raises(DatasetError, match="holds only the label 'functional': a folder for each"):
        read_dataset(folder)


def test_a_label_whose_images_all_fail_is_as_good_as_none(folder: Path) -> None:
    for file in (folder / "defective").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"only the label 'functional'.*empty \(0 bytes\)"):
        read_dataset(folder)


def test_a_third_label_without_images_is_left_out(folder: Path) -> None:
    (folder / "scratch").mkdir()
    dataset = read_dataset(folder)
    assert dataset.labels == ("defective", "functional")
    messages = [notice.message for notice in notices(dataset, "empty")]
    assert messages == ["the label 'scratch' has no usable image and is left out"]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("cut.png", encoded(colourful(), "PNG")[:-100], "the picture is truncated"),
        ("cut.jpg", encoded(colourful(), "JPEG")[:-100], "the picture is truncated"),
        ("none.png", b"", r"the file is empty \(0 bytes\)"),
        ("dot.png", encoded(colourful(1, 1), "PNG"), "1x1 pixels is too small, 8x8 is the least"),
        ("text.jpg", b"not found", r"no picture, or a damaged one \(9 bytes\)"),
        # However large the limit of this process's OpenCV is, this is above it.
        ("huge.png", png_that_claims(200_000, 200_000), "more than 100,000,000 pixels"),
    ],
)
def test_what_cannot_be_used_is_left_out_and_said(
    folder: Path, name: str, data: bytes, reason: str
) -> None:
    (folder / "functional" / name).write_bytes(data)
    dataset = read_dataset(folder)
    (notice,) = dataset.notices
    assert notice.kind == "unreadable"
    assert notice.files == (f"functional/{name}",)
    assert notice.message.startswith(f"'functional/{name}': ")
    assert notice.message.endswith("; it is left out")
    assert re.search(reason, notice.message)
    assert len(dataset.photos) == 12


def test_a_file_that_is_far_too_large_is_not_even_read(folder: Path) -> None:
    with (folder / "functional" / "dump.png").open("wb") as file:
        file.truncate(600_000_000)  # sparse: it takes no room
    (notice,) = read_dataset(folder).notices
    assert "600000000 bytes is too large, 500000000 is the most" in notice.message


def sixteen_bits() -> bytes:
    return bytes(cv2.imencode(".png", colourful().astype(np.uint16) * 256)[1].tobytes())


@pytest.mark.parametrize(
    ("kind", "name", "data", "message"),
    [
        ("16-bit", "a.png", sixteen_bits(), "images of more than 8 bits a channel: 2"),
        ("cmyk", "a.jpg", encoded(colourful(), "JPEG", mode="CMYK"), "CMYK images: 2"),
        ("alpha", "a.png", encoded(colourful(), "PNG", mode="RGBA"), "images with transparency: 2"),
        (
            "exif",
            "a.jpg",
            encoded(colourful(), "JPEG", turned=6),
            "images with an EXIF rotation: 2",
        ),
    ],
)
def test_what_is_treated_specially_is_used_and_said(
    folder: Path, kind: str, name: str, data: bytes, message: str
) -> None:
    for label, extra in (("defective", b""), ("functional", bytes(1))):
        (folder / label / name).write_bytes(data + extra)
    dataset = read_dataset(folder)
    (notice,) = dataset.notices
    assert notice.kind == kind
    assert notice.message.startswith(f"{message} (first: 'defective/{name}'); ")
    assert notice.files == (f"defective/{name}", f"functional/{name}")
    assert len(dataset.photos) == 14


def test_the_same_image_under_two_labels_is_kept_out(folder: Path) -> None:
    twin = min((folder / "defective").iterdir())
    shutil.copy(twin, folder / "functional" / "twin.png")
    shutil.copy(twin, folder / "functional" / "triplet.png")
    dataset = read_dataset(folder)
    (notice,) = dataset.notices
    assert notice.kind == "conflict"
    assert notice.message == (
        f"'defective/{twin.name}' and 'functional/twin.png' are the same image under two labels: "
        "all 3 copies are left out"
    )
    left_out = {f"defective/{twin.name}", "functional/twin.png", "functional/triplet.png"}
    assert set(notice.files) == left_out
    assert not left_out & {photo.file for photo in dataset.photos}


def test_copies_within_a_label_are_said(folder: Path) -> None:
    first = min((folder / "defective").iterdir())
    shutil.copy(first, folder / "defective" / "zz copy.png")
    dataset = read_dataset(folder)
    (notice,) = notices(dataset, "duplicates")
    assert notice.message.startswith("copies of other images: 1 (first: 'defective/zz copy.png'")
    assert len(dataset.photos) == 13


ODD = (
    "a b.png",
    "Prüfteil ß.png",
    "太阳能电池.png",
    "two\nlines.png",
    "-rf.png",
    "a,'b\".png",
    "%s.png",
)


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_names_like_any_other(folder: Path, name: str) -> None:
    (folder / "functional" / name).write_bytes(encoded(colourful(), "PNG"))
    dataset = read_dataset(folder)
    assert dataset.notices == ()
    assert f"functional/{name}" in [photo.file for photo in dataset.photos]
    tensors = load_tensors(folder, [f"functional/{name}"], Preprocess(), (16, 16), what="Reading")
    assert tensors.shape == (1, 16, 16, 3)


def test_an_odd_name_never_breaks_a_line(folder: Path) -> None:
    (folder / "functional" / "two\nlines.png").write_bytes(b"")
    (notice,) = read_dataset(folder).notices
    assert notice.message.startswith(r"'functional/two\nlines.png': the file is empty")
    assert "\n" not in notice.message


def test_a_name_that_is_no_text_is_left_out(folder: Path) -> None:
    path = os.fsencode(folder / "functional") + b"/\xff.png"
    with open(path, "wb") as file:  # noqa: PTH123 - a name in bytes is no Path
        file.write(encoded(colourful(), "PNG"))
    (notice,) = read_dataset(folder).notices
    assert notice.kind == "others"
    assert notice.message.isprintable()


def test_other_files_are_left_out_and_said(folder: Path) -> None:
    (folder / "functional" / "notes.txt").write_text("x")
    (folder / "loose.png").write_bytes(encoded(colourful(), "PNG"))
    (folder / "functional" / ".hidden.png").write_bytes(b"ignored")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.png").write_bytes(b"ignored")
    (notice,) = read_dataset(folder).notices
    assert notice.kind == "others"
    assert set(notice.files) == {"functional/notes.txt", "loose.png"}
    assert notice.message.startswith("files that are no photos of a label: 2 (first: ")


def test_a_link_inside_the_folder_is_followed(folder: Path) -> None:
    first = min((folder / "defective").iterdir())
    (folder / "defective" / "again.png").symlink_to(first)
    dataset = read_dataset(folder)
    assert "defective/again.png" in [photo.file for photo in dataset.photos]
    assert [notice.kind for notice in dataset.notices] == ["duplicates"]


def test_links_out_of_the_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(encoded(colourful(), "PNG"))
    (folder / "functional" / "secret.png").symlink_to(outside / "secret.png")
    (folder / "linked").symlink_to(outside)
    (folder / "up").symlink_to("..")
    (folder / "functional" / "dangling.png").symlink_to("nothing")
    dataset = read_dataset(folder)
    (notice,) = dataset.notices
    assert notice.kind == "links"
    expected = {"functional/secret.png", "linked", "up", "functional/dangling.png"}
    assert set(notice.files) == expected
    assert notice.message.startswith("links to folders, or out of the data folder: 4 (first: ")
    assert dataset.labels == ("defective", "functional")


@pytest.mark.parametrize(
    "name", ["..", ".", "", ".hidden", "a/b", "a\\b", "two\nlines", "\x1b[31m"]
)
def test_a_label_must_be_the_name_of_a_plain_folder(name: str) -> None:
    with pytest.raises(DatasetError) as refused:
        check_label(name)
    assert str(refused.value) == (
        f"the label {name!r} is refused: the name of a plain folder is expected; rename it"
    )


def test_a_label_has_a_limited_length() -> None:
    with pytest.raises(DatasetError, match="is refused: 128 characters at most, got 129"):
        check_label("x" * 129)


@pytest.mark.parametrize("name", ["ok", "Kratzer tief", "太阳", "a,b", "100%"])
def test_other_labels_are_fine(name: str) -> None:
    assert check_label(name) == name


def test_a_folder_whose_name_is_no_label_is_refused(folder: Path) -> None:
    (folder / "functional").rename(folder / "two\nlines")
    with pytest.raises(DatasetError, match=r"the label 'two\\nlines' is refused"):
        read_dataset(folder)
