"""Black and over-exposed, by the histogram of a sample.

Black: the brightest 1 % is below 24 of 255 (a covered lens gives its black level, 0 to 16, and
noise), or below 60 and below three tenths of what it usually is at least (its 5 % quantile).
Over-exposed: 95 % of the picture is saturated, unless that is usual here (a backlight); or a
quarter more of what is usually not saturated, and the darkest fifth of the picture is brighter
than it usually is, which a white part doesn't do. Usual is judged after 30 seconds of looks.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lineside.extras import require
from lineside_agent.vitals.sketch import Bytes
from lineside_agent.vitals.usual import Usual

BLACK_LEVEL: Final = 24
DIM_LEVEL: Final = 60
DIM_SHARE: Final = 0.3
SATURATED: Final = 250
WHITE_SHARE: Final = 0.95
LIFTED: Final = 25
READY_LOOKS: Final = 150


class Exposure:
    """Brightness of one camera.

    Args:
        facts: of an earlier one's `facts`, to go on with.
    """

    def __init__(self, facts: dict[str, list[float]] | None = None) -> None:
        facts = facts or {}
        self._cv2: Any = require("cv2", extra="runtime")
        self._level = Usual(256, facts.get("level"))
        self._share = Usual(1.0, facts.get("saturated"))
        self._dark = Usual(256, facts.get("dark"))
        self.level = self.dark = 0
        self.saturated = 0.0

    def measure(self, value: Bytes) -> None:
        """Take the figures of one look: uint8, h x w."""
        counts = self._cv2.calcHist([value], [0], None, [256], [0, 256]).ravel()
        below = np.cumsum(counts)
        self.level = int(np.searchsorted(below, 0.99 * value.size))
        self.dark = int(np.searchsorted(below, 0.2 * value.size))
        self.saturated = float(1 - below[SATURATED - 1] / value.size)

    def learn(self) -> None:
        """This look was a healthy one."""
        self._level.add(self.level)
        self._share.add(self.saturated)
        self._dark.add(self.dark)

    def black(self, *, already: bool) -> str | None:
        """Why the picture is black, None if it is not. What is black already is so for longer."""
        slack = 1.2 if already else 1.0
        limit = float(BLACK_LEVEL)
        if self._level.looks >= READY_LOOKS:
            limit = max(limit, min(DIM_LEVEL, DIM_SHARE * self._level.quantile(0.05)))
        if self.level >= limit * slack:
            return None
        return f"the brightest 1 % of the picture is at {self.level} of 255, below {limit:.0f}"

    def overexposed(self, *, already: bool) -> str | None:
        """Why the picture is over-exposed, None if it is not."""
        ready = self._share.looks >= READY_LOOKS
        usual = self._share.quantile(0.95) if ready else 0.0
        slack = 0.05 if already else 0.0
        white = self.saturated >= WHITE_SHARE - slack and usual < WHITE_SHARE - 0.25
        more = (
            ready
            and self.saturated > usual + 0.25 * (1 - usual) - slack
            and self.dark > self._dark.quantile(0.95) + LIFTED - 100 * slack
        )
        if not (white or more):
            return None
        share = f"{self.saturated:.0%} of the picture is saturated"
        return f"{share}, {usual:.0%} is usual" if ready else share

    @property
    def facts(self) -> dict[str, Any]:
        """What was learned, for saving."""
        return {
            "level": self._level.counts,
            "saturated": self._share.counts,
            "dark": self._dark.counts,
        }
