"""Classifiers that are asked only about images that they have not seen: cross-validation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside.dataset import merge
from lineside.extras import require

FOLDS: Final = 5
LEAST: Final = 3
"""Units (images, with their near duplicates) that a label needs to take part."""

MAX_CELLS: Final = 50_000_000
"""Trees x images x labels at most: as many numbers a forest holds in memory, about. There are
fewer trees where there are very many images and labels."""

MIN_TREES: Final = 10

SURE: Final = 2.576
"""Standard deviations of a normal distribution: 99 % of it lies within."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What a cross-validated classifier says of the images that took part.

    Attributes:
        rows: int64, m: which images these are.
        truth: int64, m: index of the label in `kept`.
        kept: indices of the labels that took part.
        probabilities: float64, m x len(kept).
    """

    rows: npt.NDArray[np.int64]
    truth: npt.NDArray[np.int64]
    kept: list[int]
    probabilities: npt.NDArray[np.float64]

    @property
    def chance(self) -> float:
        """Balanced accuracy of guessing."""
        return 1 / len(self.kept)

    def balanced_accuracy(self) -> tuple[float, float]:
        """The mean of the labels' recalls, and where it is at least with 99.5 % confidence.

        The interval of each recall is that of Agresti and Coull 1998, plus four.
        """
        right = self.probabilities.argmax(axis=1) == self.truth
        images = np.bincount(self.truth, minlength=len(self.kept))
        hits = np.bincount(self.truth, right, minlength=len(self.kept))
        pulled = (hits + 2) / (images + 4)
        spread = np.sqrt(np.sum(pulled * (1 - pulled) / (images + 4))) / len(self.kept)
        return float(np.mean(hits / images)), float(np.mean(pulled) - SURE * spread)


def units(files: Sequence[str], linked: Iterable[Sequence[str]]) -> npt.NDArray[np.int64]:
    """For each file the number of the unit that it belongs to.

    Args:
        files: all of them.
        linked: files that belong together.
    """
    number = {file: k for k, file in enumerate(files)}
    for together in merge(linked):
        for file in together:
            number[file] = number[together[0]]
    return np.array([number[file] for file in files], np.int64)


def by_group(group_of: Mapping[str, str]) -> list[list[str]]:
    """The files of each group."""
    found: dict[str, list[str]] = defaultdict(list)
    for file, group in group_of.items():
        found[group].append(file)
    return list(found.values())


def cross_validate(
    features: npt.NDArray[np.floating],
    truth: npt.NDArray[np.int64],
    unit: npt.NDArray[np.int64],
    *,
    trees: int,
) -> Judged | None:
    """Train on some of the images and ask about the others, until each was asked about.

    Extremely randomized trees (Geurts et al. 2006): good without any tuning.

    Args:
        features: n x f.
        truth: n: index of the label.
        unit: n: images of the same unit are never on both sides.
        trees: how many of them, where memory allows it.

    Returns:
        None where fewer than two labels have enough images.
    """
    counts = {int(k): len(np.unique(unit[truth == k])) for k in np.unique(truth)}
    kept = [k for k, count in counts.items() if count >= LEAST]
    if len(kept) < 2 or not features.shape[1]:
        return None
    rows = np.flatnonzero(np.isin(truth, kept))
    said = np.searchsorted(kept, truth[rows])
    probabilities = np.zeros((len(rows), len(kept)))
    selection: Any = require("sklearn.model_selection", extra="train")
    ensemble: Any = require("sklearn.ensemble", extra="train")
    folds = min(FOLDS, *(counts[k] for k in kept))
    folding = selection.StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    trees = max(MIN_TREES, min(trees, MAX_CELLS // (len(rows) * len(kept))))
    for learned, asked in folding.split(rows, said, unit[rows]):
        classifier = ensemble.ExtraTreesClassifier(
            trees, min_samples_leaf=2, class_weight="balanced", n_jobs=-1, random_state=0
        )
        classifier.fit(features[rows[learned]], said[learned])
        answer = classifier.predict_proba(features[rows[asked]])
        probabilities[np.ix_(asked, classifier.classes_)] = answer
    return Judged(rows, said, kept, probabilities)
