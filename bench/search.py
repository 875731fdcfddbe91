"""Is what `lineside train --search` finds better, or faster, than what `lineside train` does alone?

    python bench/search.py

On each data set both have the same split, for each of several seeds (of the split, too). What is
compared is measured on `test`, which neither has seen: the balanced accuracy of the Keras model,
and one inference of the bundle that `lineside convert` makes of it in int8, timed in turns.
A search begins with what `train` does by itself, so its cost is what the search adds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.page import write_section
from bench.quality import photos_of
from bench.training import Recipe, Results, make_bundle, make_run, middle
from lineside.bench.measure import Contestant, time_in_turn
from lineside.dataset import read_dataset, split_photos
from lineside.inspector import Inspector
from lineside.run import Run

DATA: Final = {
    "elpv": ("--good", "functional"),
    "trashnet": ("--sort",),
    "cookies": ("--sort",),
    "aliens": ("--sort",),
}
"""Data sets, and what `train` has to be told of their labels."""

COLUMNS: Final = (
    *("trial 1", "searched", "points", "trial 1 ms", "searched ms", "times as fast"),
    *("val points", "minutes"),
)

SCHEME: Final = "static_wi8_ai8"
SECONDS: Final = 2.0


def measure(runs: Sequence[Run]) -> dict[str, float]:
    """Figures of the default's run and of the search's."""
    accuracy = [run.metrics.figures["test"]["balanced_accuracy"] for run in runs]
    val = [run.metrics.figures["val"]["balanced_accuracy"] for run in runs]
    works = [
        Contestant(Inspector(make_bundle(run, SCHEME), threads=1), 1).invokes() for run in runs
    ]
    alone, searched = (
        float(np.median(times)) for times in time_in_turn(works, seconds=SECONDS, what="Timing")
    )
    found = runs[1].metrics.search
    if found is None:
        msg = f"{runs[1].path} was not searched for"
        raise RuntimeError(msg)
    minutes = sum(trial.seconds for trial in found.trials) / 60
    figures = (
        *(accuracy[0], accuracy[1], 100 * (accuracy[1] - accuracy[0])),
        *(alone, searched, alone / searched, 100 * (val[1] - val[0]), minutes),
    )
    return dict(zip(COLUMNS, figures, strict=True))


def verdict(found: Sequence[dict[str, float]]) -> str:
    """What the medians reach."""
    points = statistics.median(one["points"] for one in found)
    times = statistics.median(one["times as fast"] for one in found)
    if points >= 1:
        return "at least 1 point better"
    if points >= 0 and times >= 2:
        return "as good, at half the latency"
    return "neither"


def compare(name: str, seed: int, trials: int) -> dict[str, float]:
    """Train both, and measure."""
    data = photos_of(name)
    words = (*DATA[name], "--seed", str(seed))
    recipes = (
        Recipe(f"{name}-alone", words),
        Recipe(f"{name}-searched{trials}", (*words, "--search", str(trials))),
    )
    parts = split_photos(read_dataset(data).photos, seed)
    return measure([make_run("search", one, str(seed), data, parts) for one in recipes])


def main() -> None:
    """Search, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--search", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", nargs="*", choices=DATA, default=list(DATA))
    wanted = parser.parse_args()
    table = Results("search", "data", "seed")
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    for seed in range(wanted.seeds):
        for name in wanted.data:
            if (name, seed) not in table:
                table.add((name, seed), compare(name, seed, wanted.search))
            rows[name].append({key: float(one) for key, one in table[name, seed].items()})
            print(name, seed, json.dumps(rows[name][-1]), flush=True)
    write_section(
        "search",
        f"Searching, {wanted.search} trials",
        f"python bench/search.py --data {' '.join(wanted.data)}",
        page(rows, wanted.seeds),
    )


def page(rows: dict[str, list[dict[str, float]]], seeds: int) -> str:
    """The section."""
    heads = ("balanced accuracy alone", "searched", "points", "ms alone", "searched", "minutes")
    lines = [f"| data | {' | '.join(heads)} | |", f"| --- |{' ---: |' * len(heads)} --- |"]
    keys = (
        *(("trial 1", 3), ("searched", 3), ("points", 1)),
        *(("trial 1 ms", 3), ("searched ms", 3), ("minutes", 0)),
    )
    for name, found in rows.items():
        cells = [middle([one[key] for one in found], digits) for key, digits in keys]
        lines.append(f"| {name} | {' | '.join(cells)} | {verdict(found)} |")
    text = (
        f"On `test`. Medians of {seeds} seeds, and from where to where; milliseconds of one "
        "inference in int8 by one thread; minutes of all trainings of a search together."
    )
    lines += ["", text]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
