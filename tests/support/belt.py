"""A camera over a belt, simulated on real pictures: noise, drift, flicker, parts, and faults.

Small frames (320 x 180), so that an hour of them costs a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from lineside.image import Frame

SIZE: Final = (320, 180)
RATE_HZ: Final = 10
Floats = npt.NDArray[np.float32]


def video(file: Path) -> list[Frame]:
    """All frames of a video or a GIF, at SIZE."""
    capture, frames = cv2.VideoCapture(str(file)), []
    while True:
        there, frame = capture.read()
        if not there:
            return frames
        frames.append(cv2.resize(frame, SIZE, interpolation=cv2.INTER_AREA))


def parts_of(folder: Path, count: int, height: int = 60) -> list[Floats]:
    """Photos as parts: float32, height x w x 3."""
    files = sorted(folder.rglob("*.jpg"))
    chosen = files[:: max(1, len(files) // count)][:count]
    parts = []
    for file in chosen:
        photo = cv2.imread(str(file))
        width = round(photo.shape[1] * height / photo.shape[0])
        parts.append(cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA))
    return [part.astype(np.float32) for part in parts]


@dataclass
class Belt:
    """A scene. Each attribute may be changed between two frames.

    Attributes:
        background: float32, 180 x 320 x 3.
        parts: what passes, one after another.
        noise: of the sensor: standard deviation in grey levels at mid grey; 0 for a virtual one.
        moving: whether the belt runs.
        loaded: whether parts come.
        exposure: factor on the light.
        flicker: depth of the beat of 50 Hz light, 0 to 1.
        spoil: what is done to the light that falls onto the sensor: float32 to float32.
        top: row of the parts.
        speed: pixels of the belt for each frame.
    """

    background: Floats
    parts: list[Floats]
    noise: float = 3.0
    moving: bool = True
    loaded: bool = True
    exposure: float = 1.0
    flicker: float = 0.0
    spoil: Callable[[Floats], Floats] | None = None
    top: int = 85
    speed: float = 9.0
    seed: int = 0
    _at: float = 0.0
    _count: int = 0
    _part: int = 0
    _random: Any = field(init=False)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        self._grain = self._random.normal(0, 1, 2_000_003).astype(np.float32)

    @property
    def left(self) -> int:
        """Where the newest part begins."""
        return round(self._at) - self.parts[self._part % len(self.parts)].shape[1]

    def frame(self) -> Frame:
        """The next one: uint8, 180 x 320 x 3."""
        self._count += 1
        light = self.background.copy()
        if self.moving:
            self._at += self.speed
        part = self.parts[self._part % len(self.parts)]
        left = self.left
        if self.loaded or 0 < left < SIZE[0]:
            self._draw(light, part, left)
        if left > SIZE[0] and self.moving:
            self._at, self._part = -float(self._random.integers(0, 100)), self._part + 1
        if self.spoil is not None:
            light = self.spoil(light)
        beat = 1 + self.flicker * np.sin(2 * np.pi * 0.7 * self._count / RATE_HZ)
        light *= np.float32(self.exposure * beat)
        if self.noise:
            # Shot noise goes with the root of the light, read noise is a fifth of it at mid grey.
            length = light.size
            start = int(self._random.integers(0, self._grain.size - length))
            grain = self._grain[start : start + length].reshape(light.shape)
            np.clip(light, 0, None, out=light)
            light += grain * (np.sqrt(light / 128 + 0.04) * np.float32(self.noise))
        return np.clip(light + 0.5, 0, 255).astype(np.uint8)

    def _draw(self, light: Floats, part: Floats, left: int) -> None:
        height, width = part.shape[:2]
        first, last = max(0, left), min(SIZE[0], left + width)
        if first < last:
            light[self.top : self.top + height, first:last] = part[:, first - left : last - left]


def blurred(sigma: float) -> Callable[[Floats], Floats]:
    """Out of focus, in pixels of 320."""
    return lambda light: cv2.GaussianBlur(light, (0, 0), sigma)


def moved(dx: float, dy: float, degrees: float = 0.0) -> Callable[[Floats], Floats]:
    """The camera was pushed: what comes into sight is the mirrored edge. As sharp as before."""
    matrix = cv2.getRotationMatrix2D((SIZE[0] / 2, SIZE[1] / 2), degrees, 1.0)
    matrix[:, 2] += round(dx), round(dy)
    return lambda light: cv2.warpAffine(
        light, matrix, SIZE, flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT
    )


def times(factor: float) -> Callable[[Floats], Floats]:
    """More or less light."""
    return lambda light: light * np.float32(factor)
