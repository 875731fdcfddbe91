"""elpv as in Deitsch et al. (Solar Energy 185, 2019): is a small int8 model as good as their VGG19?

    python bench/elpv.py

Their protocol: 75 % of the 2,624 cells to train on, 25 % to test, each with the same shares of
defect probabilities and of mono- and polycrystalline cells; a cell over 0.5 is defective. Theirs is
one split; these are five, and nothing is chosen on their tests: a ninth of each training part is
val, where epochs are chosen. Their split is not published, and their labels' confidence weighted
the training; here each of the four probabilities is a label, two of them good, and a cell is
defective where the two bad ones together have more than half.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from bench.page import write_section
from bench.quality import V2_WEIGHTS, WEIGHTS, answers_of, shared
from bench.training import WORK, Recipe, Results, make_bundle, make_run, middle
from lineside.dataset import read_dataset
from lineside.decision import defect_scores, softmax
from lineside.extras import require
from lineside.files import new_folder
from lineside.run import Run, SplitPart, SplitRow

LABELS: Final = {
    0.0: "functional",
    1 / 3: "functional_unsure",
    2 / 3: "defective_unsure",
    1.0: "defective",
}
GOOD: Final = ("--good", "functional", "--good", "functional_unsure")
PAPER: Final = 0.8842


def recipes() -> list[Recipe]:
    """What is compared."""
    common = (*GOOD, "--flip", "both", "--no-balance", "--colour", "gray")
    tune = ("--learning-rate", "0.0003", "--mix", "mixup", "--epochs", "24", "--weights")
    return [
        Recipe(
            "v2-160",
            (
                *(*common, "--arch", "mobilenet_v2", "--image-size", "160"),
                *(*tune, str(shared(V2_WEIGHTS))),
            ),
        ),
        Recipe(
            "v1-160",
            (
                *(*common, "--arch", "mobilenet_v1", "--width", "0.25", "--image-size", "160"),
                *("--epochs", "40", "--learning-rate", "0.002", "--weights", str(shared(WEIGHTS))),
            ),
        ),
        Recipe("plain-128", (*common, "--image-size", "128")),
    ]


def lay_out(folder: Path) -> tuple[Path, dict[str, str]]:
    """The cells, a folder for each probability; and which kind of crystal each is."""
    data = Path(require("elpv_dataset", extra="demo").__file__).parent / "data"
    rows = [line.split() for line in (data / "labels.csv").read_text().splitlines()]
    kinds, files = {}, []
    for file, probability, kind in rows:
        label = min(LABELS.items(), key=lambda one: abs(one[0] - float(probability)))[1]
        kinds[f"{label}/{Path(file).name}"] = kind
        files.append((data / file, label))
    if not folder.is_dir():
        with new_folder(folder) as partial:
            for label in LABELS.values():
                (partial / label).mkdir()
            for source, label in files:
                shutil.copyfile(source, partial / label / source.name)
    return folder, kinds


def split(data: Path, kinds: dict[str, str], seed: int) -> tuple[SplitRow, ...]:
    """75/25, stratified by probability and kind; a ninth of the 75 % is val."""
    groups: dict[tuple[str, str], list[SplitRow]] = defaultdict(list)
    for photo in read_dataset(data).photos:
        row = SplitRow(photo.file, photo.sha256, "train")
        groups[photo.label, kinds[photo.file]].append(row)
    random = np.random.default_rng(seed)
    parts = []
    for key in sorted(groups):
        rows = groups[key]
        test, val = round(len(rows) / 4), round(len(rows) / 12)
        for place, index in enumerate(random.permutation(len(rows))):
            part: SplitPart = "test" if place < test else "val" if place < test + val else "train"
            parts.append(SplitRow(rows[index].file, rows[index].sha256, part))
    return tuple(sorted(parts, key=lambda row: row.file))


def measure(run: Run, scheme: str) -> dict[str, float]:
    """Figures of the Keras model and of the bundle, on test, where over 0.5 is defective."""
    labels, bad = run.info.labels, np.array([not label.good for label in run.info.labels])
    answers = answers_of(run, make_bundle(run, scheme))
    truth = bad[answers.truth]
    found = {"parameters": float(run.metrics.parameters), "seconds": run.info.train_seconds}
    for name, logits in (("float", answers.original), ("int8", answers.converted)):
        score = defect_scores(softmax(logits), labels)
        found |= {
            f"{name} accuracy": float(np.mean((score > 0.5) == truth)),
            f"{name} balanced": float(balanced_accuracy_score(truth, score > 0.5)),
            f"{name} auroc": float(roc_auc_score(truth, score)),
        }
    return found


def main() -> None:
    """Train, convert, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=5)
    wanted = parser.parse_args()
    data, kinds = lay_out(WORK / "data" / "elpv4")
    table = Results("elpv", "recipe", "split")
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    for seed in range(wanted.splits):
        for recipe in recipes():
            if (recipe.name, seed) not in table:
                told = Recipe(recipe.name, (*recipe.words, "--seed", str(seed)))
                run = make_run("elpv", told, str(seed), data, split(data, kinds, seed))
                table.add((recipe.name, seed), measure(run, "static_wi8_ai8"))
            rows[recipe.name].append(
                {key: float(one) for key, one in table[recipe.name, seed].items()}
            )
            print(recipe.name, seed, json.dumps(rows[recipe.name][-1]), flush=True)
    body = [
        "| model | parameters | accuracy, int8 | float | balanced accuracy, int8 | AUROC, int8 |"
    ]
    body.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, found in rows.items():
        cells = [
            middle([one[key] for one in found])
            for key in ("int8 accuracy", "float accuracy", "int8 balanced", "int8 auroc")
        ]
        body.append(f"| {name} | {found[0]['parameters']:,.0f} | {' | '.join(cells)} |")
    body += [
        "",
        f"Deitsch et al., VGG19: {PAPER}. Medians, and from where to where.",
    ]
    title = "Solar cells, as published"
    write_section("elpv", title, "python bench/elpv.py", "\n".join(body))


if __name__ == "__main__":
    main()
