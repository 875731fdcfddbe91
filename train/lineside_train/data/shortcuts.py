"""Shortcuts: what gives a label away without the part being looked at.

A network learns whatever tells the labels apart. If the background, the camera or the size of
the file does, the figures are excellent, and the model fails on the line.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from lineside_train.data.classifier import Judged, cross_validate
from lineside_train.data.findings import Finding, Level
from lineside_train.data.looks import Looks

TREES: Final = 100
LARGE: Final = 0.5
"""A shortcut that surely goes this share of the way from guessing to perfect is a warning."""

SMALL: Final = 0.25
"""One that goes this share is a note."""

_WORDS: Final = {
    "size": "size of the picture",
    "format": "format of the file",
    "jpeg": "JPEG quality of the file",
    "camera": "camera or program in the file's EXIF",
}


def border_shortcut(
    looks: Looks, unit: npt.NDArray[np.int64], whole: Judged | None = None, *, trees: int = TREES
) -> list[Finding]:
    """Whether the borders alone tell the labels apart.

    Args:
        looks: the images.
        unit: n: images of the same unit are never both learned from and asked about.
        whole: what a classifier of the whole pictures says, to compare with.
        trees: of the classifier.
    """
    judged = cross_validate(looks.borders, looks.truth, unit, trees=trees)
    level = None if judged is None else _level(judged)
    if judged is None or level is None:
        return []
    accuracy, sure = judged.balanced_accuracy()
    compared = f"; the whole picture: {whole.balanced_accuracy()[0]:.2f}" if whole else ""
    return [
        Finding(
            kind="border_shortcut",
            level=level,
            title="The border gives the label away",
            message=(
                f"the border of the picture alone tells the label with a balanced accuracy of "
                f"{accuracy:.2f} (guessing: {judged.chance:.2f}{compared}): the background may "
                "give it away"
            ),
            advice=(
                "Compare the borders below. If parts reach to the edge, this may be right. If a "
                "tray, a hand or the light differs between the labels, photograph all of them the "
                "same way, or crop to the part."
            ),
            evidence=(
                "A classifier that sees the colours of the outer sixteenth of each side only, "
                f"cross-validated; at least {sure:.2f} with 99.5 % confidence."
            ),
            values={
                "balanced_accuracy": round(accuracy, 4),
                "at_least": round(sure, 4),
                "chance": round(judged.chance, 4),
            },
        )
    ]


def file_shortcuts(looks: Looks, unit: npt.NDArray[np.int64]) -> list[Finding]:
    """Whether size, format, JPEG quality or camera of the files tell the labels apart.

    The number of bytes is not looked at: it depends on what is seen.
    """
    return [
        finding
        for kind, texts in looks.traits.items()
        if len(set(texts)) > 1
        for finding in _trait(looks, unit, kind, texts)
    ]


def _trait(looks: Looks, unit: npt.NDArray[np.int64], kind: str, texts: list[str]) -> list[Finding]:
    if kind == "size":
        height, width = looks.sizes.T
        features = np.stack([height, width, width / height], axis=1).astype(np.float64)
    else:
        features = np.unique(texts, return_inverse=True)[1].reshape(-1, 1).astype(np.float64)
    judged = cross_validate(features, looks.truth, unit, trees=TREES)
    level = None if judged is None else _level(judged)
    if judged is None or level is None:
        return []
    accuracy, sure = judged.balanced_accuracy()
    return [
        Finding(
            kind=f"{kind}_shortcut",
            level=level,
            title=f"The {_WORDS[kind]} gives the label away",
            message=(
                f"the {_WORDS[kind]} alone tells the label with a balanced accuracy of "
                f"{accuracy:.2f} (guessing: {judged.chance:.2f}): {_said(looks, texts)}"
            ),
            advice=(
                "The labels were photographed or saved in different ways, and a network can learn "
                "that instead of the part. Take or save all of them the same way."
            ),
            evidence=(
                f"A cross-validated classifier that sees this only; at least {sure:.2f} with "
                "99.5 % confidence."
            ),
            values={
                "balanced_accuracy": round(accuracy, 4),
                "at_least": round(sure, 4),
                "chance": round(judged.chance, 4),
            },
        )
    ]


def _level(judged: Judged) -> Level | None:
    """How much of the way from guessing to perfect is surely gone; None: too little to speak of."""
    gone = (judged.balanced_accuracy()[1] - judged.chance) / (1 - judged.chance)
    if gone >= LARGE:
        return "warning"
    return "note" if gone >= SMALL else None


def _said(looks: Looks, texts: list[str]) -> str:
    """The most frequent value of some labels."""
    values = np.array(texts)
    told = []
    for k, label in enumerate(looks.labels[:3]):
        found, counts = np.unique(values[looks.truth == k], return_counts=True)
        most = int(counts.argmax())
        share = counts[most] / counts.sum()
        told.append(f"{str(found[most]) or 'none'!r} in {share:.0%} of {label!r}")
    return ", ".join(told) + (", …" if len(looks.labels) > 3 else "")
