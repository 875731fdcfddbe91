"""A small sample of a frame, and what is computed of it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside.extras import require
from lineside.image import Frame

LONG_SIDE: Final = 160
"""Pixels of a sketch along the longer side, at most."""

CELLS: Final = (10, 6)
"""Columns and rows that a picture is divided into, so that what covers a part of it outvotes
nothing."""

SOFTEN: Final = 16.0
"""Grey levels below which a ratio of brightness is mostly noise."""

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

LOG: Final[Floats] = np.log1p(np.arange(256) / SOFTEN).astype(np.float32)
"""Grey level to logarithm: a gradient of it is the same in bright and in dim light."""


class Sketcher:
    """Makes the samples of frames of one size.

    Args:
        height: of the frames, in pixels.
        width: likewise.

    Attributes:
        scale: pixels of the frame for one of the sketch.
    """

    def __init__(self, height: int, width: int) -> None:
        self.cv2: Any = require("cv2", extra="runtime")
        self.scale = max(1.0, max(height, width) / LONG_SIDE)
        self.size = (max(16, round(width / self.scale)), max(16, round(height / self.scale)))

    def sample(self, frame: Frame) -> Bytes:
        """Single pixels of the frame on a grid: uint8, h x w x 3. No pixel between is read."""
        small: Bytes = self.cv2.resize(frame, self.size, interpolation=self.cv2.INTER_NEAREST)
        return small

    def value(self, sample: Bytes) -> Bytes:
        """Each pixel's brightest channel, uint8, h x w: red light is light too."""
        blue, green, red = self.cv2.split(sample)
        brightest: Bytes = self.cv2.max(self.cv2.max(blue, green), red)
        return brightest

    def gradient(self, value: Bytes) -> tuple[Floats, Floats]:
        """Horizontal and vertical slope of the logarithm, a pixel of the sketch; float32, h x w."""
        cv2 = self.cv2
        smooth = cv2.blur(cv2.LUT(value, LOG), (3, 3))
        return (
            cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=0.125),
            cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=0.125),
        )

    def cells(self, values: Floats) -> Floats:
        """The mean over each cell: float32, 6 x 10."""
        means: Floats = self.cv2.resize(values, CELLS, interpolation=self.cv2.INTER_AREA)
        return means


def quantile(values: Floats, share: float) -> float:
    """The value at `share` of the sorted ones; numpy's own takes 40 us for a handful of them."""
    return float(np.sort(values)[round(share * (len(values) - 1))])
