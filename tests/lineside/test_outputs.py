"""From a model's values to logits: every kind."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lineside.decision import softmax
from lineside.errors import EngineError
from lineside.outputs import FLOOR, KINDS, to_logits

RNG = np.random.default_rng(0)


def test_logits_are_logits() -> None:
    z = RNG.normal(size=(5, 3))
    assert to_logits(z, "class_logits") is z


def test_probabilities_come_back() -> None:
    p = softmax(RNG.normal(size=(4, 5, 7), scale=3))
    assert to_logits(p, "class_probabilities").shape == (4, 5, 7)
    assert softmax(to_logits(p, "class_probabilities")) == pytest.approx(p)


def test_quantized_probabilities_are_made_to_sum_to_1() -> None:
    p = np.array([0.5, 0.25, 0.246])
    assert softmax(to_logits(p, "class_probabilities")) == pytest.approx(p / 0.996)


def test_a_probability_of_0_gives_no_infinity() -> None:
    logits = to_logits([1.0, 0.0, -0.1], "class_probabilities")
    assert logits.tolist() == pytest.approx([0.0, math.log(FLOOR), math.log(FLOOR)])
    assert to_logits([[0.0], [1.0]], "binary_probability")[:, 1] == pytest.approx(
        [math.log(FLOOR), -math.log(FLOOR)]
    )


def test_one_value_stands_for_the_second_label() -> None:
    assert to_logits([[-2.0], [3.0]], "binary_logit").tolist() == [[0.0, -2.0], [0.0, 3.0]]
    p = np.array([[[0.1], [0.9]], [[0.5], [0.996]]])
    said = softmax(to_logits(p, "binary_probability"))
    assert said.shape == (2, 2, 2)
    assert said[..., 1:] == pytest.approx(p)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_does_not_become_one(kind: str, value: float) -> None:
    given = [value] if kind.startswith("binary_") else [0.5, value]
    assert not np.isfinite(to_logits(given, kind)).all()


def test_no_probability_at_all_is_no_answer() -> None:
    assert np.isnan(to_logits([0.0, 0.0], "class_probabilities")).all()


def test_another_kind_is_refused() -> None:
    with pytest.raises(EngineError, match="kind 'anomaly_map' give no logits: one of class_logits"):
        to_logits([1.0], "anomaly_map")
