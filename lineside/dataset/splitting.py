"""Photos divided into train, val and test, by what they hold."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from lineside.dataset.types import Photo
from lineside.errors import DatasetError
from lineside.run import PARTS, SplitRow

MIN_IMAGES: Final = 3
"""Different images that each label needs: one for each part of the split."""


def split_photos(
    photos: Sequence[Photo], seed: int, fractions: tuple[float, float, float] = (0.6, 0.15, 0.25)
) -> tuple[SplitRow, ...]:
    """Divide photos into train, val and test: by content, stratified, copies kept together.

    For each label, its images (identical ones as one) are put in the order of
    sha256(seed:sha256), those with most copies first, and each goes to the part that lacks the
    largest share of its quota. Names, dates and the machine play no part in it.

    Args:
        photos: of all labels.
        seed: another seed gives another split.
        fractions: of train, val and test; they add up to 1.

    Returns:
        One row for each photo, sorted by file. Each part has an image of each label at least.

    Raises:
        DatasetError: a label has fewer than three different images.
    """
    by_label: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for photo in photos:
        by_label[photo.label][photo.sha256].append(photo.file)
    rows = []
    for label, groups in by_label.items():
        if len(groups) < MIN_IMAGES:
            msg = (
                f"the label {label!r} has {len(groups)} different images, {MIN_IMAGES} are the "
                "least (one each to train, choose and test on) and 100 a sensible start: add some"
            )
            raise DatasetError(msg)
        left = quotas = _quotas(sum(map(len, groups.values())), fractions)
        for sha256 in sorted(groups, key=lambda h: (-len(groups[h]), _shuffled(seed, h))):
            part = int(np.argmax(left / quotas))
            left = left - np.eye(len(PARTS))[part] * len(groups[sha256])
            rows += [SplitRow(file, sha256, PARTS[part]) for file in groups[sha256]]
    return tuple(sorted(rows, key=lambda row: row.file))


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
