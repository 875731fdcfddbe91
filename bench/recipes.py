"""What helps a small model: each way alone against the default, on real photos.

    python bench/recipes.py

Two cases: lineside's own network from scratch, and MobileNetV1 0.25 tuned. For each seed (another
split, other weights) each way is trained once and compared with the default of the same seed, by
balanced accuracy and AUROC on test. A way stays where the mean of the differences is above twice
its standard error in one of both figures on one of the cases, or the balanced accuracy is higher in
all trainings of both. It would be on by default where the mean is so far above on both cases.

Progressive resizing, where a training starts from weights: half of the default's epochs at a
smaller size, and as many from there at the whole one. A teacher: MobileNetV2 of the
same size, tuned on the same split. What did not stay has no option any more, only its rows.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.page import write_section
from bench.quality import V2_WEIGHTS, WEIGHTS, photos_of, shared
from bench.training import Recipe, Results, make_run
from lineside.dataset import read_dataset, split_photos
from lineside.run import Run

WAYS: Final = {
    "default": (),
    "mixup": ("--mix", "mixup"),
    "cutmix": ("--mix", "cutmix"),
    "label smoothing 0.1": ("--smoothing", "0.1"),
    "strong augmentation": ("--augment", "strong"),
}
LEFT_OUT: Final = ("focal loss 2", "average of weights 0.99")
PROGRESSIVE: Final = "progressive resizing"
TAUGHT: Final = "a teacher"


class Case(NamedTuple):
    """What is trained in all of the ways.

    Attributes:
        name: of the case.
        photos: the data set.
        words: of the command line.
        smaller: the size that progressive resizing begins with; None: it is left out.
        teacher: the words of a teacher; None: it is left out.
    """

    name: str
    photos: str
    words: tuple[str, ...]
    smaller: int | None
    teacher: tuple[str, ...] | None

    @property
    def ways(self) -> list[str]:
        """Names of the ways, the default first."""
        more = {PROGRESSIVE: self.smaller, TAUGHT: self.teacher}
        return [*WAYS, *LEFT_OUT, *(way for way, what in more.items() if what is not None)]

    def run(self, way: str, seed: int, words: tuple[str, ...]) -> Run:
        """A run, unless it is there already."""
        data = photos_of(self.photos)
        name = f"{self.name} {way}".replace(",", "").replace(" ", "-")
        recipe = Recipe(name, (*words, "--seed", str(seed)))
        rows = split_photos(read_dataset(data).photos, seed)
        return make_run("recipes", recipe, str(seed), data, rows)

    def train(self, way: str, seed: int) -> Run:
        """A run of one of the ways."""
        if way == TAUGHT:
            teacher = self.run("teacher", seed, self.teacher or ())
            return self.run(way, seed, (*self.words, "--teacher", str(teacher.path)))
        if way == PROGRESSIVE:
            epochs = len(self.run("default", seed, self.words).metrics.history["loss"])
            half = ("--epochs", str(-(-epochs // 2)))
            smaller = (*self.words, *half, "--image-size", str(self.smaller))
            first = self.run("progressive first", seed, smaller)
            return self.run(way, seed, (*self.words, *half, "--weights", str(first.model_path)))
        return self.run(way, seed, (*self.words, *WAYS[way]))


def cases() -> list[Case]:
    """From scratch, and from weights."""
    plain = ("--good", "functional", "--flip", "both", "--image-size", "64")
    sort = ("--sort", "--flip", "horizontal", "--colour", "rgb", "--image-size", "128")
    tuned = ("--arch", "mobilenet_v1", "--width", "0.25", "--weights", str(shared(WEIGHTS)))
    large = ("--arch", "mobilenet_v2", "--weights", str(shared(V2_WEIGHTS)))
    return [
        Case("elpv, plain", "elpv", plain, None, (*plain, *large)),
        Case("trashnet, tuned", "trashnet", (*sort, *tuned), 96, (*sort, *large)),
    ]


def figures_of(run: Run) -> tuple[float, float]:
    """Balanced accuracy and AUROC on test, in points."""
    test = run.metrics.figures["test"]
    area = test["auroc"] if test["auroc"] is not None else test["macro_auroc"]
    return 100 * test["balanced_accuracy"], 100 * area


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    wanted = parser.parse_args()
    body: list[str] = []
    table = Results("recipes", "case", "way", "seed")
    for case in cases():
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in case.ways}
        for seed in range(wanted.seeds):
            for way, values in found.items():
                key = (case.name, way, seed)
                if key not in table:
                    accuracy, area = figures_of(case.train(way, seed))
                    table.add(key, {"balanced accuracy": accuracy, "AUROC": area})
                row = table[key]
                values.append((float(row["balanced accuracy"]), float(row["AUROC"])))
        body += ["", f"| {case.name} | balanced accuracy | AUROC |", "| --- | ---: | ---: |"]
        for way, values in found.items():
            cells = [said(values, found["default"], which) for which in (0, 1)]
            body.append(f"| {way} | {cells[0]} | {cells[1]} |")
        print("\n".join(body), flush=True)
    body = [f"Points; the others against the default, mean of {wanted.seeds} seeds +- s.e.", *body]
    write_section("recipes", "What helps", "python bench/recipes.py", "\n".join(body))


def said(values: list[tuple[float, float]], default: list[tuple[float, float]], which: int) -> str:
    """The default's mean, or the mean difference from it with its standard error."""
    if values is default:
        return f"{statistics.mean(one[which] for one in values):.1f}"
    apart = [one[which] - base[which] for one, base in zip(values, default, strict=True)]
    error = statistics.stdev(apart) / len(apart) ** 0.5 if len(apart) > 1 else float("nan")
    return f"{statistics.mean(apart):+.1f} +- {error:.1f}"


if __name__ == "__main__":
    main()
