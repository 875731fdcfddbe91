"""Labels that may be wrong: confident learning (Northcutt et al. 2021), by cleanlab."""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside.extras import require
from lineside_train.data.classifier import Judged, cross_validate
from lineside_train.data.findings import Finding, Item, counted
from lineside_train.data.looks import Looks

TREES: Final = 300
NEIGHBOURS: Final = 3
MORE: Final = 2.0
"""Times that the other label must be more probable than the given one. Measured with a twentieth of
the labels of two data sets changed: a third of what is listed then is wrong instead of
a quarter, and nearly as many of the wrong ones are in it."""

USABLE: Final = 1.3
"""A classifier below this many times chance knows too little to doubt a label."""


def find_suspects(
    looks: Looks,
    features: npt.NDArray[np.floating],
    unit: npt.NDArray[np.int64],
    *,
    seen_by: str,
) -> tuple[list[Finding], Judged | None]:
    """Images whose label a cross-validated classifier does not believe.

    Args:
        looks: the images.
        features: n x f: what the classifier sees of them.
        unit: n: images of the same unit are never both learned from and asked about.
        seen_by: what `features` are, for people.

    Returns:
        The finding, if there is one, and what the classifier says.
    """
    judged = cross_validate(features, looks.truth, unit, trees=TREES)
    if judged is None:
        return [], None
    accuracy, sure = judged.balanced_accuracy()
    evidence = (
        f"A classifier of {seen_by}, cross-validated, with a balanced accuracy of {accuracy:.2f} "
        f"(guessing: {judged.chance:.2f}): the better it is, the more its doubts are worth. "
        "Rare and odd parts are doubted, too: look at each before you move it."
    )
    if sure < min(USABLE * judged.chance, (1 + judged.chance) / 2):
        return [_unable(judged, accuracy)], judged
    ranked = doubted_labels(judged.truth, judged.probabilities)
    if not ranked:
        return [], judged
    items = [_item(looks, features, judged, k, score) for k, score in ranked]
    finding = Finding(
        kind="label_suspects",
        level="warning",
        title="Labels to look at again",
        message=(
            f"{counted(len(items), 'label')} may be wrong, the first is the most doubtful: "
            f"{items[0].files[0]!r} looks more like {items[0].says!r}"
        ),
        advice="Look at them from the top, and stop when most of what you see is right.",
        evidence=evidence,
        items=items,
        values={"images": len(items), "balanced_accuracy": round(accuracy, 4)},
    )
    return [finding], judged


def _unable(judged: Judged, accuracy: float) -> Finding:
    return Finding(
        kind="label_suspects",
        level="note",
        title="Labels to look at again",
        message=(
            f"wrong labels can't be found this way: a simple classifier has a balanced accuracy of "
            f"{accuracy:.2f} only (guessing: {judged.chance:.2f})"
        ),
        advice="Train first, then check with --run RUN: a network may see more.",
        values={"images": 0, "balanced_accuracy": round(accuracy, 4)},
    )


def doubted_labels(
    truth: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]
) -> list[tuple[int, float]]:
    """Which labels are in doubt, and how far each is believed, lowest first.

    Args:
        truth: n, index of the given label.
        probabilities: n x labels, said by who has not learned from the image.

    Returns:
        Positions and probabilities.
    """
    # It looks for TensorFlow and others, some of which complain as they are imported.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        filtering: Any = require("cleanlab.filter", extra="train")
        ranking: Any = require("cleanlab.rank", extra="train")
        probabilities = np.clip(probabilities, 1e-6, None)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        doubted = filtering.find_label_issues(truth, probabilities, filter_by="both", n_jobs=1)
        believed = ranking.get_label_quality_scores(truth, probabilities)
    doubted &= probabilities.max(axis=1) >= MORE * believed
    order = np.flatnonzero(doubted)[np.argsort(believed[doubted], kind="stable")]
    return [(int(k), round(float(believed[k]), 4)) for k in order]


def _item(
    looks: Looks,
    features: npt.NDArray[np.floating],
    judged: Judged,
    position: int,
    score: float,
) -> Item:
    row = int(judged.rows[position])
    said = looks.labels[judged.kept[int(judged.probabilities[position].argmax())]]
    near = _neighbours(features, row)
    return Item(
        [looks.files[k] for k in (row, *near)],
        [
            f"is {looks.labels[looks.truth[row]]}, looks like {said}",
            *(f"alike: {looks.labels[looks.truth[k]]}" for k in near),
        ],
        score,
        said,
    )


def _neighbours(features: npt.NDArray[np.floating], row: int) -> list[int]:
    """The images most like one, by the distance of the standardized features."""
    spread = features.std(axis=0)
    apart = ((features - features[row]) / np.where(spread > 1e-6, spread, np.inf)) ** 2
    distance = apart.sum(axis=1)
    distance[row] = np.inf
    return [int(k) for k in np.argsort(distance, kind="stable")[:NEIGHBOURS]]
