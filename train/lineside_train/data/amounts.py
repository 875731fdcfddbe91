"""How many images there are of each label, and how large they are."""

from __future__ import annotations

from typing import Final

import numpy as np

from lineside_train.data.findings import Finding, Item, counted
from lineside_train.data.looks import Looks

FEW: Final = 30
"""Images of a label below which no figure of it means much."""

UNEVEN: Final = 10
"""Times that the largest label may be larger than the smallest."""

SMALL: Final = 32
"""A side of fewer pixels than this shows little."""

ODD: Final = 1.5
"""Times that an aspect may differ from the usual one."""

LARGER: Final = 16.0
"""Times that an image may have more pixels, or fewer, than the usual one."""

USUAL: Final = 0.8
"""Share of the images that must be of the usual shape for the others to be odd."""


def amounts(looks: Looks) -> list[Finding]:
    """Labels with few images, and labels with far fewer than others."""
    images = np.bincount(looks.truth, minlength=len(looks.labels))
    findings = []
    few = [int(k) for k in np.argsort(images, kind="stable") if images[k] < FEW]
    if few:
        told = ", ".join(f"{looks.labels[k]!r} {images[k]}" for k in few[:3])
        more = f" and {len(few) - 3} more labels" if len(few) > 3 else ""
        findings.append(
            Finding(
                kind="few",
                level="warning",
                title="Few images",
                message=f"fewer than {FEW} images: {told}{more}; 100 are a sensible start",
                advice="Add images of other parts, taken on other days, before you tune anything.",
                values={looks.labels[k]: int(images[k]) for k in few},
            )
        )
    low, high = int(images.argmin()), int(images.argmax())
    if images[high] > UNEVEN * images[low]:
        findings.append(
            Finding(
                kind="imbalance",
                level="warning",
                title="Uneven labels",
                message=(
                    f"the label {looks.labels[high]!r} has {images[high] / images[low]:.0f} times "
                    f"as many images as {looks.labels[low]!r} ({images[high]} and {images[low]})"
                ),
                advice=(
                    "Look at balanced accuracy and at each label's recall, not at accuracy. More "
                    "images of the rare label help most."
                ),
                values={looks.labels[k]: int(images[k]) for k in (high, low)},
            )
        )
    return findings


def sizes(looks: Looks) -> list[Finding]:
    """Images that are very small, or of another shape or size than nearly all others."""
    height, width = looks.sizes.T.astype(np.float64)
    findings = []
    small = np.flatnonzero(looks.sizes.min(axis=1) < SMALL)
    if small.size:
        findings.append(
            Finding(
                kind="tiny",
                level="warning",
                title="Tiny images",
                message=(
                    f"{counted(small.size, 'image')} with a side below {SMALL} pixels "
                    f"(first: {looks.files[small[0]]!r}, {_size(looks, small[0])})"
                ),
                advice="Cut-outs and previews show little: take the original pictures.",
                items=[Item([looks.files[k]], [_size(looks, k)]) for k in small],
                values={"images": int(small.size)},
            )
        )
    shape, pixels = np.log(width / height), np.log(width * height)
    odd = (np.abs(shape - np.median(shape)) > np.log(ODD)) | (
        np.abs(pixels - np.median(pixels)) > np.log(LARGER)
    )
    if odd.any() and odd.mean() <= 1 - USUAL:
        order = np.flatnonzero(odd)
        usual = np.median(looks.sizes, axis=0).astype(int)
        findings.append(
            Finding(
                kind="odd_sizes",
                level="note",
                title="Odd sizes",
                message=(
                    f"{counted(order.size, 'image')} of another shape or size than the others, "
                    f"{usual[1]}x{usual[0]} (first: {looks.files[order[0]]!r}, "
                    f"{_size(looks, order[0])})"
                ),
                advice="Are they from another camera, cut out, or turned? The line has one camera.",
                items=[Item([looks.files[k]], [_size(looks, k)]) for k in order],
                values={"images": int(order.size)},
            )
        )
    return findings


def _size(looks: Looks, k: int | np.integer) -> str:
    height, width = looks.sizes[k]
    return f"{width}x{height}"
