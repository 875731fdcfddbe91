"""What a training is asked for, and what that turns out to hold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from lineside.dataset import (
    Dataset,
    read_dataset,
    read_groups,
    with_notices,
)
from lineside.errors import StorageError
from lineside.image import Preprocess
from lineside.labels import mark_labels
from lineside.limit_rules import LimitRules
from lineside.manifest import Label
from lineside.run import (
    PARTS,
    SplitPart,
    SplitRow,
    encode_split,
)
from lineside_train.backend import versions
from lineside_train.cache import cached_tensors
from lineside_train.curve import plan_curve
from lineside_train.data import quick
from lineside_train.fitting.examples import Examples, Rows
from lineside_train.fitting.teaching import check_teacher
from lineside_train.folds import Fold, plan_folds
from lineside_train.options import TrainOptions
from lineside_train.reduction import settle_reduction
from lineside_train.split import choose_split


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to train on, and where to put the run.

    Attributes:
        data: the folder of photos.
        out: the run folder to write.
        good: the labels that mean a good part; empty: those that are known to.
        sort: whether no label means a bad part.
        split: a split.csv to take over.
        options: how to train.
        rules: what limits are chosen by.
        groups: a `file,group` file or a pattern; None: the data folder's groups.csv, if any.
        cache: where decoded photos are kept; None: nowhere.
        resume: go on with a training into `out` that did not end.
        folds: how many models to train besides, to cross-validate; None: none.
        curve: whether to train with fewer photos besides, to see if more would help.
    """

    data: Path
    out: Path
    good: tuple[str, ...]
    sort: bool
    split: Path | None
    options: TrainOptions
    rules: LimitRules = field(default_factory=LimitRules)
    groups: str | None = None
    cache: Path | None = None
    resume: bool = False
    folds: int | None = None
    curve: bool = False


@dataclass(frozen=True)
class Material:
    """What a task turned out to hold: everything that training needs but the pixels."""

    dataset: Dataset
    labels: tuple[Label, ...]
    rows: tuple[SplitRow, ...]
    preprocess: Preprocess
    folds: tuple[Fold, ...] = ()
    subsets: tuple[npt.NDArray[np.int64], ...] = ()

    def part(self, part: SplitPart) -> tuple[SplitRow, ...]:
        """The images of one part of the split."""
        return tuple(row for row in self.rows if row.part == part)

    def truth(self, part: SplitPart) -> npt.NDArray[np.int64]:
        """For each image of one part the index of its label."""
        index = {label.name: k for k, label in enumerate(self.labels)}
        return np.array([index[row.label] for row in self.part(part)], np.int64)

    def examples(self, part: SplitPart, tensors: npt.NDArray[np.uint8]) -> Examples:
        """The images and labels of one part.

        Args:
            part: of the split.
            tensors: of all `rows`: uint8, n x height x width x channels.
        """
        rows = np.flatnonzero([row.part == part for row in self.rows])
        return Examples(Rows(tensors, rows), self.truth(part))

    def counts(self) -> dict[str, dict[str, int]]:
        """Images of each label in each part."""
        return {
            part: {
                label.name: int(count)
                for label, count in zip(
                    self.labels,
                    np.bincount(self.truth(part), minlength=len(self.labels)),
                    strict=True,
                )
            }
            for part in PARTS
        }


def check_out(out: Path, data: Path) -> None:
    """Refuse a place for the run before the work is done, not after it.

    Raises:
        StorageError: there is something already, or it lies inside the data folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        msg = f"{out} is there already: choose another name for --out, or remove it"
        raise StorageError(msg)
    if out.resolve().is_relative_to(data.resolve()):
        msg = f"{out} lies inside {data}, where it would be taken for a label: choose another --out"
        raise StorageError(msg)


def gather(task: Task) -> Material:
    """Read the photos and settle labels, split and preprocessing.

    Raises:
        DatasetError: the folder, its labels or the imported split can't be used, or a photo is too
            small to be reduced as asked.
        RunError: the imported split is no split.csv, or the teacher no run.
        TrainError: the teacher was trained on another split.
    """
    dataset = read_dataset(task.data)
    labels = mark_labels(dataset.labels, task.good, sort=task.sort)
    grouping = read_groups(task.groups, dataset)
    rows = choose_split(dataset, task.options.seed, task.split, grouping)
    if task.options.teacher is not None:
        check_teacher(task.options.teacher, hashlib.sha256(encode_split(rows)).hexdigest())
    dataset = with_notices(dataset, (*grouping.notices, *quick(dataset, rows, grouping)))
    colour = task.options.colour or ("gray" if dataset.gray else "rgb")
    spec = Preprocess(resize=task.options.resize, colour=colour)
    dataset, decode_by = settle_reduction(dataset, spec, task.options)
    train = [row for row in rows if row.part == "train"]
    return Material(
        dataset,
        labels,
        rows,
        msgspec.structs.replace(spec, decode=decode_by),
        plan_folds(rows, task.folds, task.options.seed, grouping.of) if task.folds else (),
        plan_curve(train, task.options.seed, grouping.of) if task.curve else (),
    )


def all_examples(
    task: Task, material: Material
) -> tuple[npt.NDArray[np.uint8], dict[SplitPart, Examples]]:
    """The pixels of all photos, and of each part of the split its images and labels.

    Raises:
        DatasetError: a photo has changed since it was read.
    """
    size = (task.options.image_size, task.options.image_size)
    tensors = cached_tensors(task.data, material.rows, material.preprocess, size, task.cache)
    return tensors, {part: material.examples(part, tensors) for part in PARTS}


def identity(task: Task, material: Material) -> dict[str, Any]:
    """What must be the same for a training to go on."""
    return asked(task, material) | {"versions": versions()}


def asked(task: Task, material: Material) -> dict[str, Any]:
    """What is trained on, and how, apart from the versions of what trains."""
    options: dict[str, Any] = msgspec.to_builtins(task.options)
    return options | {
        "labels": [msgspec.to_builtins(label) for label in material.labels],
        "split": hashlib.sha256(encode_split(material.rows)).hexdigest(),
        "preprocess": msgspec.to_builtins(material.preprocess),
    }
