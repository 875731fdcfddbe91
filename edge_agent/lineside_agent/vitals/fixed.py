"""What is fixed in a camera's picture: learned, found again, and found displaced.

The gradient of each sample, a vector, is averaged over looks between which the picture changed.
Where something is fixed the mean vector is nearly as long as the root of the mean square; where
parts pass or a belt runs it is short. Looks that show nothing new are not learned from: a part
parked under the camera for an hour is no background.

`place` is the projection of a look's gradients onto the learned ones, cell by cell: 1 where the
fixed structure is where it was, 0 where it is covered or gone. The 80 % quantile of the cells
speaks for the picture, so that parts may cover most of it. A displacement is measured
by phase correlation of the gradients' magnitudes, and holds only if the projections are better
there: what merely covers the background is no displacement. Along a single straight edge, such as
a rail, no displacement can be seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside_agent.vitals.sketch import CELLS, Floats, Sketcher, quantile
from lineside_agent.vitals.usual import Usual

READY_LOOKS: Final = 100
"""Looks with something new in them before what is fixed is known."""

SLOWEST: Final = 2_000
"""The mean is one over so many looks at last."""

COHERENCE: Final = 0.8
SLOPE: Final = 0.02
"""Least log slope of a fixed edge, a pixel of the sketch."""
FEW: Final = 4
"""Fixed samples that a cell must hold."""
CELLS_KNOWN: Final = 8
COLUMNS_KNOWN: Final = 6
"""Cells that must hold them, and how many columns these must span: in a corner alone, a part would
cover them all."""
NOVEL_SLOPE: Final = 0.04
NOVEL_SHARE: Final = 0.004
"""A look is new if the gradients of such a share of its samples differ by more than that from
those of the look that was learned last."""
QUORUM: Final = 0.8
"""Quantile of the cells that speaks for the picture."""
WHOLE: Final = 0.85
"""Mean of the cells below which a displacement is looked for."""
BETTER: Final = 0.15
"""By how much this mean must be higher where the structure is found."""
LOST: Final = 0.5
"""Share of the usual projection below which what is fixed is not in place."""
LOST_WHOLE: Final = 0.4
"""The same for the mean of the cells."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look shows of the fixed structure.

    Attributes:
        place: projection at its place; None if too little is fixed to judge.
        whole: the mean of the cells, each 0 to 1.
        back: `whole` is as usual, which ends a displacement.
        lost: it is far below the usual.
        alignment: correlation of the gradients at the fixed edges with the learned ones, the mean
            of the cells, -1 to 1. A blur weakens gradients and keeps their directions (0.5 and
            more was seen up to a sigma of 5 pixels of the sketch), a displacement does not (at
            most 0.4).
        shift: by how many pixels of the sketch it is displaced, 0 if it isn't or isn't found.
    """

    place: float | None
    whole: float
    back: bool
    lost: bool
    alignment: float
    shift: float


class Fixed:
    """The fixed structure of one camera.

    Args:
        sketcher: of its frames.
        facts: of an earlier one's `facts`, to go on with.
        arrays: likewise.
    """

    def __init__(
        self,
        sketcher: Sketcher,
        facts: dict[str, Any] | None = None,
        arrays: dict[str, npt.NDArray[Any]] | None = None,
    ) -> None:
        width, height = sketcher.size
        self._sketcher = sketcher
        self._usual = Usual(1.28, (facts or {}).get("place"))
        self._usual_whole = Usual(1.0, (facts or {}).get("whole"))
        self._looks = int((facts or {}).get("looks", 0))
        means = np.zeros((3, height, width), np.float32)
        if arrays is not None:
            means = np.asarray(arrays["means"], np.float32)
        if means.shape != (3, height, width) or not np.all(np.isfinite(means)):
            msg = f"expected means of {(3, height, width)}, got {means.shape}"
            raise ValueError(msg)
        self._gx, self._gy, self._square = means
        self._learned: tuple[Floats, Floats] | None = None
        self._window: Floats = sketcher.cv2.createHanningWindow(sketcher.size, sketcher.cv2.CV_32F)
        self._build()

    @property
    def known(self) -> bool:
        """Whether enough is fixed, and has been seen often enough, to judge."""
        return self._looks >= READY_LOOKS and self._enough

    def see(self, gx: Floats, gy: Floats) -> Sight:
        """Look for the fixed structure: float32, h x w, as `Sketcher.gradient` has it."""
        if not self.known:
            return Sight(None, whole=0.0, back=True, lost=False, alignment=1.0, shift=0.0)
        cells = self._project(gx, gy)
        place = quantile(cells[self._usable], QUORUM)
        whole = self._whole(cells)
        ready = self._usual.looks >= READY_LOOKS
        usual = self._usual.low() if ready else 1.0
        usual_whole = self._usual_whole.low() if ready else 1.0
        lost = min(usual, usual_whole) >= 0.4 and (
            place < LOST * usual or whole < LOST_WHOLE * usual_whole
        )
        shift = 0.0
        if whole < WHOLE:
            magnitude = self._sketcher.cv2.magnitude(gx, gy)
            shift = self._displaced(gx, gy, magnitude, whole)
        back = whole >= usual_whole - 0.1
        return Sight(place, whole, back, lost, self._alignment(gx, gy, cells), shift)

    def learn(self, gx: Floats, gy: Floats, sight: Sight) -> bool:
        """A healthy look; whether what is fixed may have changed."""
        if sight.place is not None:
            self._usual.add(sight.place)
            self._usual_whole.add(sight.whole)
        if self._learned is not None:
            dx, dy = gx - self._learned[0], gy - self._learned[1]
            new = float((dx * dx + dy * dy > NOVEL_SLOPE**2).mean())
            if new < NOVEL_SHARE:
                return False
        self._learned = gx, gy
        self._looks += 1
        weight = 1.0 / min(self._looks, SLOWEST)
        add = self._sketcher.cv2.accumulateWeighted
        add(gx, self._gx, weight)
        add(gy, self._gy, weight)
        add(gx * gx + gy * gy, self._square, weight)
        due = self._looks % 50 == 0
        if due:
            self._build()
        return due

    @property
    def edges(self) -> list[tuple[int, int]]:
        """The strongest fixed samples, one a cell, the strongest first: row and column."""
        return _strongest(np.hypot(self._rx, self._ry), self._usable) if self.known else []

    def _build(self) -> None:
        """Work out what is fixed from the means."""
        strength = self._gx**2 + self._gy**2
        mask = (strength > COHERENCE * self._square) & (strength > SLOPE**2)
        mask[[0, 1, -1, -2]] = False
        mask[:, [0, 1, -1, -2]] = False
        self._rx, self._ry = self._gx * mask, self._gy * mask
        cells = self._sketcher.cells
        a_cell = mask.size / (CELLS[0] * CELLS[1])
        self._mask: Floats = mask.astype(np.float32)
        self._energy = cells(self._rx**2 + self._ry**2)
        self._usable = cells(self._mask) * a_cell >= FEW
        columns = np.flatnonzero(self._usable.any(axis=0))
        self._enough = (
            int(self._usable.sum()) >= CELLS_KNOWN
            and int(columns[-1] - columns[0]) + 1 >= COLUMNS_KNOWN
        )
        self._no_cells: Floats = np.full(CELLS[::-1], np.nan, np.float32)
        magnitude = np.sqrt(self._rx**2 + self._ry**2)
        self._ceiling = 2 * (quantile(magnitude[mask], 0.7) if mask.any() else SLOPE)
        self._picture: Floats = np.minimum(magnitude, self._ceiling)

    def _project(self, gx: Floats, gy: Floats) -> Floats:
        product = self._sketcher.cells(gx * self._rx + gy * self._ry)
        result = self._no_cells.copy()
        np.divide(product, self._energy, out=result, where=self._usable)
        return result

    def _alignment(self, gx: Floats, gy: Floats, cells: Floats) -> float:
        here = self._sketcher.cells((gx * gx + gy * gy) * self._mask)[self._usable]
        known = self._energy[self._usable]
        return float(np.mean(cells[self._usable] * np.sqrt(known / np.maximum(here, 1e-9))))

    def _displaced(self, gx: Floats, gy: Floats, magnitude: Floats, whole: float) -> float:
        """By how many samples the fixed structure is displaced; 0 if it is not found elsewhere."""
        seen = np.minimum(magnitude, self._ceiling)
        (x, y), _ = self._sketcher.cv2.phaseCorrelate(self._picture, seen, self._window)
        dx, dy = round(x), round(y)
        height, width = seen.shape
        if (dx, dy) == (0, 0) or abs(dx) > width // 2 or abs(dy) > height // 2:
            return 0.0
        there = self._whole(
            self._project(np.roll(gx, (-dy, -dx), (0, 1)), np.roll(gy, (-dy, -dx), (0, 1)))
        )
        return float(np.hypot(x, y)) if there > max(whole + BETTER, 0.5) else 0.0

    def _whole(self, cells: Floats) -> float:
        return float(np.clip(cells[self._usable], 0.0, 1.0).mean())

    @property
    def facts(self) -> dict[str, Any]:
        """What was learned, for saving."""
        return {
            "place": self._usual.counts,
            "whole": self._usual_whole.counts,
            "looks": self._looks,
        }

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The same in arrays."""
        return {"means": np.stack((self._gx, self._gy, self._square))}


def _strongest(magnitude: Floats, usable: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The greatest sample of each usable cell, the greatest first: row and column."""
    height, width = magnitude.shape
    rows = np.linspace(0, height, CELLS[1] + 1).astype(int)
    columns = np.linspace(0, width, CELLS[0] + 1).astype(int)
    best: list[tuple[float, int, int]] = []
    for row, column in np.argwhere(usable):
        top, left = rows[row], columns[column]
        block = magnitude[top : rows[row + 1], left : columns[column + 1]]
        y, x = np.unravel_index(int(block.argmax()), block.shape)
        best.append((float(block.max()), int(top + y), int(left + x)))
    return [(y, x) for _, y, x in sorted(best, reverse=True)]
