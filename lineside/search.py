"""What a search over trainings found: the table in metrics.json, and in the report."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

TrialState = Literal["complete", "given up", "too slow", "failed"]
"""Trained to its end; ended at half of its epochs, since it promised nothing; not trained, since
its network is slower than was asked for; no network came of it."""


class Trial(Struct, frozen=True, kw_only=True):
    """One training of a search."""

    number: Annotated[int, Meta(ge=1)]
    options: dict[str, Any]
    """What was varied, as `lineside train` is told; the first trial has what it does by itself."""
    state: TrialState
    latency_ms: float | None = None
    """Of one inference in int8, the median, in milliseconds: see `Search.device`."""
    loss: float | None = None
    """Log loss on `val`, after temperature scaling, each label counting as in the training; the
    lower the better. Null where there is no network."""
    balanced_accuracy: float | None = None
    """On `val`."""
    parameters: int | None = None
    seconds: float = 0.0
    """How long its epochs took."""
    note: str = ""
    """Why it is not complete."""
    front: bool = False
    """Whether no other trial is as fast, and better."""
    near_best: bool = False
    """Whether its loss is within what chance does to the difference from the lowest."""


class Search(Struct, frozen=True, kw_only=True):
    """A search: what was tried on `train` and `val`, and what was chosen."""

    wanted: int
    """How many trainings were asked for."""
    trials: list[Trial]
    """In the order in which they were made."""
    chosen: int
    """The number of the trial that the run holds."""
    why: str
    """Why that one, a sentence or two."""
    device: str
    """Where the latencies hold, in words."""
    latency_note: str = ""
    """How they were reckoned, where they were not measured there."""
    max_latency_ms: float | None = None
    """The limit that was asked for."""

    def trial(self, number: int) -> Trial:
        """The trial of that number."""
        return next(one for one in self.trials if one.number == number)
