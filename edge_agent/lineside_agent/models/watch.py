"""What a new model may do wrong before the old one is put back. Pure: no clock, no threads.

The rule, all of it:

1. It fails on a frame that the old one answers, once: it goes, and the part has the old one's
   verdict. To fail is to raise, or to give an answer that is none (`no_read`: outputs that are not
   finite). A frame that the old one fails on, too, is the frame's fault and counts for nothing.
2. It is far slower than it should be here: the median of its last JUDGED inferences is over

       limit = max(FAR_OVER * expected, expected + GRACE_MS)

   looked at from JUDGED inferences on, or, since a slow one takes its time to be that many, from
   FEW on if they took LONG_MS together.

       expected = its manifest's median * (the old one's median here / the old one's manifest's)

   where both manifests' figures are of the same device and number of threads: then the old one
   tells by how much this station is slower or busier than that device. Otherwise a figure of
   another machine says nothing of this one, and `expected` is the median of the golden images,
   timed on this device just before the new one was offered.
3. After WATCHED inferences, or WATCHED_S seconds with at least JUDGED of them, it is as good as the
   old one was, which is let go.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

WATCHED: Final = 1000
"""Inferences for which a new model is watched: half a minute at 30 frames a second. So long the old
one takes memory, and no more than that."""

WATCHED_S: Final = 3600.0
"""Seconds for which it is watched at most, on a line that is slower than a part every 3.6 s: it
must have passed before the line is switched off in the evening."""

FAR_OVER: Final = 5.0
"""Times the expected duration that is far over. What one device says of another holds within a
factor of about 3 for models of different schemes (int8 against float on arm and on x86); a model
that a delegate left to the slow kernels takes 10 times as long and more."""

GRACE_MS: Final = 5.0
"""Milliseconds over the expected duration that nobody minds, whatever the factor: on a busy machine
another thread of Python may hold the interpreter's lock for so long, which is no model's fault (a
sound one of 0.05 ms was seen to take 2.5 ms while the disk was full and the broker flapped)."""

JUDGED: Final = 20
"""Inferences whose median is judged: more than half of them must be slow, so that neither the first
ones nor a hiccup of the machine count."""

FEW: Final = 3
"""Inferences that are enough where they took LONG_MS together."""

LONG_MS: Final = 1000.0
"""Milliseconds."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What a manifest says of its model's speed.

    Attributes:
        invoke_ms: the median of one inference, in milliseconds.
        device: where that was measured, in words.
        threads: of the interpreter.
    """

    invoke_ms: float
    device: str
    threads: int

    @classmethod
    def of(cls, measured: Mapping[str, Any]) -> Figure | None:
        """The figure in a manifest's `measured`; None where there is none to use."""
        invoke_ms, device = measured.get("invoke_ms_p50"), measured.get("device")
        threads = measured.get("threads", 1)
        if isinstance(invoke_ms, bool) or not isinstance(invoke_ms, (int, float)):
            return None
        if not isinstance(device, str) or not isinstance(threads, int):
            return None
        if not math.isfinite(invoke_ms) or invoke_ms <= 0:
            return None
        return cls(float(invoke_ms), device, threads)


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a model is.

    Attributes:
        said: by its manifest; None where that says nothing.
        here_ms: the median of one inference on this device, in milliseconds.
    """

    said: Figure | None
    here_ms: float


def expected_ms(new: Speed, old: Speed) -> float:
    """How long one inference of the new model should take here, in milliseconds: rule 2 above."""
    if new.said is None or old.said is None:
        return new.here_ms
    if (new.said.device, new.said.threads) != (old.said.device, old.said.threads):
        return new.here_ms
    return new.said.invoke_ms * old.here_ms / old.said.invoke_ms


class Watch:
    """Watches a new model for its first WATCHED inferences.

    Args:
        new: the new model's speed; `here_ms` as its golden images showed it.
        old: the speed of the one that it replaces.
        now_s: the monotonic clock, in seconds.

    Attributes:
        expected_ms: how long one inference should take.
        limit_ms: how long is too long.
        seen: how many inferences there were.
    """

    def __init__(self, new: Speed, old: Speed, now_s: float) -> None:
        self.expected_ms = expected_ms(new, old)
        self.limit_ms = max(FAR_OVER * self.expected_ms, self.expected_ms + GRACE_MS)
        self.seen = 0
        self._until_s = now_s + WATCHED_S
        self._recent: deque[float] = deque(maxlen=JUDGED)

    def passed(self, now_s: float) -> bool:
        """Whether it has been watched for long enough at `now_s` of the monotonic clock."""
        return self.seen >= WATCHED or (self.seen >= JUDGED and now_s >= self._until_s)

    def see(self, invoke_ms: float) -> str | None:
        """Take note of one inference.

        Args:
            invoke_ms: how long it took, in milliseconds.

        Returns:
            Why the model must go, in words; None if it may stay.
        """
        self.seen += 1
        recent = self._recent
        recent.append(invoke_ms)
        enough = len(recent) == JUDGED or (len(recent) >= FEW and sum(recent) >= LONG_MS)
        if not enough or invoke_ms <= self.limit_ms:
            return None
        median = statistics.median(recent)
        if median <= self.limit_ms:
            return None
        return (
            f"it takes {median:.3g} ms, {self.expected_ms:.3g} ms were expected here and "
            f"{self.limit_ms:.3g} ms are far over"
        )
