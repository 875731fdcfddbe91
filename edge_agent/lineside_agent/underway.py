"""What the publisher knows of messages that are on their way."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lineside_agent.records import Row

LONGEST_S: Final = 30.0
"""The longest pause between refusals, in seconds."""


@dataclass(slots=True)
class Gate:
    """Lets messages of one kind through; after a refusal one at a time, with growing pauses.

    Attributes:
        on_way: how many the client has.
        refusals: how many were refused in a row.
        reason: why, by the name that the broker gives; None if it does not refuse.
    """

    on_way: int = 0
    refusals: int = 0
    reason: str | None = None
    _shut_until: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether a message may go now."""
        if not self.refusals:
            return True
        return not self.on_way and time.monotonic() >= self._shut_until

    def refused(self, reason: str) -> None:
        """The broker has refused one. One may be about one message; several are about us."""
        self.refusals += 1
        self.reason = reason
        if self.refusals > 1:
            pause = min(LONGEST_S, 2.0 ** min(self.refusals - 2, 10))
            self._shut_until = time.monotonic() + pause

    def taken(self) -> None:
        """The broker has taken one."""
        self.refusals, self.reason = 0, None


@dataclass(slots=True)
class Awaited:
    """A message on its way over MQTT 3.1.1.

    Attributes:
        row: the message; None if it counts as unconfirmed already, and only tells whether
            echoes come again.
        until: when to stop waiting, on the monotonic clock; None until it is acknowledged.
    """

    row: Row | None
    until: float | None = None


@dataclass(slots=True)
class Replay:
    """Messages that are sent again because somebody asked.

    Attributes:
        topic: where.
        waiting: those that were not handed over yet.
        then: what to call at the end.
        on_way: how many the client has.
        sent: how many the broker acknowledged.
    """

    topic: str
    waiting: deque[bytes]
    then: Callable[[int], None]
    on_way: int = 0
    sent: int = 0
