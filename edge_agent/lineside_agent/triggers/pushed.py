"""`command`: a part is there when somebody says so, such as by the command `trigger` over MQTT."""

from __future__ import annotations

import threading
from collections import deque

from typing_extensions import override

from lineside_agent.triggers.base import Firing, Trigger


class PushedTrigger(Trigger):
    """A bounded queue of parts, in the order in which they came."""

    def __init__(self, kind: str, what: str, *, queue: int) -> None:
        super().__init__(kind, what, queue=queue)
        self._waiting: deque[tuple[Firing, int | None]] = deque()
        self._arrived = threading.Condition()
        self._closed = False

    @override
    def push(self, firing: Firing, journal: int | None) -> bool:
        with self._arrived:
            if self._closed or len(self._waiting) >= self.queue:
                return False
            self._waiting.append((firing, journal))
            self._arrived.notify()
            return True

    @override
    def drain(self) -> list[tuple[Firing, int | None]]:
        with self._arrived:
            self._closed = True
            left = list(self._waiting)
            self._waiting.clear()
        return left

    @override
    def _wait(self, timeout_s: float) -> tuple[Firing, int | None] | None:
        with self._arrived:
            if not self._arrived.wait_for(lambda: self._waiting, timeout_s):
                return None
            return self._waiting.popleft()
