"""The split: made from the images' content, or imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lineside.dataset import (
    NO_GROUPS,
    Dataset,
    Grouping,
    check_label,
    check_undivided,
    split_photos,
)
from lineside.errors import DatasetError
from lineside.run import PARTS, SplitRow, decode_split


def choose_split(
    dataset: Dataset, seed: int, imported: Path | None, grouping: Grouping = NO_GROUPS
) -> tuple[SplitRow, ...]:
    """Which image is trained, chosen and tested on.

    Args:
        dataset: the images.
        seed: of a new split.
        imported: a split.csv to take over instead.
        grouping: which images belong together.

    Raises:
        DatasetError: a label has too few images or groups, or the imported split does not fit.
        RunError: the imported file is no split.csv.
    """
    if imported is None:
        return split_photos(dataset.photos, seed, groups=grouping.of)
    try:
        data = imported.read_bytes()
    except OSError as error:
        msg = f"--split {imported} can't be read ({error.strerror})"
        raise DatasetError(msg) from error
    rows = import_split(decode_split(data, str(imported)), dataset, str(imported))
    check_undivided({row.file: row.part for row in rows}, grouping, str(imported))
    return rows


def import_split(rows: Sequence[SplitRow], dataset: Dataset, name: str) -> tuple[SplitRow, ...]:
    """Check that an imported split fits the images.

    Args:
        rows: the split.
        dataset: the images; those the split doesn't list are not used.
        name: what to call the split in an error.

    Returns:
        The rows, sorted by file.

    Raises:
        DatasetError: a file is listed twice, is not there or has other content; identical images
            are divided; or a part has no image of some label.
    """
    there = {photo.file: photo.sha256 for photo in dataset.photos}
    part_of: dict[str, SplitRow] = {}
    files: set[str] = set()
    for row in rows:
        _check_row(row, there, files, dataset, name)
        files.add(row.file)
        first = part_of.setdefault(row.sha256, row)
        if first.part != row.part:
            msg = (
                f"{name} divides identical images: {first.file!r} is in {first.part} "
                f"and {row.file!r} in {row.part}; put both into the same part"
            )
            raise DatasetError(msg)
    for part in PARTS:
        missing = set(dataset.labels) - {row.label for row in rows if row.part == part}
        if missing:
            msg = f"{name} has no image of the label {min(missing)!r} in {part}: add one"
            raise DatasetError(msg)
    return tuple(sorted(rows, key=lambda row: row.file))


def _check_row(
    row: SplitRow, there: dict[str, str], listed: set[str], dataset: Dataset, name: str
) -> None:
    check_label(row.label)
    found = there.get(row.file)
    if found is None:
        left_out = any(row.file in notice.files for notice in dataset.notices)
        why = "was left out" if left_out else f"is not in {dataset.root}"
        msg = f"{name} lists {row.file!r}, which {why}: take it out of the split, or bring it back"
        raise DatasetError(msg)
    if found != row.sha256:
        msg = f"{name} lists {row.file!r} with sha256 {row.sha256}, but its content has {found}"
        raise DatasetError(msg)
    if row.file in listed:
        msg = f"{name} lists {row.file!r} twice"
        raise DatasetError(msg)
