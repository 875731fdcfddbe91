"""From a shot to an answer: whether it can be trusted, and what the model says of it."""

from __future__ import annotations

import logging
from collections import Counter

from lineside.decision import Answer, no_read
from lineside.errors import LinesideError
from lineside.image import check_frame
from lineside_agent.models import Slot
from lineside_agent.sources import Shot

log = logging.getLogger(__name__)


class Freshness:
    """Tells shots that can be trusted from others; of one camera, in the order in which they come.

    Args:
        live: whether they come from a camera: their time stamps have to go on.

    Attributes:
        faults: how many could not be trusted, by why.
    """

    def __init__(self, *, live: bool) -> None:
        self.faults: Counter[str] = Counter()
        self._live = live
        self._newest_ns = 0

    def why_not(self, shot: Shot) -> str | None:
        """Why a shot can't be trusted; None if it can."""
        if shot.flagged is not None:
            self.faults["flagged"] += 1
            return f"camera:{shot.flagged}"
        if self._live and shot.mono_ns <= self._newest_ns:
            self.faults["stale"] += 1
            return "camera:stale"
        self._newest_ns = shot.mono_ns
        if shot.doubt is not None:
            self.faults[shot.doubt] += 1
            return f"camera:{shot.doubt}"
        return None


def look(slot: Slot, shot: Shot | None, why: str | None) -> tuple[Answer, float, float]:
    """What is said of a shot. Whatever goes wrong with it becomes a `no_read` that says so.

    Args:
        slot: who looks.
        shot: None where none came in time.
        why: why it can't be trusted; None if it can.

    Returns:
        The answer, and the milliseconds of preprocessing and of inference.
    """
    if shot is None or why is not None:
        return no_read(why or "no_frame"), 0.0, 0.0
    if shot.frame is None:
        return no_read(f"unreadable:{shot.problem}"), 0.0, 0.0
    context = slot.context
    try:
        found = slot.inspect(check_frame(shot.frame), context.roi, shot.reduced)
    except LinesideError as error:
        return no_read(f"error:{error}"), 0.0, 0.0
    except Exception as error:  # a part without an answer is a no_read, whatever the reason
        log.exception("stream %s: a frame could not be looked at", context.stream)
        return no_read(f"error:{type(error).__name__}:{error}"), 0.0, 0.0
    return found.answer, found.preprocess_ms, found.invoke_ms
