"""What the benchmarks of training share: photos, runs of `lineside train`, and their figures.

What was trained stays in build/training, and is not trained again; what was measured stays in
bench/results, and is not measured again: delete the rows to do so. Every run is made by the command
line, as a user makes it, and says in run.json what it was told.
"""

from __future__ import annotations

import csv
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
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


class Results:
    """A table in bench/results: figures by what they were measured of.

    Args:
        name: of the file.
        keys: columns that say what was measured: the data, the recipe, the seed.
    """

    def __init__(self, name: str, *keys: str) -> None:
        self._path, self._keys = LOGS / f"{name}.csv", keys
        self._rows: dict[tuple[str, ...], dict[str, str]] = {}
        if self._path.exists():
            with self._path.open(newline="") as file:
                for row in csv.DictReader(file):
                    key = tuple(row.pop(name) for name in keys)
                    self._rows[key] = row

    def __contains__(self, key: tuple[object, ...]) -> bool:
        return tuple(map(str, key)) in self._rows

    def __getitem__(self, key: tuple[object, ...]) -> dict[str, str]:
        """Figures, as they are written.

        Raises:
            KeyError: not measured.
        """
        return self._rows[tuple(map(str, key))]

    def add(self, key: tuple[object, ...], figures: Mapping[str, object]) -> None:
        """Keep what was measured, at once."""
        self._rows[tuple(map(str, key))] = {name: str(one) for name, one in figures.items()}
        columns = [*self._keys, *figures]
        new = self._path.with_suffix(".part")
        LOGS.mkdir(exist_ok=True)
        with new.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([*key, *row.values()] for key, row in self._rows.items())
        new.replace(self._path)
