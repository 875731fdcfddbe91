"""Which files of a folder are photos of a label, and which are ignored."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from lineside.dataset.types import Notice
from lineside.errors import DatasetError

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
"""What the name of a photo ends with, in any case."""

GROUPS_FILE: Final = "groups.csv"
"""Beside the labels' folders: which photos belong together (see `grouping.py`)."""

MAX_LABELS: Final = 1000
"""More labels than this are refused before a single image is read."""


def walk(root: Path) -> tuple[list[str], list[Notice]]:
    """The files below the labels' folders that may be photos, sorted, and what is ignored.

    Raises:
        DatasetError: no such folder, one that can't be read, a label that can't be one, or too
            many labels.
    """
    if not root.is_dir():
        msg = f"{root} is no folder: a folder that holds one folder for each label is expected"
        raise DatasetError(msg)
    files: list[str] = []
    labels: set[str] = set()
    links: list[str] = []
    others: list[str] = []
    real_root = root.resolve()
    for path in _entries(root):
        file = path.relative_to(root).as_posix()
        if path.is_symlink() and not (path.is_file() and is_inside(path, real_root)):
            links.append(file)
        elif file == GROUPS_FILE:
            continue
        elif "/" not in file or path.suffix.lower() not in SUFFIXES or not _is_utf8(file):
            others.append(file)
        elif path.is_file():
            labels.add(check_label(file.split("/", 1)[0]))
            files.append(file)
    if len(labels) > MAX_LABELS:
        msg = (
            f"{root} holds {len(labels):,} labels, {MAX_LABELS:,} are the most: one folder for "
            "each label is expected, not one for each part or each photo"
        )
        raise DatasetError(msg)
    notices = counted(
        "links", links, "links to folders, or out of the data folder", "they are not followed"
    ) + counted("others", others, "files that are no photos of a label", "they are left out")
    return sorted(files), notices


def check_label(name: str) -> str:
    """Return `name` if it may be a label: the name of a plain folder.

    Raises:
        DatasetError: it is empty, `.`, `..` or hidden, holds a slash or a control character, or
            is longer than 128 characters.
    """
    if not name or name.startswith(".") or "/" in name or "\\" in name or not name.isprintable():
        msg = f"the label {name!r} is refused: the name of a plain folder is expected; rename it"
        raise DatasetError(msg)
    if len(name) > 128:
        msg = f"the label {name!r} is refused: 128 characters at most, got {len(name)}; rename it"
        raise DatasetError(msg)
    return name


def label_folders(root: Path) -> set[str]:
    """The names of the labels' folders."""
    return {
        path.name
        for path in root.iterdir()
        if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
    }


def set_aside_folder(root: Path) -> Path:
    """The folder beside the data that takes what was moved out of it."""
    real = root.resolve()
    return real.with_name(f"{real.name}.set-aside")


def is_inside(path: Path, real_root: Path) -> bool:
    """Whether `path`, links followed, lies in `real_root`, a folder that is no link."""
    return path.resolve().is_relative_to(real_root)


def counted(kind: str, files: Sequence[str], what: str, done: str) -> list[Notice]:
    """One notice about all these files; none if there is no file."""
    if not files:
        return []
    message = f"{what}: {len(files)} (first: {files[0]!r}); {done}"
    return [Notice(kind, message, tuple(files))]


def _entries(root: Path) -> Iterator[Path]:
    """Every file and every link below `root` that is not hidden, in no order."""

    def refuse(error: OSError) -> None:
        msg = f"{error.filename} can't be read ({error.strerror})"
        raise DatasetError(msg) from error

    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*names, *linked):
            if not name.startswith("."):
                yield Path(folder, name)


def _is_utf8(name: str) -> bool:
    # The bytes of such a name can't be written to split.csv.
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
