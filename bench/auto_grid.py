"""Does `auto` with a bench file take what is fastest? Two small networks, a full grid, twice.

    python bench/auto_grid.py

For each network: a bundle of each scheme, timed by `lineside bench`; `auto` chooses with that
file; then the whole grid of runtime, scheme and threads is timed again, and what was chosen is
compared with the fastest entry of that second grid. Weights don't matter for speed, so training
is short, and the accuracy allowance is opened wide: only speed decides. What was trained is kept in
build/auto_grid/.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.page import ROOT, write_section
from lineside.bench import Bench, Row, read_bench
from lineside.bundle import open_bundle
from tests.support.cells import lay_out_cells

BUILD: Final = ROOT / "build" / "auto_grid"
NETWORKS: Final = {  # name -> how it is trained
    "plain, 128 px": ("--arch", "plain", "--image-size", "128"),
    "separable, 160 px, width 2": ("--arch", "separable", "--image-size", "160", "--width", "2"),
}


def lineside(*words: object) -> bytes:
    """Run the command, and give back what it says."""
    command = [sys.executable, "-m", "lineside", *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def time_all(folder: Path, out: Path) -> Bench:
    """Time every bundle in a folder."""
    out.write_bytes(lineside("bench", *sorted(folder.iterdir()), "--json"))
    return read_bench(out)


def measure(number: int, options: tuple[str, ...]) -> list[str]:
    """One network: columns of the table."""
    folder = BUILD / str(number)
    cells, run = BUILD / "cells", folder / "run"
    folder.mkdir(parents=True, exist_ok=True)
    if not cells.exists():
        lay_out_cells(cells, each=400)
    if not run.exists():
        lineside("train", cells, "--out", run, "--epochs", 8, *options)
    for name in ("first", "chosen", "candidates"):
        shutil.rmtree(folder / name, ignore_errors=True)
    candidates = folder / "candidates"
    anything = ("--max-flips", 100, "--max-loss", 100)
    lineside("convert", run, *anything, "--out", folder / "first", "--candidates", candidates)
    time_all(candidates, folder / "bench.json")
    wanted = ("--device-bench", folder / "bench.json", "--out", folder / "chosen")
    lineside("convert", run, *anything, *wanted)
    manifest = open_bundle(folder / "chosen").manifest
    again = time_all(candidates, folder / "again.json")
    chosen = next(row for row in again.rows if is_chosen(row, manifest.model.graph, manifest))
    fastest = min(again.rows, key=lambda row: row.invoke_ms_p50)
    return [
        words(chosen),
        f"{chosen.invoke_ms_p50:.3f}",
        words(fastest),
        f"{fastest.invoke_ms_p50:.3f}",
        f"{100 * (chosen.invoke_ms_p50 / fastest.invoke_ms_p50 - 1):+.1f} %",
        str(len(again.rows)),
    ]


def is_chosen(row: Row, graph: str | None, manifest: object) -> bool:
    """Whether a row is the configuration that the manifest names."""
    measured = manifest.measured  # type: ignore[attr-defined]
    same = (row.runtime, row.threads) == (measured["runtime"], measured["threads"])
    return same and row.graph == graph


def words(row: Row) -> str:
    """A configuration in words."""
    return f"`{row.scheme}`, {row.runtime}, {row.threads} threads"


def main() -> None:
    """Measure all networks and write the section."""
    rows = [
        "| network | auto chose | ms | fastest of the second grid | ms | slower by | entries |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for number, (name, options) in enumerate(NETWORKS.items()):
        rows.append(f"| {name} | " + " | ".join(measure(number, options)) + " |")
    body = "\n".join(rows) + (
        "\n\nBoth times are of the second grid. The accuracy allowance was opened wide: only "
        "speed decided.\n"
    )
    title = "The scheme that `auto` chooses with a bench file"
    write_section("auto-grid", title, "make bench-auto", body)


if __name__ == "__main__":
    main()
