"""What is said of a search: while it runs, and at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from lineside.search import Trial
from lineside_train.search.choice import Choice
from lineside_train.search.journal import Record


def begun(number: int, counted: int, trials: int, options: Mapping[str, Any]) -> str:
    """That a trial begins.

    Args:
        number: of the trial, as the report has it.
        counted: which training of those that were asked for it will be.
        trials: how many were asked for.
        options: what was varied.
    """
    said = f"trial {number}, training {counted} of {trials}: {options_said(options)}"
    return f"{said} (what train does by itself)" if number == 1 else said


def options_said(options: Mapping[str, Any]) -> str:
    """`arch plain, width 0.5, image size 96…`; what says none is left out."""
    named = {name.replace("_", " "): value for name, value in options.items()}
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in named.items()
        if value not in {None, "none"}
    )


def done(trial: Trial, records: Sequence[Record], left: float) -> str:
    """What came of a trial, and what is best so far.

    Args:
        trial: the last one.
        records: all, this one included.
        left: how long the rest will take, in seconds.
    """
    time = "" if trial.latency_ms is None else f", {trial.latency_ms:.3g} ms"
    if trial.loss is None or trial.balanced_accuracy is None:
        said = f"  {trial.state}: {trial.note}{time}"
    else:
        said = (
            f"  val: log loss {trial.loss:.3f}, balanced accuracy "
            f"{trial.balanced_accuracy:.3f}{time}, {trial.seconds:.0f} s"
            + (f" ({trial.state}: {trial.note})" if trial.note else "")
        )
    losses = {one.trial.number: one.trial.loss for one in records if one.trial.loss is not None}
    if losses:
        best = min(losses, key=losses.__getitem__)
        said += f"; lowest so far {losses[best]:.3f}, trial {best}"
    return said + (f"; about {_duration(left)} left" if left else "")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def table(records: Sequence[Record], choice: Choice) -> list[Trial]:
    """The trials, with what the choice says of them."""
    return [
        msgspec.structs.replace(
            one.trial,
            front=one.trial.number in choice.front,
            near_best=one.trial.number in choice.near,
        )
        for one in records
    ]


def why(records: Sequence[Record], choice: Choice, limit: float | None) -> str:
    """Why that one was chosen, a sentence or two."""
    trials = {one.trial.number: one.trial for one in records}
    chosen, best = trials[choice.chosen], trials[choice.best]
    among = "" if limit is None else f" of those not slower than {limit:g} ms"
    if chosen is best:
        said = f"Trial {best.number} has the lowest loss on val{among}"
        if len(choice.near) > 1:
            said += ", and nothing faster comes as near as chance, and as the first trial"
        return f"{said}."
    return (
        f"Trial {best.number} has the lowest loss on val{among}, {best.loss:.3f}; trial "
        f"{chosen.number} is the fastest that differs from it by no more than chance, and is not "
        f"worse than the first trial."
    )
