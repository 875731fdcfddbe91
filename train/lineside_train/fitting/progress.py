"""How far a training is."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from msgspec import Struct, field

Ended = Literal["all", "no better", "stopped", "not finite", "given up"]
"""Why a training ended: all epochs are done; val got no better; somebody stopped it; the loss
is no number any more; who started it has seen enough."""

Weights = list[npt.NDArray[np.generic]]


class State(Struct, kw_only=True):
    """What JSON holds of it."""

    history: dict[str, list[float]] = field(default_factory=dict)
    """For each epoch one value, as Keras names them: `loss`, `val_loss`…"""
    best_loss: float | None = None
    """The lowest `val_loss` so far."""
    best_epoch: int = 0
    """Which epoch gave it, counted from 1; 0: what it started from."""
    ended: Ended | None = None
    """Why it ended; None: it goes on."""
    broken_step: int | None = None
    """The step, counted from 1 over all epochs, whose loss was no number."""
    seconds: float = 0.0
    """How long it has taken so far."""


class Progress:
    """How far a training is.

    Attributes:
        state: what can be said in JSON.
        best: the network's weights after `state.best_epoch`; None before the first.
    """

    def __init__(self, state: State | None = None, best: Weights | None = None) -> None:
        self.state = state or State()
        self.best = best

    @property
    def epochs(self) -> int:
        """Epochs that are done."""
        return len(self.state.history.get("loss", ()))
