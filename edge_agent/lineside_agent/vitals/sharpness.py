"""How sharp the fixed edges of a picture are, in small tiles of its full resolution.

The energy of a tile is the mean square difference of neighbouring pixels, of the logarithm of
their brightness, so that neither flicker nor drift changes it. The energy of noise is what the
mean over many looks has lost: energy of the mean tile against mean energy. Sharpness is the root
of (energy - noise) against (energy of the mean): 1 as usual, and about 0.6 for an edge of one
pixel's width after a blur with a sigma of two. The 75 % quantile of the tiles speaks for the
picture, so that three quarters of them must have lost theirs; what covers a tile doesn't count.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside.image import Frame
from lineside_agent.vitals.sketch import LOG, Floats, Sketcher, quantile
from lineside_agent.vitals.usual import Usual

TILES: Final = 16
SIDE: Final = 20
FEW: Final = 4
"""Tiles that can be judged by, at least."""
READY_LOOKS: Final = 60
SLOWEST: Final = 1_500
BLURRED: Final = 0.6
"""Share of the usual sharpness below which it is suspected."""


class Sharpness:
    """Tiles on the fixed edges of one camera.

    Args:
        facts: of an earlier one's `facts`, to go on with.
        arrays: likewise.
    """

    def __init__(
        self,
        facts: dict[str, Any] | None = None,
        arrays: dict[str, npt.NDArray[Any]] | None = None,
    ) -> None:
        self._usual = Usual(2.56, (facts or {}).get("sharpness"))
        self._places: list[tuple[int, int]] = [
            (int(y), int(x)) for y, x in (facts or {}).get("tiles", [])
        ]
        count = len(self._places)
        kept = arrays or {}
        self._mean: Floats = np.asarray(kept.get("tiles", np.zeros((0, SIDE, SIDE))), np.float32)
        self._energy: Floats = np.asarray(kept.get("energy", np.zeros(0)), np.float32)
        self._looks: Floats = np.asarray(kept.get("tile_looks", np.zeros(0)), np.float32)
        shapes = (self._mean.shape, self._energy.shape, self._looks.shape)
        if count > TILES or shapes != ((count, SIDE, SIDE), (count,), (count,)):
            msg = f"expected {count} tiles of {SIDE}x{SIDE}, got {shapes}"
            raise ValueError(msg)
        self._tiles: Floats | None = None

    def place(self, edges: list[tuple[int, int]], scale: float) -> None:
        """Put tiles onto these samples of the sketch; those that are there already stay."""
        wanted = _spots(edges[:TILES], scale)
        old = {spot: index for index, spot in enumerate(self._places)}
        mean = np.zeros((len(wanted), SIDE, SIDE), np.float32)
        energy, looks = np.zeros((2, len(wanted)), np.float32)
        for index, spot in enumerate(wanted):
            if spot in old:
                mean[index] = self._mean[old[spot]]
                energy[index], looks[index] = self._energy[old[spot]], self._looks[old[spot]]
        self._places, self._mean, self._energy, self._looks = wanted, mean, energy, looks
        self._tiles = None

    def measure(self, frame: Frame, sketcher: Sketcher) -> float | None:
        """The sharpness of a frame against the learned one; None while too few tiles are known."""
        if len(self._places) < FEW:
            return None
        self._tiles = _cut(frame, self._places, sketcher)
        self._now = _energy(self._tiles)
        good, signal, noise = self._learned()
        if int(good.sum()) < FEW:
            return None
        sharp = np.sqrt(np.maximum(0, self._now - noise)[good] / signal[good])
        return quantile(sharp, 0.75)

    def _learned(self) -> tuple[npt.NDArray[np.bool_], Floats, Floats]:
        """Which tiles can be judged by, their energy and that of their noise."""
        signal = _energy(self._mean)
        noise = np.maximum(0, self._energy - signal)
        return (self._looks >= READY_LOOKS) & (signal > noise), signal, noise

    def blurred(self, sharpness: float | None, *, already: bool) -> bool:
        """Whether a sharpness is far below the usual."""
        if sharpness is None or self._usual.looks < READY_LOOKS:
            return False
        limit = BLURRED * self._usual.low()
        return sharpness < limit * (1.15 if already else 1.0)

    def learn(self, sharpness: float | None) -> None:
        """The frame that was measured last was a healthy one, with what is fixed in its place."""
        if sharpness is not None:
            self._usual.add(sharpness)
        if self._tiles is None:
            return
        self._looks += 1
        weight = (1 / np.minimum(self._looks, SLOWEST)).astype(np.float32)
        self._mean += weight[:, None, None] * (self._tiles - self._mean)
        self._energy += weight * (self._now - self._energy)

    @property
    def facts(self) -> dict[str, Any]:
        """What was learned, for saving."""
        return {"sharpness": self._usual.counts, "tiles": self._places}

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The same in arrays."""
        return {"tiles": self._mean, "energy": self._energy, "tile_looks": self._looks}


def _spots(edges: list[tuple[int, int]], scale: float) -> list[tuple[int, int]]:
    """Samples of the sketch as pixels of the frame: row and column."""
    return [(round((y + 0.5) * scale), round((x + 0.5) * scale)) for y, x in edges]


def _cut(frame: Frame, spots: list[tuple[int, int]], sketcher: Sketcher) -> Floats:
    """The tiles around these pixels, as logarithms: float32, k x SIDE x SIDE."""
    height, width = frame.shape[:2]
    side = min(SIDE, height, width)
    tiles = np.zeros((len(spots), SIDE, SIDE, 3), np.uint8)
    for index, (y, x) in enumerate(spots):
        top = min(max(0, y - side // 2), height - side)
        left = min(max(0, x - side // 2), width - side)
        tiles[index, :side, :side] = frame[top : top + side, left : left + side]
    value = sketcher.value(tiles.reshape(-1, SIDE, 3))
    logarithms: Floats = sketcher.cv2.LUT(value, LOG)
    return logarithms.reshape(-1, SIDE, SIDE)


def _energy(tiles: Floats) -> Floats:
    """Mean square difference of neighbours: float32, one for each tile."""
    across, down = np.diff(tiles, axis=2), np.diff(tiles, axis=1)
    squares: Floats = np.einsum("kij,kij->k", across, across) + np.einsum("kij,kij->k", down, down)
    return squares / np.float32(2 * SIDE * (SIDE - 1))
