"""What there is to say of our own connection, beside what stations say of theirs. Pure."""

from __future__ import annotations

from typing import Final

BACK_S: Final = 30.0
"""Seconds for which it is said that the connection is back."""


class Link:
    """Remembers since when there is no connection, and for how long there was none."""

    def __init__(self) -> None:
        self._away_s: float | None = None
        self._back_s: float | None = None
        self._lasted_s = 0.0

    def say(self, error: str | None, now: float, *, shown: bool) -> str | None:
        """One line, or None where all is well.

        Args:
            error: why there is no connection; None while there is one.
            now: seconds of the monotonic clock.
            shown: whether anything is shown that may be old by now.
        """
        if error is not None:
            if not shown:
                return error
            if self._away_s is None:
                self._away_s = now
            return f"not connected for {now - self._away_s:.0f} s, all below is of before: {error}"
        if self._away_s is not None:
            self._back_s, self._lasted_s, self._away_s = now, now - self._away_s, None
        if self._back_s is not None and now - self._back_s < BACK_S:
            return f"connected again, after {self._lasted_s:.0f} s"
        return None
