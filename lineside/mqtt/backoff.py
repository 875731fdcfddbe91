"""How long to wait before the next attempt to connect."""

from __future__ import annotations

import random
from typing import Final

STEADY_S: Final = 10.0
"""A connection that lived for so many seconds starts the backoff anew when it is lost."""

DROPS: Final = 3
"""After so many short connections in a row, another client is probably taking our place."""


class Backoff:
    """Pauses that grow while connections fail or don't last, and begin anew after a steady one.

    Each pause is drawn evenly from 0 to its limit, which doubles each time, so that a plant full
    of stations does not return at one instant. "Full jitter" of
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter

    Args:
        first_s: the limit of the first pause, in seconds.
        longest_s: the limit of any pause, in seconds.
    """

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._attempt = 0
        self._short = 0

    @property
    def pushed_out(self) -> bool:
        """Whether so many connections were short that another client probably takes our place."""
        return self._short >= DROPS

    def pause_s(self, served_s: float) -> float:
        """Seconds to wait after a connection that served for `served_s`; 0: there was none."""
        steady = served_s > STEADY_S
        self._attempt = 0 if steady else self._attempt + 1
        self._short = self._short + 1 if served_s > 0 and not steady else 0
        limit_s = min(self._longest_s, self._first_s * 2.0 ** min(self._attempt - 1, 16))
        return random.uniform(0.0, limit_s)  # noqa: S311 - no secret
