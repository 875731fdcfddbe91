"""`interval:SECONDS`: one part every so many seconds."""

from __future__ import annotations

import time

from typing_extensions import override

from lineside_agent.triggers.base import Firing, Trigger


class IntervalTrigger(Trigger):
    """Keeps to its beat; after a pause longer than one beat it starts anew, without a burst."""

    def __init__(self, kind: str, what: str, *, queue: int) -> None:
        super().__init__(kind, what, queue=queue)
        self._period_s = float(what)
        self._due: float | None = None

    @override
    def _wait(self, timeout_s: float) -> tuple[Firing, int | None] | None:
        now = time.monotonic()
        if self._due is None:
            self._due = now
        if self._due - now > timeout_s:
            time.sleep(timeout_s)
            return None
        time.sleep(max(0.0, self._due - now))
        self._due = max(self._due + self._period_s, time.monotonic())
        return Firing.now(self.kind), None
