"""Near duplicates: pictures of one scene, saved again, scaled, brightened, or a moment later.

Two pictures are near duplicates if their perceptual hashes (the signs of the lowest frequencies,
as in pHash) differ in 4 of 64 bits at most, and if what sets each apart from the mean of all
pictures is nearly the same: parts under a fixed camera have much in common without being one shot.
Turned, mirrored and cut pictures are not found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside.dataset import merge
from lineside.extras import require
from lineside.progress import track
from lineside_train.data.findings import Finding, Item, counted
from lineside_train.data.looks import TINY, Floats, Looks

BITS: Final = 64
MAX_BITS: Final = 4
"""Bits in which the hashes of near duplicates differ at most."""

ALIKE: Final = 0.95
"""Correlation of what sets two near duplicates apart from the mean picture, at least."""

SAME: Final = 0.998
"""Correlation of the pictures themselves that is enough by itself: where nearly all pictures are
one scene, that scene is the mean, and only noise sets them apart from it."""

MOST: Final = 10
"""Near duplicates that are kept of one picture at most, the nearest."""

MANY: Final = 0.3
"""If more than this share of the pictures have near duplicates, the parts may just look alike."""

_BLOCK: Final = 1024
_EVIDENCE: Final = (
    "By a perceptual hash and a comparison at 32 x 32 pixels: saved again, scaled, brighter or a "
    "moment later is found; turned, mirrored or cut is not. A small defect is not seen at this "
    "size."
)


@dataclass(frozen=True)
class Twin:
    """Two pictures that are nearly the same.

    Attributes:
        first: index of one.
        second: index of the other, which is larger.
        alike: their correlation, up to 1.
    """

    first: int
    second: int
    alike: float


def perceptual_hashes(tiny: Floats) -> Floats:
    """The signs of each picture's lowest frequencies against their median.

    Args:
        tiny: float32, n x (TINY * TINY), gray.

    Returns:
        float32, n x 64, of -1 and 1.
    """
    cv2: Any = require("cv2", extra="runtime")
    low = np.stack([cv2.dct(one.reshape(TINY, TINY))[:8, :8].ravel() for one in tiny])
    signs: Floats = np.where(low > np.median(low, axis=1, keepdims=True), 1, -1).astype(np.float32)
    return signs


def find_twins(tiny: Floats) -> list[Twin]:
    """Near duplicates, the most alike first.

    All pairs are compared, as products of matrices: 10,000 pictures take seconds.

    Args:
        tiny: float32, n x (TINY * TINY), gray.
    """
    bits = perceptual_hashes(tiny)
    plain = _unit(tiny - tiny.mean(axis=1, keepdims=True))
    apart = _unit(plain - plain.mean(axis=0))
    found: list[Twin] = []
    starts = range(0, len(tiny), _BLOCK)
    for start in track(starts, total=len(starts), what="Looking for near duplicates"):
        rows = slice(start, start + _BLOCK)
        close = bits[rows] @ bits[start:].T >= BITS - 2 * MAX_BITS
        close &= np.arange(close.shape[1]) > np.arange(close.shape[0])[:, None]
        here, there = np.flatnonzero(close.any(axis=1)), np.flatnonzero(close.any(axis=0))
        if not here.size:
            continue
        likeness = apart[start + here] @ apart[start + there].T
        same = plain[start + here] @ plain[start + there].T
        likeness = np.where(same >= SAME, np.maximum(likeness, same), likeness)
        likeness[~close[np.ix_(here, there)] | (likeness < ALIKE)] = 0.0
        found += _nearest(likeness, start + here, start + there)
    return sorted(found, key=lambda twin: (-twin.alike, twin.first, twin.second))


def _nearest(
    likeness: Floats, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> list[Twin]:
    found = []
    for row, alike in zip(rows, likeness, strict=True):
        best = np.argsort(-alike, kind="stable")[:MOST]
        found += [
            Twin(int(row), int(columns[k]), min(1.0, round(float(alike[k]), 4)))
            for k in best
            if alike[k] > 0
        ]
    return found


def _unit(rows: Floats) -> Floats:
    lengths: Floats = np.linalg.norm(rows, axis=1, keepdims=True)
    found: Floats = (rows / np.maximum(lengths, 1e-6)).astype(np.float32)
    return found


def twin_findings(
    looks: Looks, twins: list[Twin], part_of: Mapping[str, str], group_of: Mapping[str, str]
) -> list[Finding]:
    """What near duplicates mean: across labels, across the split, and within a label.

    Args:
        looks: the pictures.
        twins: see `find_twins`.
        part_of: file -> part of the split; empty where there is no split.
        group_of: file -> group, where somebody said what belongs together.
    """
    across = [twin for twin in twins if looks.truth[twin.first] != looks.truth[twin.second]]
    within = [twin for twin in twins if looks.truth[twin.first] == looks.truth[twin.second]]
    doubt = _doubt(looks, twins)
    findings = []
    if across:
        one = across[0]
        findings.append(
            Finding(
                kind="near_conflicts",
                level="warning",
                title="Nearly the same picture under two labels",
                message=(
                    f"{counted(len(across), 'pair')} of nearly identical images under different "
                    f"labels (first: {looks.files[one.first]!r} and {looks.files[one.second]!r})"
                    + doubt
                ),
                advice=(
                    "Look at both: one of them may be in the wrong folder. If a small defect is "
                    "all that sets them apart, all is well: keep them together (--write-groups)."
                ),
                evidence=_EVIDENCE,
                items=[_pair(looks, twin, {}) for twin in across],
                values={"pairs": len(across)},
            )
        )
    leaks = [twin for twin in twins if _divided(looks, twin, part_of)]
    if leaks:
        findings.append(_leak(looks, leaks, part_of, doubt))
    sets = merge([[looks.files[twin.first], looks.files[twin.second]] for twin in within])
    sets = [files for files in sets if len({group_of.get(file, file) for file in files}) > 1]
    if sets:
        sets.sort(key=lambda files: (-len(files), files[0]))
        findings.append(
            Finding(
                kind="near_duplicates",
                level="note",
                title="Nearly the same picture again",
                message=(
                    f"{counted(len(sets), 'set')} of nearly identical images of one label "
                    f"({counted(sum(map(len, sets)), 'image')}, {len(sets[0])} in the largest, "
                    f"first: {sets[0][0]!r})" + doubt
                ),
                advice=(
                    "They count as one image, not several. --write-groups keeps each set on one "
                    "side of the split; --fix-near moves all but the first of each aside."
                ),
                evidence=_EVIDENCE,
                items=[Item(files, [""] * len(files)) for files in sets],
                values={"sets": len(sets), "images": sum(map(len, sets))},
            )
        )
    return findings


def _leak(looks: Looks, leaks: list[Twin], part_of: Mapping[str, str], doubt: str) -> Finding:
    twinned = Counter(
        part_of[looks.files[k]] for k in {k for twin in leaks for k in (twin.first, twin.second)}
    )
    sizes = Counter(part_of.values())
    told = ", ".join(f"{twinned[p]} of {sizes[p]} in {p}" for p in ("val", "test") if twinned[p])
    return Finding(
        kind="leak",
        level="warning",
        title="The split divides near duplicates",
        message=(
            f"near duplicates are divided by the split ({told}): the figures look better than they "
            f"are" + (doubt or "; lineside data check DATA --write-groups keeps them together")
        ),
        advice=(
            "Say which images belong together: --write-groups writes groups.csv with each set as a "
            "group, and training takes it from there. Better still, a pattern of the names that "
            "keeps all frames of one part together (--groups)."
        ),
        evidence=_EVIDENCE,
        items=[_pair(looks, twin, part_of) for twin in leaks],
        values={f"{part}_images": count for part, count in sorted(twinned.items())},
    )


def _divided(looks: Looks, twin: Twin, part_of: Mapping[str, str]) -> bool:
    parts = [part_of.get(looks.files[k]) for k in (twin.first, twin.second)]
    return None not in parts and parts[0] != parts[1]


def _doubt(looks: Looks, twins: list[Twin]) -> str:
    images = {k for twin in twins for k in (twin.first, twin.second)}
    if len(images) <= MANY * len(looks.files):
        return ""
    return (
        f"; but {len(images)} of {len(looks.files)} images have one: parts that look alike can't "
        "be told from copies here"
    )


def _pair(looks: Looks, twin: Twin, part_of: Mapping[str, str]) -> Item:
    files = [looks.files[k] for k in (twin.first, twin.second)]
    labels = [looks.labels[looks.truth[k]] for k in (twin.first, twin.second)]
    captions = [
        f"{label}, {part_of[file]}" if part_of else label
        for file, label in zip(files, labels, strict=True)
    ]
    return Item(files, captions, twin.alike)
