"""Photos divided into train, val and test, by what they hold."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from lineside.dataset.grouping import merge
from lineside.dataset.types import Photo
from lineside.errors import DatasetError
from lineside.run import PARTS, SplitRow

MIN_IMAGES: Final = 3
"""Different images that each label needs: one for each part of the split."""


def split_photos(
    photos: Sequence[Photo],
    seed: int,
    fractions: tuple[float, float, float] = (0.6, 0.15, 0.25),
    groups: Mapping[str, str] | None = None,
) -> tuple[SplitRow, ...]:
    """Divide photos into train, val and test: by content, stratified, groups undivided.

    Units (a photo with its copies, or a group) are put in the order of sha256(seed:sha256),
    those of the labels with the fewest units first, then the largest. Each goes to the part where
    most of its labels are missing yet, then to the one that lacks the largest share of its quota.
    Names, dates and the machine play no part in it.

    Args:
        photos: of all labels.
        seed: another seed gives another split.
        fractions: of train, val and test; they add up to 1.
        groups: file -> group, for photos that must not be divided; the others are on their own.

    Returns:
        One row for each photo, sorted by file. Each part has an image of each label at least.

    Raises:
        DatasetError: a label has fewer than three different images or groups, or the groups are
            such that no part can have an image of each label.
    """
    units = _units(photos, groups or {})
    _check_enough(photos, _units_of(units))
    images = Counter(photo.label for photo in photos)
    quotas = np.stack([_quotas(count, fractions) for count in images.values()])
    rows = [
        SplitRow(photo.file, photo.sha256, PARTS[part])
        for unit, part in _deal(units, list(images), quotas, seed)
        for photo in unit
    ]
    _check_whole(rows, images)
    return tuple(sorted(rows, key=lambda row: row.file))


def share_photos(
    photos: Sequence[Photo],
    shares: Sequence[float],
    seed: int,
    groups: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """Divide photos into any number of parts, by the rules of `split_photos`.

    Args:
        photos: of all labels.
        shares: of each part; they add up to 1.
        seed: another seed deals them out in another way.
        groups: as for `split_photos`.

    Returns:
        For each photo's file the number of its part. Each part has an image of each label.

    Raises:
        DatasetError: a label has fewer different images or groups than there are parts, or the
            groups are such that no part can have an image of each label.
    """
    units = _units(photos, groups or {})
    for label, count in _units_of(units).items():
        if count < len(shares):
            msg = (
                f"the label {label!r} has {count} different images (or groups) to be divided by "
                f"{len(shares)}: add some, or divide by {max(count, 2)} at most"
            )
            raise DatasetError(msg)
    images = Counter(photo.label for photo in photos)
    quotas = np.outer(np.array(list(images.values()), np.float64), shares)
    part_of: dict[str, int] = {}
    there = set()
    for unit, part in _deal(units, list(images), quotas, seed):
        part_of |= {photo.file: part for photo in unit}
        there |= {(photo.label, part) for photo in unit}
    for label in images:
        if len([part for name, part in there if name == label]) < len(shares):
            msg = (
                f"images of the label {label!r} can't be divided by {len(shares)} without dividing "
                "a group that holds several labels: make smaller groups, or another --seed"
            )
            raise DatasetError(msg)
    return part_of


def _units_of(units: Sequence[Sequence[Photo]]) -> Counter[str]:
    """How many units hold a photo of each label."""
    return Counter(label for unit in units for label in {photo.label for photo in unit})


def _deal(
    units: Sequence[Sequence[Photo]],
    names: Sequence[str],
    quotas: npt.NDArray[np.float64],
    seed: int,
) -> Iterator[tuple[Sequence[Photo], int]]:
    """Give each unit to a part, as `split_photos` says.

    Args:
        units: photos that stay together.
        names: the labels.
        quotas: labels x parts: how many images each part should get.
        seed: of the order.
    """
    counts = [Counter(photo.label for photo in unit) for unit in units]
    units_of = _units_of(units)
    number = {label: k for k, label in enumerate(names)}
    left = quotas.copy()

    def place(k: int) -> tuple[int, int, str]:
        rarest = min(units_of[label] for label in counts[k])
        return rarest, -len(units[k]), _shuffled(seed, min(photo.sha256 for photo in units[k]))

    for k in sorted(range(len(units)), key=place):
        labels = [number[label] for label in counts[k]]
        held = np.fromiter(counts[k].values(), np.float64)
        missing = (left[labels] == quotas[labels]).sum(axis=0)
        lacking = (held / held.sum()) @ (left[labels] / quotas[labels])
        part = int(np.lexsort((np.arange(quotas.shape[1]), -lacking, -missing))[0])
        left[labels, part] -= held
        yield units[k], part


def _units(photos: Sequence[Photo], groups: Mapping[str, str]) -> list[list[Photo]]:
    """Photos that must stay together: identical ones, those of a group, and what these link."""
    linked: dict[tuple[str, str], list[str]] = defaultdict(list)
    for photo in photos:
        linked["label and content", f"{photo.label}/{photo.sha256}"].append(photo.file)
        if photo.file in groups:
            linked["group", groups[photo.file]].append(photo.file)
    by_file = {photo.file: photo for photo in photos}
    return [[by_file[file] for file in files] for files in merge(linked.values())]


def _check_enough(photos: Sequence[Photo], units_of: Mapping[str, int]) -> None:
    """Refuse a label that can't be divided by three."""
    contents: dict[str, set[str]] = defaultdict(set)
    for photo in photos:
        contents[photo.label].add(photo.sha256)
    few = [label for label in units_of if units_of[label] < MIN_IMAGES]
    if not few:
        return
    label = next((one for one in few if len(contents[one]) < MIN_IMAGES), few[0])
    more = f" ({len(few) - 1} more such labels)" if len(few) > 1 else ""
    if len(contents[label]) < MIN_IMAGES:
        msg = (
            f"the label {label!r} has {len(contents[label])} different images, {MIN_IMAGES} are "
            "the least (one each to train, choose and test on) and 100 a sensible start: add some"
        )
    else:
        msg = (
            f"the label {label!r} has {len(contents[label])} different images, but in "
            f"{units_of[label]} groups only, {MIN_IMAGES} are the least (one each to train, choose "
            "and test on): add images of other parts, or make smaller groups"
        )
    raise DatasetError(msg + more)


def _check_whole(rows: Sequence[SplitRow], labels: Iterable[str]) -> None:
    """Refuse a split in which a part has no image of some label: groups can make that happen."""
    there = {(row.label, row.part) for row in rows}
    for part in PARTS:
        for label in labels:
            if (label, part) not in there:
                msg = (
                    f"no image of the label {label!r} can be had in {part} without dividing a "
                    "group that holds several labels: make smaller groups, or another --seed"
                )
                raise DatasetError(msg)


def _shuffled(seed: int, sha256: str) -> str:
    return hashlib.sha256(f"{seed}:{sha256}".encode()).hexdigest()


def _quotas(images: int, fractions: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """How many images train, val and test should get: rounded, and one at least."""
    val, test = (max(1, int(images * fraction + 0.5)) for fraction in fractions[1:])
    return np.array([max(1, images - val - test), val, test], np.float64)


def fingerprint(photos: Sequence[Photo]) -> str:
    """The sha256 of the photos' hashes and files, sorted, in hex."""
    lines = sorted(f"{photo.sha256} {photo.file}\0" for photo in photos)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
