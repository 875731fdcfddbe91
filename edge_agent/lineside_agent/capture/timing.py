"""How long a camera may take. Detection and recovery follow from these alone.

A silent camera is noticed after STALL_S, and its child is killed. A camera that came back delivers
again after at most FIRST_S (for a child that hangs on the first frame), the longest pause of
BACKOFF_S and the start of a process: less than 10 s, if the camera itself opens in less than 2 s.
"""

from __future__ import annotations

import random
from typing import Final

STALL_S: Final = 2.0
"""Without a frame that can be trusted for so many seconds a camera is lost, and its child ends."""

START_S: Final = 15.0
"""Seconds from the start of the child's process to its first word: imports on a small device."""

OPEN_S: Final = 8.0
"""Seconds that opening a camera may take; of these a network camera may take 2 to be reached."""

FIRST_S: Final = 3.0
"""Seconds from an open camera to its first frame."""

BACKOFF_S: Final = (0.5, 4.0)
"""Seconds before a camera is tried again: the first pause and the longest, before the jitter."""

SETTLED_S: Final = 10.0
"""After so many seconds of frames the pauses begin anew with the first."""


def pause_s(attempt: int) -> float:
    """Seconds to wait after `attempt` failures before this one: doubled each time, with jitter."""
    low, high = BACKOFF_S
    return min(high, low * 2.0 ** min(attempt, 16)) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
