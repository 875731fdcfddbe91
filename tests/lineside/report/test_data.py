from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lineside.report import LayerError, ModelScores, SchemeRow
from tests.lineside.report.scored import SCHEMES, Scored, report_of


def _bad(scored: Scored) -> list[tuple[dict[str, Any], str]]:
    n = len(scored.files)
    not_finite = scored.logits.copy()
    not_finite[3, 1] = np.nan
    return [
        ({"labels": scored.labels[:1]}, "at least two labels, got 1"),
        ({"models": []}, "at least one model"),
        ({"truth": scored.truth[1:]}, f"truth: shape ({n},) is expected, got ({n - 1},)"),
        ({"truth": scored.truth + 1}, "truth: 0 to 1 is expected, got {1, 2}"),
        (
            {"models": [ModelScores("int8", scored.logits[:, :1])]},
            f"int8: expected {n} x 2 logits, got ({n}, 1)",
        ),
        ({"models": [ModelScores("int8", not_finite)]}, "int8: logits that are not finite"),
        (
            {"schemes": [replace(SCHEMES[0], chosen=True), SCHEMES[3]]},
            f"one of 2 is to be the chosen one, got float32, {SCHEMES[3].scheme}",
        ),
        ({"schemes": SCHEMES[:3]}, "schemes: one of 3 is to be the chosen one, got none"),
    ]


@pytest.mark.parametrize("case", range(8))
def test_what_does_not_fit_together_is_refused(scored: Scored, case: int) -> None:
    changes, message = _bad(scored)[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        report_of(scored, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accuracy": 78.1}, "float32: accuracy: 0 to 1 is expected, got 78.1"),
        ({"balanced_accuracy": np.nan}, "balanced_accuracy: 0 to 1 is expected, got nan"),
        ({"expected_flips": -0.1}, "expected_flips: 0 to 1 is expected, got -0.1"),
        ({"worst": 1.5}, "worst: 0 to 1 is expected, got 1.5"),
        ({"size": -1}, "size: at least 0 is expected, got -1"),
        ({"flips": -1}, "flips: at least 0 is expected, got -1"),
        ({"invoke_ms": np.inf}, "invoke_ms: at least 0 is expected, got inf"),
        ({"device": ""}, "float32: 1.02 ms, but not on which device"),
        ({"size": None}, "float32: it was chosen or timed, so it must have a size"),
        ({"chosen": True, "size": None, "invoke_ms": None}, "so it must have a size"),
    ],
)
def test_a_scheme_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    row: SchemeRow = SCHEMES[0]
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(row, **changes)


@pytest.mark.parametrize("ratios", [{"snr_db": np.nan}, {"snr_db": 1.0, "own_snr_db": np.nan}])
def test_a_ratio_that_is_no_number_is_refused(ratios: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"^stem: (own_)?snr_db: a number is expected, got nan$"):
        LayerError(layer="stem", op="CONV_2D", **ratios)
