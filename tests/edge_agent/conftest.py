"""Pictures as they would come down a line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def photos(cells: Path, tmp_path: Path) -> Path:
    """60 cells in one folder, as they would come down a line."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, file in enumerate(sorted(cells.rglob("*.png"))[::4]):
        shutil.copy(file, folder / f"{number:03}.png")
    assert len(list(folder.iterdir())) == 60
    return folder
