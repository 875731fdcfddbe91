"""Photos that the tests of checks spoil."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def folder(cells: Path, tmp_path: Path) -> Path:
    """Forty cells for each of two labels."""
    root = tmp_path / "photos"
    for label in ("defective", "functional"):
        (root / label).mkdir(parents=True)
        for file in sorted((cells / label).iterdir())[::3]:
            shutil.copy(file, root / label)
    return root
