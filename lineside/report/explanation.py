"""Why a model answered as it did: what the report shows of it, filled in by who has the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from lineside.extras import require
from lineside.image import Frame

HEAT: Final = 0.6
"""How much of the colour shows where the heat is highest, 0 to 1."""

LEAST_SIDE: Final = 128
"""Small pictures are enlarged to this, in pixels: heat on 32 x 32 would be mosaic."""


@dataclass(frozen=True)
class Culprit:
    """A training image that pulled an answer away from the truth.

    Attributes:
        file: its name, as the report's `load_frame` takes it.
        label: what it was taught as.
        times: how many of the wrong and unsure answers it is among the worst for; 0: not counted.
        called: what a model that has not seen it calls it; empty where none was asked.
    """

    file: str
    label: str
    times: int = 0
    called: str = ""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a test image was answered so.

    Attributes:
        pixels: uint8, h x w x 1 or 3 (RGB): the picture as the model saw it.
        heat: rows x columns, 0 and above: what speaks for the label that it was called; any unit.
            None where there is no such map.
        culprits: the training images that did most for the wrong answer, the worst first.
    """

    pixels: npt.NDArray[np.uint8]
    heat: npt.NDArray[np.floating] | None
    culprits: Sequence[Culprit] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Explanations:
    """Where a report gets explanations from.

    Attributes:
        explain: for indices of test images, the explanations.
        maps: how the heat maps were made, or why there are none; a sentence or two.
        pulls: how the culprits were found; a sentence or two.
        common: the training images that come up most often, the most frequent first.
    """

    explain: Callable[[Sequence[int]], Sequence[Explanation]]
    maps: str
    pulls: str
    common: Sequence[Culprit] = ()


def heated(explanation: Explanation) -> Frame:
    """The picture as the model saw it, grey, with the heat over it.

    Returns:
        uint8, h x w x 3 (BGR, as `lineside.image` gives pictures).
    """
    cv2 = require("cv2", extra="runtime")
    pixels, heat = explanation.pixels, explanation.heat
    if pixels.shape[2] == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[:, :, np.newaxis]
    height, width = pixels.shape[:2]
    factor = max(1.0, LEAST_SIDE / max(height, width))
    size = round(width * factor), round(height * factor)
    picture = cv2.cvtColor(
        cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2BGR
    )
    if heat is None or not heat.max() > 0:
        return np.asarray(picture)
    share = cv2.resize((heat / heat.max()).astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap(np.rint(share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    cover = HEAT * share[:, :, np.newaxis]
    return np.asarray(np.rint(picture * (1 - cover) + colours * cover), np.uint8)
