"""Photos that belong together: said by a file or a pattern, and never divided."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from lineside.dataset import (
    MAX_LABELS,
    Grouping,
    Photo,
    check_undivided,
    merge,
    read_dataset,
    read_groups,
    split_photos,
    write_groups,
)
from lineside.errors import DatasetError, InputError
from lineside.run import PARTS


def photos_of(**images: int) -> list[Photo]:
    """Photos of labels, each with its own content."""
    return [
        Photo(f"{label}/{n}.png", hashlib.sha256(f"{label} {n}".encode()).hexdigest())
        for label, count in images.items()
        for n in range(count)
    ]


def refused(source: str | None, folder: Path) -> str:
    with pytest.raises(DatasetError) as error:
        read_groups(source, read_dataset(folder))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("seed", range(20))
def test_a_group_is_never_divided_and_every_part_has_every_label(seed: int) -> None:
    random = np.random.default_rng(seed)
    photos = photos_of(bad=60, good=200, odd=25)
    groups = {photo.file: f"{photo.label}{random.integers(12)}" for photo in photos}
    groups |= {photo.file: f"both{random.integers(6)}" for photo in photos[::7]}
    rows = split_photos(photos, seed, groups=groups)
    parts = defaultdict(set)
    for row in rows:
        parts[groups[row.file]].add(row.part)
    assert max(map(len, parts.values())) == 1
    assert {(row.label, row.part) for row in rows} == {
        (label, part) for label in ("bad", "good", "odd") for part in PARTS
    }
    assert len(rows) == len(photos)


def test_with_groups_the_parts_still_have_their_share() -> None:
    photos = photos_of(bad=400, good=800)
    groups = {photo.file: f"{photo.label}{k // 8}" for k, photo in enumerate(photos)}
    found = Counter((row.label, row.part) for row in split_photos(photos, 0, groups=groups))
    for label, count in (("bad", 400), ("good", 800)):
        for part, fraction in zip(PARTS, (0.6, 0.15, 0.25), strict=True):
            assert abs(found[label, part] - fraction * count) <= 8


def test_groups_of_one_change_nothing() -> None:
    photos = photos_of(bad=40, good=60)
    alone = {photo.file: photo.file for photo in photos}
    assert split_photos(photos, 3, groups=alone) == split_photos(photos, 3)


def test_the_names_of_groups_change_nothing() -> None:
    photos = photos_of(bad=40, good=60)
    groups = {photo.file: f"{photo.label}{k // 5}" for k, photo in enumerate(photos)}
    renamed = {file: f"the {name[::-1]}" for file, name in groups.items()}
    assert split_photos(photos, 3, groups=groups) == split_photos(photos, 3, groups=renamed)


def test_a_label_in_too_few_groups() -> None:
    photos = photos_of(bad=40, good=60)
    groups = {photo.file: f"{photo.label}{k % 2}" for k, photo in enumerate(photos[:40])}
    with pytest.raises(DatasetError) as error:
        split_photos(photos, 0, groups=groups)
    assert str(error.value) == (
        "the label 'bad' has 40 different images, but in 2 groups only, 3 are the least (one each "
        "to train, choose and test on): add images of other parts, or make smaller groups"
    )


def test_groups_that_hold_the_labels_so_that_no_split_can_be_made() -> None:
    photos = photos_of(a=3, b=3, c=3)
    together = [("a/0", "b/0"), ("a/1", "c/0"), ("b/1", "c/1"), ("a/2", "b/2", "c/2")]
    groups = {f"{file}.png": str(k) for k, files in enumerate(together) for file in files}
    with pytest.raises(DatasetError, match=r"no image of the label '.' can be had in (val|test)"):
        split_photos(photos, 0, groups=groups)


def test_labels_with_one_two_and_three_images() -> None:
    with pytest.raises(DatasetError) as error:
        split_photos(photos_of(one=1, two=2, three=3, many=9), 0)
    assert str(error.value) == (
        "the label 'one' has 1 different images, 3 are the least (one each to train, choose and "
        "test on) and 100 a sensible start: add some (1 more such labels)"
    )
    found = Counter((row.label, row.part) for row in split_photos(photos_of(three=3, many=9), 0))
    assert [found["three", part] for part in PARTS] == [1, 1, 1]


def test_as_many_labels_as_are_allowed_are_split_in_seconds() -> None:
    rows = split_photos(photos_of(**{f"l{k}": 5 for k in range(MAX_LABELS)}), 0)
    assert Counter(row.part for row in rows) == {"train": 3000, "val": 1000, "test": 1000}


def test_ten_thousand_labels_are_refused_before_an_image_is_read(tmp_path: Path) -> None:
    for k in range(10_000):
        (tmp_path / f"part{k}").mkdir()
        (tmp_path / f"part{k}" / "a.png").touch()
    with pytest.raises(DatasetError) as error:
        read_dataset(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} holds 10,000 labels, 1,000 are the most: one folder for each label is "
        "expected, not one for each part or each photo"
    )


def test_a_file_of_groups(folder: Path) -> None:
    files = [photo.file for photo in read_dataset(folder).photos]
    groups = {file: f"part {k // 2}" for k, file in enumerate(files)}
    write_groups(folder.parent / "mine.csv", groups)
    found = read_groups(str(folder.parent / "mine.csv"), read_dataset(folder))
    assert found.of == groups
    (notice,) = found.notices
    assert notice.message.endswith("mine.csv: 12 images in 6 groups, none is divided")


def test_groups_in_the_data_folder_are_used_without_being_asked_for(folder: Path) -> None:
    assert read_groups(None, read_dataset(folder)).of == {}
    files = [photo.file for photo in read_dataset(folder).photos]
    write_groups(folder / "groups.csv", dict.fromkeys(files[:4], "a"))
    dataset = read_dataset(folder)
    assert dataset.notices == ()
    found = read_groups(None, dataset)
    assert found.of == dict.fromkeys(files[:4], "a")
    assert found.notices[0].message == (
        f"{folder / 'groups.csv'}: 4 images in 1 groups, none is divided; 8 images are in none "
        f"(first: {files[4]!r}), each is on its own"
    )


def test_a_pattern(folder: Path) -> None:
    dataset = read_dataset(folder)
    found = read_groups(r"cell(\d{3})\d", dataset)
    assert set(found.of) == {photo.file for photo in dataset.photos}
    assert all(group in file for file, group in found.of.items())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line must be file,group, got ''"),
        ("name,part\n", "the first line must be file,group, got 'name,part'"),
        ("file,group\nok/1.png\n", "line 2: a file and a group are expected, got 1 columns"),
        ("file,group\n{0},a,b\n", "line 2: a file and a group are expected, got 3 columns"),
        ("file,group\n{0},\n", "line 2: '{0}' has no group; name one, or take the line out"),
        ("file,group\n{0},a\n\n{0},b\n", "line 4: '{0}' is listed twice; take one of them out"),
        ("file,group\nok/gone.png,a\n", "line 2: 'ok/gone.png' is not in {1}; paths begin with"),
        ('file,group\n"{0},a\n', "is no list of groups (unexpected end of data)"),
        ("file,group\n\udcff,a\n", "is no list of groups ('utf-8' codec can't decode"),
    ],
)
def test_files_of_groups_that_are_refused(folder: Path, text: str, message: str) -> None:
    first = read_dataset(folder).photos[0].file
    text, message = text.format(first, folder), message.format(first, folder)
    (folder / "groups.csv").write_bytes(text.encode(errors="surrogateescape"))
    assert message in refused(None, folder)


def test_a_file_of_groups_that_is_not_there(folder: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.csv can't be read: No such file or directory"):
        read_groups("gone.csv", read_dataset(folder))


def test_a_group_of_an_unreadable_photo_is_no_mistake(folder: Path) -> None:
    files = [photo.file for photo in read_dataset(folder).photos]
    write_groups(folder / "groups.csv", dict.fromkeys(files, "a"))
    (folder / files[0]).write_bytes(b"")
    assert set(read_groups(None, read_dataset(folder)).of) == set(files[1:])


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("cell(", "is neither a .csv file nor a regular expression (missing ), unterminated"),
        (r"cell\d+", "one pair of parentheses says what frames of one part have in common"),
        (r"(c)ell(\d+)", "such as 'part(\\d+)_', got 2"),
        (r"wafer(\d+)", "is found in none of the 12 paths, such as 'defective/cell"),
    ],
)
def test_patterns_that_are_refused(folder: Path, pattern: str, message: str) -> None:
    assert message in refused(pattern, folder)


def test_a_split_with_a_group_on_both_sides() -> None:
    grouping = Grouping({"a/1.png": "p", "a/3.png": "p"}, "groups.csv")
    check_undivided({"a/1.png": "val", "a/2.png": "test", "a/3.png": "val"}, grouping, "s.csv")
    with pytest.raises(DatasetError) as error:
        check_undivided({"a/1.png": "val", "a/3.png": "train"}, grouping, "s.csv")
    assert str(error.value) == (
        "s.csv divides the group 'p' of groups.csv: 'a/1.png' is in val and 'a/3.png' in train; "
        "put both into the same part"
    )


def test_what_hangs_together_through_others() -> None:
    assert merge([["b", "c"], ["d"], ["e", "a"], ["c", "e"]]) == [["a", "b", "c", "e"], ["d"]]
