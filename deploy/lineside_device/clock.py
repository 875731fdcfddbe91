"""A floor under the clock: no time is earlier than when the release was made.

A Pi has no clock that runs without power. It wakes up in the past, and TLS refuses certificates
that are not good yet; where no time server is in reach, for ever.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from lineside_device.package import created


def clock_floor(package: Path) -> float:
    """When a release was made.

    Args:
        package: its package.json.

    Returns:
        Seconds since 1970.

    Raises:
        OSError: it can't be read.
        ValueError: it says no time.
    """
    return created(json.loads(package.read_bytes())).timestamp()


def raise_clock(floor: float) -> bool:
    """Set the clock to a time, if it is earlier.

    Returns:
        Whether it was.

    Raises:
        OSError: we may not.
    """
    if time.time() >= floor:
        return False
    time.clock_settime(time.CLOCK_REALTIME, floor)
    return True
