"""What to try next: Optuna's sampler, asked with all that was tried.

Nothing is remembered from one question to the next, and each has a seed of its own: a search that
goes on after anything asks for the same as one that was never interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from lineside.extras import require
from lineside_train.search.space import SIZES, Drawn, Space

RANDOM: Final = 6
"""Trials that are drawn at random, the first one counted, before the sampler takes over: about as
many as there are dimensions."""

Tried = tuple[Drawn, tuple[float, float]]
"""What was drawn, and what came of it: log loss on val, and latency in ms. Both finite."""


def propose(space: Space, tried: Sequence[Tried], seed: int) -> Drawn:
    """Draw the next trial: a tree-structured Parzen estimator for two objectives.

    Ozaki et al., Multiobjective Tree-Structured Parzen Estimator, JAIR 73, 2022.

    Args:
        space: what is varied.
        tried: all trials so far, in their order.
        seed: of the search.

    Raises:
        MissingExtraError: Optuna is not installed.
    """
    optuna: Any = require("optuna", extra="train")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        directions=["minimize", "minimize"],
        sampler=optuna.samplers.TPESampler(
            n_startup_trials=RANDOM, seed=(seed * 100_003 + len(tried)) % 2**32
        ),
    )
    whole = _distributions(optuna, space)
    for drawn, values in tried:
        study.add_trial(optuna.trial.create_trial(params=drawn, distributions=whole, values=values))
    found: Drawn = study.ask(whole).params
    return found


def _distributions(optuna: Any, space: Space) -> dict[str, Any]:  # noqa: ANN401 - imported late
    kinds = optuna.distributions
    found: dict[str, Any] = {
        name: kinds.CategoricalDistribution(values) for name, values in space.choices.items()
    }
    for name, (low, high) in space.numbers.items():
        if name == "image_size":
            found[name] = kinds.IntDistribution(int(low), int(high), step=SIZES[2])
        else:
            found[name] = kinds.FloatDistribution(low, high, log=name == "rate")
    return found
