"""Real images to test with: solar cells from the elpv-dataset package."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


def lay_out_cells(folder: Path, *, each: int) -> Path:
    """Copy `each` functional and `each` clearly defective cells into a folder for each label."""
    package = pytest.importorskip("elpv_dataset", reason="the cells come with the extra 'demo'")
    data = Path(package.__file__).parent / "data"
    wanted = {"0.0": "functional", "1.0": "defective"}
    rows = [line.split() for line in (data / "labels.csv").read_text().splitlines()]
    for probability, label in wanted.items():
        (folder / label).mkdir(parents=True)
        files = [row[0] for row in rows if row[1] == probability][:each]
        for file in files:
            shutil.copy(data / file, folder / label)
    return folder
