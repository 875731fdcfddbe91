"""`lineside train` with groups, up to where the network would be loaded."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lineside.errors import DatasetError
from lineside_train.options import TrainOptions
from lineside_train.task import Material, Task, gather
from tests.support.command import lineside


def material(data: Path, **more: str | Path | None) -> Material:
    split = more.get("split")
    groups = more.get("groups")
    return gather(
        Task(
            data=data,
            out=data.parent / "run",
            good=(),
            sort=True,
            split=Path(split) if split is not None else None,
            options=TrainOptions(),
            groups=None if groups is None else str(groups),
        )
    )


def test_the_frames_of_a_part_stay_together_and_the_run_says_so(folder: Path) -> None:
    plain, grouped = material(folder), material(folder, groups=r"cell(\d\d)")
    divided = [
        {part for row in one.rows for part in [row.part] if f"cell{part_of}" in row.file}
        for one in (plain, grouped)
        for part_of in ("00", "01", "02")
    ]
    assert max(map(len, divided[:3])) > 1, "without groups they are divided"
    assert max(map(len, divided[3:])) == 1
    (notice,) = [one for one in grouped.dataset.notices if one.kind == "groups"]
    assert notice.message.startswith(r"--groups 'cell(\\d\\d)': 80 images in ")
    assert not [one for one in plain.dataset.notices if one.kind == "groups"]


def test_the_command_takes_them(folder: Path, tmp_path: Path) -> None:
    # Nothing is trained here: the backend is refused behind the notices.
    arguments = ("train", folder, "--out", tmp_path / "run", "--sort", "--groups")
    done = lineside(*arguments, r"cell(\d\d)", env={"KERAS_BACKEND": "none"}, ok=False)
    assert "notice: --groups 'cell(\\\\d\\\\d)': 80 images in " in done.stdout
    done = lineside(*arguments, "cell", ok=False)
    assert done.stderr.startswith("error: --groups 'cell': one pair of parentheses says what")
    assert not (tmp_path / "run").exists()


def test_labels_that_cannot_be_divided_by_their_groups(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"the label 'defective' has 40 .* in 1 groups only, 3"):
        material(folder, groups="^(defective|functional)/")


def test_a_thousand_labels_are_gathered_in_seconds(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for label in range(1000):
        (tmp_path / f"l{label:03}").mkdir()
        for k in range(3):
            pixels = random.integers(0, 255, (16, 16), np.uint8)
            assert cv2.imwrite(str(tmp_path / f"l{label:03}" / f"{k}.png"), pixels)
    found = material(tmp_path)
    assert {part: sum(counts.values()) for part, counts in found.counts().items()} == {
        "train": 1000,
        "val": 1000,
        "test": 1000,
    }
