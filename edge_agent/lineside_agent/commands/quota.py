"""How many commands a second one requester may give."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Final

RATE_HZ: Final = 100.0
"""Commands a second that each requester may give in the long run."""

BURST: Final = 200
"""Commands that a requester may give at once after a pause."""

MAX_REQUESTERS: Final = 256
"""Requesters that are remembered; then the one that was silent the longest is forgotten."""


class Quota:
    """A token bucket for each requester: BURST tokens, refilled at RATE_HZ."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, requester: str) -> bool:
        """Whether `requester` may give one more command now."""
        now = time.monotonic()
        tokens, at = self._buckets.pop(requester, (float(BURST), now))
        tokens = min(float(BURST), tokens + (now - at) * RATE_HZ)
        allowed = tokens >= 1.0
        self._buckets[requester] = (tokens - allowed, now)
        if len(self._buckets) > MAX_REQUESTERS:
            self._buckets.popitem(last=False)
        return allowed
