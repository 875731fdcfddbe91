"""When the keeper has what to do. Times are in seconds, on the monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import Final, NamedTuple

TICK_S: Final = 0.25
"""Seconds between looks at the clock, at most."""

NOTE_S: Final = 0.5
"""Seconds that confirmations wait for a commit, unless they are many."""

RETRY_S: Final = 1.0
"""Seconds between attempts to write to a disk that failed."""

PRUNE_S: Final = 10.0
"""Seconds between looks at the retention."""

LEDGER_S: Final = 1.0
"""Seconds between looks at the ledger and the losses."""


class Needs(NamedTuple):
    """What there is to do.

    Attributes:
        asked: somebody asks to read.
        failed: the disk could not be written.
        urgent: what waits can't wait for the next commit.
        waits: results, answers or many confirmations wait for a commit.
        done: some confirmations wait.
        backlog: the publisher has room for messages from disk.
        room: whether there is an outbox to make room in.
        pressing: there is little room left.
    """

    asked: bool
    failed: bool
    urgent: bool
    waits: bool
    done: bool
    backlog: bool
    room: bool
    pressing: bool


@dataclass
class Schedule:
    """When each kind of work was done last, or is to be tried again.

    Attributes:
        commit_s: seconds between commits at least.
        committed_at: when the last commit began: a slow disk shall not make results wait longer
            than it takes.
        ticked_at: the last look at the clock.
        pruned_at: the last look at the retention.
        retry_at: when a disk that failed is tried again.
        refill_at: when the publisher may read from disk again.
        ledger_at: when the ledger is due.
    """

    commit_s: float
    committed_at: float = field(default_factory=monotonic)
    ticked_at: float = field(default_factory=monotonic)
    pruned_at: float = field(default_factory=monotonic)
    retry_at: float = 0.0
    refill_at: float = 0.0
    ledger_at: float = 0.0

    def due(self, needs: Needs) -> dict[str, float]:
        """When to tick, ask, commit, refill and prune, as far as there is need."""
        due = {"tick": self.ticked_at + TICK_S}
        if needs.asked:
            due["ask"] = 0.0
        if needs.failed:
            due["commit"] = self.retry_at
        elif needs.urgent:
            due["commit"] = 0.0
        elif needs.waits:
            due["commit"] = self.committed_at + self.commit_s
        elif needs.done:
            due["commit"] = self.committed_at + NOTE_S
        if needs.backlog:
            due["refill"] = self.refill_at
        if needs.room:
            due["prune"] = self.ticked_at if needs.pressing else self.pruned_at + PRUNE_S
        return due
