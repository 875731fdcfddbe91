"""The Pareto front, and which of it is chosen: pure."""

from __future__ import annotations

import numpy as np
import pytest

from lineside.decision import softmax
from lineside_train.search.choice import (
    Entry,
    choose,
    image_losses,
    image_weights,
    pareto,
)

EVEN = np.full(4, 0.25)


def entry(number: int, latency: float, *losses: float) -> Entry:
    every = losses if len(losses) == 4 else losses * 4
    return Entry(number, np.array(every), latency)


def test_the_front_is_what_nothing_is_faster_and_better_than() -> None:
    entries = [
        entry(1, 3.0, 0.5),
        entry(2, 1.0, 0.9),
        entry(3, 2.0, 0.9),  # as bad as 2, and slower
        entry(4, 2.5, 0.4),
        entry(5, 1.0, 0.95),  # as fast as 2, and worse
        entry(6, 9.0, 0.4),
    ]
    assert [one.number for one in pareto(entries, EVEN)] == [2, 4]


def test_near_the_best_the_fastest_is_chosen() -> None:
    entries = [
        entry(1, 5.0, 1.0),
        entry(2, 4.0, 0.10, 0.20, 0.30, 0.40),
        entry(3, 2.0, 0.00, 0.40, 0.20, 0.44),  # worse by .01, now more, now less
        entry(4, 1.0, 0.13, 0.22, 0.33, 0.42),  # worse by .025, on every image
        entry(5, 0.5, 2.0),
    ]
    found = choose(entries, EVEN, limit=None, start=1)
    assert found is not None
    assert (found.best, found.chosen) == (2, 3)
    assert found.near == {2, 3}
    assert found.front == (5, 4, 3, 2)


def test_the_choice_is_never_worse_than_the_first_trial() -> None:
    entries = [
        entry(1, 5.0, 0.10, 0.30, 0.20, 0.405),
        entry(2, 6.0, 0.10, 0.20, 0.30, 0.40),
        entry(3, 2.0, 0.00, 0.40, 0.20, 0.44),  # near 2, but worse than 1
    ]
    found = choose(entries, EVEN, limit=None, start=1)
    assert found is not None
    assert found.near == {1, 2, 3}
    assert found.chosen == 1
    without = choose(entries[1:], EVEN, limit=None, start=1)
    assert without is not None
    assert without.chosen == 3


def test_what_is_too_slow_is_not_chosen() -> None:
    entries = [entry(1, 5.0, 0.1), entry(2, 2.0, 0.5), entry(3, 1.0, 0.6)]
    found = choose(entries, EVEN, limit=2.0, start=1)
    assert found is not None
    assert (found.chosen, found.best, found.front) == (2, 2, (3, 2))
    assert choose(entries, EVEN, limit=0.5, start=1) is None
    assert choose([], EVEN, limit=None, start=1) is None


def test_rare_labels_weigh_as_much_where_the_training_balances() -> None:
    truth = np.array([0, 0, 0, 1])
    assert image_weights(truth, 3, balance=True) == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])
    assert image_weights(truth, 3, balance=False) == pytest.approx([0.25] * 4)


def test_timid_probabilities_cost_nothing() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 300)
    logits = 2.0 * np.eye(3)[truth] + random.normal(0, 1.5, (300, 3))
    bold, timid = (image_losses(truth, logits * factor) for factor in (1.0, 0.5))
    assert timid == pytest.approx(bold, abs=0.01)
    plain = -np.log(softmax(logits * 0.5)[np.arange(300), truth])
    assert timid.mean() < plain.mean() - 0.02
