"""A folder of photos, one folder for each label: walked, hashed and checked.

Nothing is dropped in silence: what is left out, and what is treated specially, is a `Notice`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from lineside.dataset.checking import PECULIAR, Checked, check_file
from lineside.dataset.threads import in_threads
from lineside.dataset.types import Dataset, Notice, Photo
from lineside.dataset.walking import counted, label_folders, walk
from lineside.errors import DatasetError


def read_dataset(root: Path, *, min_labels: int = 2) -> Dataset:
    """Walk a folder of photos, hash each image and check that it can be decoded.

    Hidden files are ignored. Links are followed where they lead to a file inside the root.

    Args:
        root: holds one folder for each label; photos may lie in folders below that.
        min_labels: how many labels there must be at least.

    Raises:
        DatasetError: no such folder, no images, too few labels, or a label that can't be
            used as one.
    """
    files, notices = walk(root)
    checked = in_threads(lambda file: check_file(root, file), files, "Checking the images")
    notices += [Notice("unreadable", one.problem, (one.file,)) for one in checked if one.problem]
    usable = [one for one in checked if not one.problem]
    notices += _peculiar(usable)
    conflicts, doubles = _doubles(usable)
    notices += conflicts + doubles
    left_out = {file for notice in conflicts for file in notice.files}
    usable = [one for one in usable if one.file not in left_out]
    photos = tuple(Photo(one.file, one.sha256) for one in usable)
    labels = tuple(sorted({photo.label for photo in photos}))
    for empty in sorted(label_folders(root) - set(labels)):
        message = f"the label {empty!r} has no usable image and is left out"
        notices.append(Notice("empty", message, ()))
    if len(labels) < min_labels:
        raise DatasetError(_too_few(root, labels, notices))
    return Dataset(
        root,
        labels,
        photos,
        tuple(notices),
        gray=all(one.gray for one in usable),
        sizes=frozenset(one.size for one in usable),
    )


def _too_few(root: Path, labels: Sequence[str], notices: Sequence[Notice]) -> str:
    found = f"only the label {labels[0]!r}" if labels else "no image"
    why = f"; {notices[0].message}" if notices else ""
    more = f" ({len(notices) - 1} more such notices)" if len(notices) > 1 else ""
    return (
        f"{root} holds {found}: a folder for each of two labels or more is expected, "
        f"such as {root / 'good'} and {root / 'scratch'}, with images in them{why}{more}"
    )


def _peculiar(usable: Sequence[Checked]) -> list[Notice]:
    notices = []
    for kind, (what, done) in PECULIAR.items():
        files = [one.file for one in usable if kind in one.peculiarities]
        notices += counted(kind, files, what, done)
    return notices


def _doubles(usable: Sequence[Checked]) -> tuple[list[Notice], list[Notice]]:
    """Images that come twice: under two labels (a conflict), or within one."""
    groups: dict[str, list[str]] = defaultdict(list)
    for one in usable:
        groups[one.sha256].append(one.file)
    conflicts: list[Notice] = []
    copies: list[str] = []
    for files in (tuple(files) for files in groups.values() if len(files) > 1):
        if len({file.split("/", 1)[0] for file in files}) > 1:
            message = (
                f"{files[0]!r} and {files[-1]!r} are the same image under two labels: "
                f"all {len(files)} copies are left out"
            )
            conflicts.append(Notice("conflict", message, files))
        else:
            copies += files[1:]
    done = "copies stay together in one part of the split"
    return conflicts, counted("duplicates", copies, "copies of other images", done)
