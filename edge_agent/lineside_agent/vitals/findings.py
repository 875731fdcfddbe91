"""What is found out about a camera, and when a suspicion becomes a fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["frozen", "black", "overexposed", "moved", "blurred"]
"""The faults, the gravest first."""

HOLD_S: Final = 1.0
"""Seconds that a suspicion must outweigh its absence before it is a fault, and the other way."""

MAX_STEP_S: Final = 0.4
"""One look counts for so many seconds at most, so that a slow camera needs three looks."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault that lasts.

    Attributes:
        kind: which.
        reason: why it was found, in one line for a person.
        since_ns: when it began, in ns of the monotonic clock.
    """

    kind: Kind
    reason: str
    since_ns: int


class Fault:
    """The evidence for one kind of fault: seconds of suspicion less seconds without, 0 to HOLD_S.

    It begins when the evidence reaches HOLD_S and ends when it is back at 0, so that it can't
    flap faster than once in 2 x HOLD_S.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.finding: Finding | None = None
        self._evidence_s = 0.0
        self._first_ns = 0

    def weigh(self, reason: str | None, *, mono_ns: int, step_s: float) -> None:
        """One look.

        Args:
            reason: why it is suspected, None if it is not.
            mono_ns: when.
            step_s: seconds since the look before.
        """
        step_s = min(step_s, MAX_STEP_S)
        if reason is None:
            self._evidence_s = max(0.0, self._evidence_s - step_s)
            if self._evidence_s == 0.0:
                self.finding = None
            return
        if self._evidence_s == 0.0:
            self._first_ns = mono_ns
        self._evidence_s = min(HOLD_S, self._evidence_s + step_s)
        if self.finding is None and self._evidence_s >= HOLD_S - 1e-9:
            self.finding = Finding(self.kind, reason, self._first_ns)
