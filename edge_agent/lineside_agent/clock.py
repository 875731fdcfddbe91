"""Whether this machine's clock was set by a time server."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from functools import cache
from typing import Final

_TIMEX_BYTES: Final = 512  # struct timex has 208 on 64-bit Linux
_TIME_ERROR: Final = 5

_LOOK_S: Final = 1.0
"""Seconds for which the kernel's answer is used again: a result would pay for each question."""

_looked: tuple[float, bool] = (-_LOOK_S, False)


def clock_synced() -> bool:
    """Ask the kernel, which every time service (timesyncd, chrony, ntpd, PTP) tells.

    adjtimex(2) with `modes` 0 changes nothing and returns TIME_ERROR while the clock is not
    synchronized. Where it can't be asked, the clock does not count as synchronized. An answer is
    used for _LOOK_S.
    """
    global _looked  # noqa: PLW0603 - the machine has one clock
    looked_at, synced = _looked
    now = time.monotonic()
    if now - looked_at >= _LOOK_S:
        adjtimex = _adjtimex()
        state = adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)) if adjtimex is not None else -1
        synced = 0 <= state < _TIME_ERROR
        _looked = (now, synced)
    return synced


@cache
def _adjtimex() -> Callable[..., int] | None:
    try:
        function: Callable[..., int] = ctypes.CDLL(None).adjtimex
    except (AttributeError, OSError):
        return None
    return function
