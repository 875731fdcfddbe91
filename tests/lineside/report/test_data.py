from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from lineside.report import ModelScores
from tests.lineside.report.scored import Scored, report_of


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
    ]


@pytest.mark.parametrize("case", range(6))
def test_what_does_not_fit_together_is_refused(scored: Scored, case: int) -> None:
    changes, message = _bad(scored)[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        report_of(scored, **changes)
