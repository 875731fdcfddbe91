"""A watchdog that is fed only while each part of the agent gets on with its work.

A process that merely runs proves nothing: a thread may hang in a driver, a commit on a dying
card, an inference in native code. So each part shows a `Beat`, and systemd is fed only when every
one has moved since the last feeding, or had nothing to do. What counts as that:

- **capture:CAMERA** moves with each frame that comes from the camera and with each attempt to
  connect to it: a camera that is known to be lost and is being reconnected is a camera fault,
  which restarting the agent would not mend. It has nothing to do once its source has ended.
- **stream:STREAM**, which is inference, moves each time its thread comes round, at least four
  times a second, also where no part comes: a triggered stream without triggers, a paused one, an
  interval that is not over yet. It stands still while a frame is being looked at, or is read from
  a file. It has nothing to do once the stream has ended, and while a file or a folder waits for
  the outbox to have room again: that is the outbox's matter.
- **outbox** moves each time the keeper's thread comes round, also where that was a failed attempt
  to write to a full disk: it is the commit that does not come back that has to be seen.

Intervals are on the monotonic clock, as systemd's own are.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from lineside_agent.supervision.notify import Notifier

log = logging.getLogger(__name__)

LIMIT_S: Final = 60.0
"""Seconds that a part may stand still, where systemd does not say. Longer than the longest pause
between two attempts to connect to a camera, and than a slow card's worst commit."""


class Beat(NamedTuple):
    """How far a part has got.

    Attributes:
        moved: any number that is another one whenever the part has got on with its work.
        idle: whether it has nothing to do just now.
    """

    moved: int
    idle: bool = False


class Watchdog:
    """Feeds systemd's watchdog. `tick` is called by the main loop, so that it is watched too.

    Args:
        beats: gives each part's beat, by its name; must not wait.
        notifier: who feeds. Where systemd does not watch, what stands still is seen and told in
            the log and the metrics all the same.
    """

    def __init__(self, beats: Mapping[str, Callable[[], Beat]], notifier: Notifier) -> None:
        self._beats = dict(beats)
        self._notifier = notifier
        self.limit_s = notifier.watchdog_s or LIMIT_S
        now = time.monotonic()
        self._seen: dict[str, int] = {}
        self._moved_at = dict.fromkeys(self._beats, now)
        self._fed_at = self._ticked_at = now
        self._judge_from = now
        self._late: set[str] = set()

    def tick(self) -> None:
        """Look at all parts, and feed the watchdog if each of them has moved."""
        now = time.monotonic()
        for name, read in self._beats.items():
            beat = read()
            if beat.idle or beat.moved != self._seen.get(name):
                self._moved_at[name] = now
            self._seen[name] = beat.moved
        self._tell(now)
        self._ticked_at = now
        # Fed four times within its limit: neither a lost message nor a busy moment ends us.
        due = now - self._fed_at >= self.limit_s / 4
        if due and all(at > self._fed_at for at in self._moved_at.values()):
            self._notifier.alive()
            self._fed_at = now

    @property
    def age_s(self) -> float:
        """Seconds since the watchdog was last fed."""
        return time.monotonic() - self._fed_at

    @property
    def still_s(self) -> dict[str, float]:
        """Seconds since each part last moved or had nothing to do."""
        now = time.monotonic()
        return {name: now - at for name, at in self._moved_at.items()}

    def _tell(self, now: float) -> None:
        """Say, once for each time, what stands still: after a restart only the log knows."""
        away = now - self._ticked_at
        if away > self.limit_s / 2:
            # Nobody has looked meanwhile: the parts get their time before they are judged.
            self._judge_from = now + self.limit_s / 2
            self._say(logging.ERROR, f"the main loop has stood still for {away:.0f} s")
        for name, at in self._moved_at.items():
            still = now - at
            late = still > self.limit_s / 2 and now >= self._judge_from
            if late and name not in self._late:
                self._late.add(name)
                limit = f"the limit is {self.limit_s:g} s"
                self._say(logging.ERROR, f"{name} has stood still for {still:.0f} s; {limit}")
            elif still == 0 and name in self._late:
                self._late.discard(name)
                self._say(logging.INFO, f"{name} moves again")

    def _say(self, level: int, line: str) -> None:
        log.log(level, "%s", line)
        self._notifier.status(line)
