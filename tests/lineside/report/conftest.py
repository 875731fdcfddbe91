"""Images with real logits, made once a session."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn comes with the extra 'report'")
pytest.importorskip("jinja2", reason="jinja2 comes with the extra 'report'")

from lineside.manifest import Label
from tests.lineside.report.scored import Scored, fit, pixels_of


@pytest.fixture(scope="session")
def scored(cells: Path) -> Scored:
    """120 cells, two labels."""
    files = sorted(path.relative_to(cells).as_posix() for path in cells.glob("*/*.png"))
    names = sorted({file.split("/")[0] for file in files})
    truth = np.array([names.index(file.split("/")[0]) for file in files])
    labels = [Label(name=name, good=name == "functional") for name in names]
    return fit(cells, files, pixels_of(cells, files), truth, labels)


@pytest.fixture(scope="session")
def scored_30(cells: Path) -> Scored:
    """210 cells, 30 labels: which of 30 other cells it looks like; ten of them mean a good part.

    The model is one that sees less than the truth: 6 x 6 pixels of 24 x 24.
    """
    files = sorted(path.relative_to(cells).as_posix() for path in cells.glob("*/*.png"))
    fine = pixels_of(cells, files)
    coarse = fine.reshape(-1, 6, 4, 6, 4).mean(axis=(2, 4)).reshape(len(files), -1)
    sample = np.arange(len(files)) % 8 == 0
    apart = [((x[~sample, None] - x[None, sample]) ** 2).sum(axis=2) for x in (fine, coarse)]
    labels = [Label(name=f"kind {number:02d}", good=number < 10) for number in range(30)]
    kept = tuple(np.array(files)[~sample].tolist())
    return Scored(cells, tuple(labels), kept, apart[0].argmin(axis=1), -40.0 * apart[1])
