"""Negative controls: agents that are wrong on purpose have to be found wrong by the same harness.

A harness that finds nothing proves nothing unless it finds what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults import trial
from tests.faults.plant import Wanted


@dataclass(frozen=True)
class Control:
    """One agent.

    Attributes:
        mode: of `tests.faults.runner`.
        wrong: kinds of violations of which one has to be found; none where it has to hold.
        faults: how many of each kind.
    """

    mode: str
    wrong: tuple[str, ...]
    faults: Mapping[str, int]


CONTROLS = (
    Control("delete_on_puback", ("missing", "gone"), {"kill_broker": 4}),
    Control("lazy", ("missing", "twice"), {"kill_waiting": 2}),
    Control("synced", (), {"kill_agent": 4, "kill_waiting": 2}),
)


def run(
    control: Control,
    folder: Path,
    *,
    seed: int,
    results: int = 300,
    say: Callable[[str], None] = trial.quiet,
) -> trial.Outcome:
    """Run one."""
    return trial.run(
        f"Control: {control.mode}",
        folder,
        Wanted(mode=control.mode),
        control.faults,
        results=results,
        seed=seed,
        say=say,
        settle_s=trial.SETTLE_S if not control.wrong else 6.0,
    )


def asleep(control: Control, outcome: trial.Outcome) -> str | None:
    """Why the harness did not see what is wrong with an agent; None where it did."""
    if not control.wrong or any(outcome.has(kind) for kind in control.wrong):
        return None
    return f"asleep: {control.mode} was not found wrong: {outcome.violations}"
