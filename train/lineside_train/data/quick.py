"""The part of the checks that is quick enough for the start of every training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from lineside.dataset import Dataset, Grouping, Notice
from lineside.run import SplitRow
from lineside_train.data.amounts import amounts, sizes
from lineside_train.data.classifier import by_group, units
from lineside_train.data.looks import Looks, look_at
from lineside_train.data.shortcuts import border_shortcut, file_shortcuts
from lineside_train.data.twins import find_twins, twin_findings

SAMPLE: Final = 1000
"""Images at most by which shortcuts are looked for."""

TREES: Final = 50

NOTED: Final = frozenset({"odd_sizes"})
"""What is said before a training though it is no warning."""

LEFT_OUT: Final = frozenset({"few"})
"""What is not: the images of each label are counted there anyway."""


def quick(dataset: Dataset, rows: Sequence[SplitRow], grouping: Grouping) -> list[Notice]:
    """What a person should know before the training: see `lineside data check` for all of it.

    Near duplicates across labels and across the split, uneven labels, odd sizes, shortcuts. About
    2 ms for each image.

    Args:
        dataset: the photos.
        rows: their split.
        grouping: which of them belong together.

    Raises:
        DatasetError: a file can't be read any more.
        ImageError: a file is no picture any more.
    """
    looks = look_at(dataset, features=False)
    twins = find_twins(looks.tiny)
    part_of = {row.file: row.part for row in rows}
    findings = twin_findings(looks, twins, part_of, grouping.of)
    findings += amounts(looks) + sizes(looks)
    linked = [[looks.files[twin.first], looks.files[twin.second]] for twin in twins]
    unit = units(looks.files, [*linked, *by_group(grouping.of)])
    some = _sample(looks)
    fewer = looks.of(some)
    findings += border_shortcut(fewer, unit[some], trees=TREES) + file_shortcuts(fewer, unit[some])
    spoken = (one for one in findings if one.level == "warning" or one.kind in NOTED)
    return [one.as_notice() for one in spoken if one.kind not in LEFT_OUT]


def _sample(looks: Looks) -> npt.NDArray[np.int64]:
    """Some of the images, the same share of each label."""
    step = max(1, -(-len(looks.files) // SAMPLE))
    order = np.argsort(looks.truth, kind="stable")
    return np.sort(order[::step])
