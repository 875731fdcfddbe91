"""Photos that belong together, such as all frames of one part: they are never divided by a split.

Two ways to say so: a file of two columns, `file,group`, or a pattern, a regular expression whose
one group is found in the photo's path. A group may hold photos of several labels.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lineside.dataset.types import Dataset, Notice
from lineside.dataset.walking import GROUPS_FILE, set_aside_folder
from lineside.errors import DatasetError
from lineside.files import read_file, write_file

MAX_BYTES: Final = 200_000_000
"""A file of groups larger than this is refused."""

_HEADER: Final = ["file", "group"]


@dataclass(frozen=True)
class Grouping:
    """Which photos belong together.

    Attributes:
        of: photo's file -> name of its group. A photo that is not listed is on its own.
        source: where that comes from, for people; empty: nobody said anything of groups.
        notices: what a person should know of it.
    """

    of: Mapping[str, str]
    source: str = ""
    notices: tuple[Notice, ...] = ()


NO_GROUPS: Final = Grouping({})


def read_groups(source: str | None, dataset: Dataset) -> Grouping:
    """Which photos belong together, as a person said.

    Args:
        source: the path of a `file,group` file (it ends with `.csv`), or a pattern; None: the
            `groups.csv` in the data folder, if there is one.
        dataset: the photos.

    Raises:
        DatasetError: the file or the pattern can't be used; the message says why.
        InputError: the file can't be read.
    """
    if source is None:
        path = dataset.root / GROUPS_FILE
        return _from_file(path, dataset) if path.is_file() else NO_GROUPS
    if source.lower().endswith(".csv"):
        return _from_file(Path(source), dataset)
    return _from_pattern(source, dataset)


def write_groups(path: Path, groups: Mapping[str, str]) -> None:
    """Write a file of groups, sorted by file.

    Raises:
        StorageError: the disk is full or can't be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    writer.writerows(sorted(groups.items()))
    write_file(path, text.getvalue().encode())


def merge(linked: Iterable[Sequence[str]]) -> list[list[str]]:
    """The sets of files that hang together, directly or through others.

    Args:
        linked: files of which each is linked with all others of the same sequence.

    Returns:
        Each file once; the files of a set sorted, the sets in the order of their first file.
    """
    leader: dict[str, str] = {}

    def find(file: str) -> str:
        while leader[file] != file:
            leader[file] = leader[leader[file]]
            file = leader[file]
        return file

    for files in linked:
        for file in files:
            leader.setdefault(file, file)
            leader[find(file)] = find(files[0])
    found: dict[str, list[str]] = {}
    for file in sorted(leader):
        found.setdefault(find(file), []).append(file)
    return list(found.values())


def check_undivided(part_of: Mapping[str, str], grouping: Grouping, name: str) -> None:
    """Refuse a split that has a group on both sides.

    Args:
        part_of: file -> part of the split.
        grouping: which photos belong together.
        name: what to call the split in an error.

    Raises:
        DatasetError: a group is divided; two of its files are named.
    """
    first: dict[str, str] = {}
    for file in sorted(part_of):
        group = grouping.of.get(file)
        if group is None:
            continue
        other = first.setdefault(group, file)
        if part_of[other] != part_of[file]:
            msg = (
                f"{name} divides the group {group!r} of {grouping.source}: {other!r} is in "
                f"{part_of[other]} and {file!r} in {part_of[file]}; put both into the same part"
            )
            raise DatasetError(msg)


def _from_file(path: Path, dataset: Dataset) -> Grouping:
    rows = _rows(path)
    there = {photo.file for photo in dataset.photos}
    left_out = {file for notice in dataset.notices for file in notice.files}
    aside = set_aside_folder(dataset.root)
    of: dict[str, str] = {}
    for line, (file, group) in rows:
        if file in of:
            msg = f"{path}, line {line}: {file!r} is listed twice; take one of them out"
            raise DatasetError(msg)
        if not group:
            msg = f"{path}, line {line}: {file!r} has no group; name one, or take the line out"
            raise DatasetError(msg)
        if file not in there and file not in left_out and not (aside / file).is_file():
            msg = (
                f"{path}, line {line}: {file!r} is not in {dataset.root}; paths begin with the "
                "label, such as ok/0001.jpg: correct it, or take the line out"
            )
            raise DatasetError(msg)
        of[file] = group
    return _grouping({file: of[file] for file in of if file in there}, str(path), dataset)


def _rows(path: Path) -> list[tuple[int, tuple[str, str]]]:
    """The number of each line, and what it says."""
    try:
        text = read_file(path, MAX_BYTES).decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        rows = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        msg = f"{path} is no list of groups ({error}): UTF-8 text, file,group in each line"
        raise DatasetError(msg) from error
    if not rows or rows[0][1] != _HEADER:
        found = ",".join(rows[0][1])[:80] if rows else ""
        msg = f"{path}: the first line must be file,group, got {found!r}"
        raise DatasetError(msg)
    for line, row in rows[1:]:
        if len(row) != len(_HEADER):
            msg = f"{path}, line {line}: a file and a group are expected, got {len(row)} columns"
            raise DatasetError(msg)
    return [(line, (row[0], row[1])) for line, row in rows[1:]]


def _from_pattern(pattern: str, dataset: Dataset) -> Grouping:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        msg = (
            f"--groups {pattern!r} is neither a .csv file nor a regular expression ({error}): "
            "such as 'part(\\d+)_'"
        )
        raise DatasetError(msg) from error
    if compiled.groups != 1:
        msg = (
            f"--groups {pattern!r}: one pair of parentheses says what frames of one part have in "
            f"common, such as 'part(\\d+)_', got {compiled.groups}"
        )
        raise DatasetError(msg)
    matches = ((photo.file, compiled.search(photo.file)) for photo in dataset.photos)
    of = {file: match[1] for file, match in matches if match is not None and match[1]}
    if not of:
        msg = (
            f"--groups {pattern!r} is found in none of the {len(dataset.photos)} paths, such as "
            f"{dataset.photos[0].file!r}: correct it"
        )
        raise DatasetError(msg)
    return _grouping(of, f"--groups {pattern!r}", dataset)


def _grouping(of: Mapping[str, str], source: str, dataset: Dataset) -> Grouping:
    message = f"{source}: {len(of)} images in {len(set(of.values()))} groups, none is divided"
    alone = [photo.file for photo in dataset.photos if photo.file not in of]
    if alone:
        message += f"; {len(alone)} images are in none (first: {alone[0]!r}), each is on its own"
    return Grouping(of, source, (Notice("groups", message, ()),))
