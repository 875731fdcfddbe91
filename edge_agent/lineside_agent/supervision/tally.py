"""Counting results where they are made: one writer, no lock, well under a microsecond."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final, get_args

from lineside.messages import Verdict

BOUNDS_MS: Final = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0)
"""Upper bounds of the classes of a latency, in milliseconds; above the last there is one more."""


class Histogram:
    """How many latencies fell into which class.

    Written by one thread. Others may read at any time: what they see of one note may be half of
    it, which is put right by the next look.

    Attributes:
        counts: of each class of BOUNDS_MS, and of what is above them.
        sum_ms: of all.
    """

    __slots__ = ("counts", "sum_ms")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_MS) + 1)
        self.sum_ms = 0.0

    def note(self, ms: float) -> None:
        """Count one. A bound belongs to the class below it."""
        self.counts[bisect_left(BOUNDS_MS, ms)] += 1
        self.sum_ms += ms


class Tally:
    """The results of one stream.

    Attributes:
        verdicts: how many of each.
        invoke: the model's own time, of those results that it was asked for.
        total: from capture to verdict, of all results.
    """

    __slots__ = ("invoke", "total", "verdicts")

    def __init__(self) -> None:
        self.verdicts: dict[str, int] = dict.fromkeys(get_args(Verdict), 0)
        self.invoke = Histogram()
        self.total = Histogram()

    def note(self, verdict: Verdict, *, invoke_ms: float, total_ms: float) -> None:
        """Count one result.

        Args:
            verdict: its verdict.
            invoke_ms: milliseconds of inference; 0 if the model was not asked.
            total_ms: milliseconds from capture to verdict.
        """
        self.verdicts[verdict] += 1
        if invoke_ms > 0:
            self.invoke.note(invoke_ms)
        self.total.note(total_ms)
