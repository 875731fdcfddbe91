"""All checks of a folder of photos, one after the other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from lineside.dataset import Dataset, Grouping, merge, read_dataset, read_groups
from lineside.errors import DatasetError
from lineside.progress import working
from lineside.run import PARTS, SplitRow, open_run
from lineside_train.data.amounts import amounts, sizes
from lineside_train.data.classifier import by_group, units
from lineside_train.data.findings import Finding, from_notices
from lineside_train.data.looks import look_at
from lineside_train.data.shortcuts import border_shortcut, file_shortcuts
from lineside_train.data.suspects import find_suspects
from lineside_train.data.twins import find_twins, twin_findings
from lineside_train.split import choose_split

PLAIN: Final = "colours, edges and a thumbnail, without a network"


class DataCheck(Struct, frozen=True, kw_only=True):
    """What was found; with `--json`, this is what is printed."""

    schema: Literal["lineside.data_check/1"] = "lineside.data_check/1"
    data: str
    images: int
    labels: dict[str, int]
    """Usable images of each."""
    split: dict[str, int]
    """Images of each part; empty where no split can be made."""
    findings: list[Finding]
    """Warnings first."""

    @property
    def warnings(self) -> int:
        """How many of the findings are warnings."""
        return sum(one.level == "warning" for one in self.findings)


@dataclass(frozen=True, eq=False)
class Checked:
    """What was found, and what it was found by.

    Attributes:
        report: the findings.
        dataset: the photos.
        grouping: which belong together, as a person said.
        twins: the near duplicates, each with the two files.
    """

    report: DataCheck
    dataset: Dataset
    grouping: Grouping
    twins: tuple[tuple[str, str], ...]

    def groups(self) -> dict[str, str]:
        """The groups that a person named, with each set of near duplicates added as one."""
        of = self.grouping.of
        together = [*self.twins, *by_group(of)]
        return {
            file: next((of[one] for one in files if one in of), f"alike {number}")
            for number, files in enumerate(merge(together), 1)
            for file in files
        }

    def to_move(self, *, near: bool) -> list[tuple[str, str]]:
        """Files that may be moved aside, each with why. Doubtful labels never are.

        Args:
            near: also all but the first of each set of near duplicates of one label.
        """
        why = {
            "unreadable": "can't be used",
            "conflict": "the same image under two labels",
            "duplicates": "a copy of another image",
        }
        wanted = [
            (file, why[notice.kind])
            for notice in self.dataset.notices
            if notice.kind in why
            for file in notice.files
        ]
        if near:
            wanted += [
                (file, f"nearly the same as {item.files[0]}")
                for finding in self.report.findings
                if finding.kind == "near_duplicates"
                for item in finding.items
                for file in item.files[1:]
            ]
        return wanted


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to check.

    Attributes:
        data: the folder of photos.
        split: a split.csv to look at; None: the split that a training would make.
        seed: of that split.
        groups: see `read_groups`.
        run: a run whose network looks at the photos; None: none does.
    """

    data: Path
    split: Path | None = None
    seed: int = 0
    groups: str | None = None
    run: Path | None = None


def check_data(asked: Asked) -> Checked:
    """Look for everything that is known to spoil a training.

    Raises:
        DatasetError: the folder, the groups or the imported split can't be used.
        RunError: the run or the split can't be read.
        MissingExtraError: scikit-learn, cleanlab or, with a run, Keras is not installed.
    """
    dataset = read_dataset(asked.data)
    grouping = read_groups(asked.groups, dataset)
    findings = from_notices((*dataset.notices, *grouping.notices))
    rows = _split(asked, dataset, grouping, findings)
    seen_by, features = _features(asked, dataset)
    looks = look_at(dataset)
    twins = find_twins(looks.tiny)
    findings += twin_findings(looks, twins, {row.file: row.part for row in rows}, grouping.of)
    findings += amounts(looks) + sizes(looks)
    linked = [(looks.files[twin.first], looks.files[twin.second]) for twin in twins]
    unit = units(looks.files, [*linked, *by_group(grouping.of)])
    with working("Asking a classifier about images that it has not seen"):
        seen = looks.features if features is None else features
        suspects, whole = find_suspects(looks, seen, unit, seen_by=seen_by)
        findings += suspects
        findings += border_shortcut(looks, unit, whole) + file_shortcuts(looks, unit)
    images = Counter(photo.label for photo in dataset.photos)
    parts = Counter(row.part for row in rows)
    report = DataCheck(
        data=str(asked.data),
        images=len(dataset.photos),
        labels=dict(sorted(images.items())),
        split={part: parts[part] for part in PARTS if parts[part]},
        findings=sorted(findings, key=lambda one: one.level != "warning"),
    )
    return Checked(report, dataset, grouping, tuple(linked))


def _split(
    asked: Asked, dataset: Dataset, grouping: Grouping, findings: list[Finding]
) -> tuple[SplitRow, ...]:
    """The split to look at. That none can be made is a finding, where none was given."""
    try:
        return choose_split(dataset, asked.seed, asked.split, grouping)
    except DatasetError as error:
        if asked.split is not None:
            raise
        findings.append(
            Finding(
                kind="split",
                level="warning",
                title="No split can be made",
                message=str(error),
                advice="Nothing can be trained on this before that is mended.",
            )
        )
        return ()


def _features(asked: Asked, dataset: Dataset) -> tuple[str, npt.NDArray[np.float32] | None]:
    """What the classifier of the whole pictures sees: a network's embedding, where there is one."""
    if asked.run is None:
        return PLAIN, None
    from lineside_train.data.embedding import embed

    features = embed(asked.run, dataset)
    learned = {row.sha256 for row in open_run(asked.run).split if row.part == "train"}
    count = sum(photo.sha256 in learned for photo in dataset.photos)
    told = f"what the network of {asked.run.name} sees"
    if count:
        told += f" (it learned {count} of these images with their labels, and believes those more)"
    return told, features
