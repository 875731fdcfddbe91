"""Few photos: what tuning a trained network brings over its frozen layers, at the same latency.

    python bench/folds.py

trashnet (600 photos of 6 labels), cookies (85 of 2) and aliens (118 of 2), five folds, three seeds.
The plain recipe: the backbone frozen, a linear head on top, light augmentation. Ours: the same
backbone at the same size, so the same latency, tuned as `lineside train --weights` does it. Where
there is no room for 3 points above it, a larger network as well: MobileNetV2 at 160 px. The figure
of a seed is the balanced accuracy of all five tests together: each photo was tested once, by a
model that has not seen it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from sklearn.metrics import balanced_accuracy_score

from bench.page import write_section
from bench.quality import FOLDS, V2_WEIGHTS, WEIGHTS, fold_photos, photos_of, shared, truth_of
from bench.training import Recipe, Results, make_run, middle
from lineside.dataset import read_dataset

DATA: Final = {"trashnet": ("--sort",), "cookies": (), "aliens": ()}
"""Data sets, and what is special about them."""


LARGER: Final = ("cookies",)
"""Those with a larger network as well."""


def recipes(name: str) -> list[Recipe]:
    """What is compared on a data set: the plain one, ours, and perhaps a larger one."""
    backbone = ("--arch", "mobilenet_v1", "--width", "0.25", "--image-size", "128")
    backbone += ("--colour", "rgb", "--weights", str(shared(WEIGHTS)))
    larger = ("--arch", "mobilenet_v2", "--image-size", "160", "--colour", "rgb")
    larger += ("--weights", str(shared(V2_WEIGHTS)), "--flip", "both", "--augment", "strong")
    return [
        Recipe("frozen", (*backbone, "--fine-tune", "head")),
        Recipe("tuned", (*backbone, "--flip", "horizontal", "--augment", "strong")),
        *([Recipe("larger", larger)] if name in LARGER else []),
    ]


def balanced(name: str, recipe: Recipe, seed: int) -> float:
    """Balanced accuracy of all folds' tests together."""
    data = photos_of(name)
    photos = read_dataset(data).photos
    truth, said = [], []
    for fold in range(FOLDS):
        words = Recipe(f"{name}-{recipe.name}", (*recipe.words, *DATA[name], "--seed", str(seed)))
        run = make_run("folds", words, f"{fold}-{seed}", data, fold_photos(photos, fold))
        truth.append(truth_of(run))
        said.append(np.argmax(run.metrics.logits["test"], axis=1))
    return float(balanced_accuracy_score(np.concatenate(truth), np.concatenate(said)))


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    wanted = parser.parse_args()
    table = Results("folds", "data", "recipe", "seed")
    found: dict[str, list[list[float]]] = {}
    for name in DATA:
        found[name] = [[] for _ in recipes(name)]
        for recipe, values in zip(recipes(name), found[name], strict=True):
            for seed in range(wanted.seeds):
                key = (name, recipe.name, seed)
                if key not in table:
                    table.add(key, {"balanced accuracy": balanced(name, recipe, seed)})
                values.append(float(table[key]["balanced accuracy"]))
                print(*key, values[-1], flush=True)
    body = [
        "MobileNetV1 0.25 at 128 px; larger: MobileNetV2 at 160 px.",
        "Balanced accuracy: medians of the seeds, and from where to where.",
        "",
        "| photos | frozen, linear head | tuned | gain, points | larger, tuned |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, (plain, ours, *larger) in found.items():
        gain = [100 * (one - other) for one, other in zip(ours, plain, strict=True)]
        last = middle(larger[0]) if larger else ""
        body.append(f"| {name} | {middle(plain)} | {middle(ours)} | {middle(gain, 1)} | {last} |")
    write_section("folds", "Few photos", "python bench/folds.py", "\n".join(body))


if __name__ == "__main__":
    main()
