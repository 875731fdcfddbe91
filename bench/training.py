"""What the benchmarks of training share: photos, runs of `lineside train`, and their figures.

What was trained stays in build/training, and is not trained again. Every run is made by the
command line, as a user makes it, and says in run.json what it was told.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.page import ROOT
from bench.quality import SHARED
from lineside.bundle import Bundle, open_bundle
from lineside.run import Run, SplitRow, encode_split, open_run

WORK: Final = ROOT / "build" / "training"
LOGS: Final = ROOT / "bench" / "results"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """What `lineside train` is told.

    Attributes:
        name: of the row, and a part of the run's name.
        words: of the command line.
    """

    name: str
    words: tuple[str, ...]


def make_run(group: str, recipe: Recipe, case: str, data: Path, rows: Sequence[SplitRow]) -> Run:
    """A run of `lineside train`, unless it is there already.

    Args:
        group: the benchmark.
        recipe: what is told.
        case: the fold, or the seed.
        data: the photos.
        rows: the split.
    """
    out = WORK / group / f"{recipe.name}-{case}"
    if not out.is_dir():
        out.parent.mkdir(parents=True, exist_ok=True)
        split = out.with_name(f"{out.name}.split.csv")
        split.write_bytes(encode_split(rows))
        command = [sys.executable, "-m", "lineside", "train", str(data), "--out", str(out)]
        command += ["--split", str(split), "--resume", *recipe.words]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        said = (
            f"\n# {recipe.name} {case}\n$ lineside train … {' '.join(recipe.words)}\n{done.stdout}"
        )
        for place in (WORK, SHARED, ROOT, Path(sys.prefix)):
            said = said.replace(f"{place}/", "")
        LOGS.mkdir(exist_ok=True)
        with (LOGS / f"{group}.log").open("a") as log:
            log.write(said)
        done.check_returncode()
    return open_run(out)


def make_bundle(run: Run, scheme: str) -> Bundle:
    """A bundle of the run, unless it is there already.

    Args:
        run: what to convert.
        scheme: how.
    """
    out = run.path.with_name(f"{run.path.name}.{scheme}")
    if not out.is_dir():
        command = [sys.executable, "-m", "lineside", "convert", str(run.path), "--out", str(out)]
        command += ["--scheme", scheme, "--max-flips", "100"]
        subprocess.run(command, check=True, capture_output=True, text=True)
    return open_bundle(out)


def middle(values: Sequence[float], digits: int = 3) -> str:
    """The median, and from where to where."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
