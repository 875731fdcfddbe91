"""Which pixels the converter sees to choose its scales."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from lineside.run import SplitRow


def balanced_sample(rows: Sequence[SplitRow], count: int, seed: int) -> tuple[SplitRow, ...]:
    """Choose images, as many of each label as there are, in an order that only content decides.

    For each label its different images are put in the order of sha256(calibration:seed:sha256);
    then each label gives one in turn.

    Args:
        rows: the images to choose from; of identical ones one is taken.
        count: how many are wanted; fewer come back if there are fewer.
        seed: another seed chooses others.
    """
    by_label: dict[str, dict[str, SplitRow]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: row.file):
        by_label[row.label].setdefault(row.sha256, row)
    queues = [
        sorted(by_label[label].values(), key=lambda row: _shuffled(seed, row.sha256))
        for label in sorted(by_label)
    ]
    turns = (row for turn in zip_longest(*queues) for row in turn if row is not None)
    return tuple(row for row, _ in zip(turns, range(count), strict=False))


def _shuffled(seed: int, sha256: str) -> str:
    return hashlib.sha256(f"calibration:{seed}:{sha256}".encode()).hexdigest()


def with_full_range(tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The same pictures, with one black and one white pixel in opposite corners of the first.

    So the converter sees all that raw pixels can be, 0 to 255, and gives the input the scale 1
    and the zero point 0, whatever the photos span. Two pixels change no other scale.

    Args:
        tensors: uint8, n x h x w x channels, n at least 1; a copy is returned.
    """
    anchored = tensors.copy()
    anchored[0, 0, 0] = 0
    anchored[0, -1, -1] = 255
    return anchored
