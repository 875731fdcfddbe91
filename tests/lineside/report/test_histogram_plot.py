from __future__ import annotations

import re

import numpy as np
import pytest

from lineside.report.histogram_plot import histogram_plot


def height_of(text: str, svg: str) -> float:
    found = re.search(rf'<text[^>]* y="([-\d.]+)"[^>]*>{re.escape(text)}</text>', svg)
    assert found
    return float(found[1])


@pytest.mark.parametrize(
    ("review", "ng", "rows"), [(0.11, 0.27, 2), (0.85, 0.97, 2), (0.3, 0.4, 1), (0.1, 0.6, 1)]
)
def test_names_of_limits_do_not_run_into_each_other(review: float, ng: float, rows: int) -> None:
    scores = np.linspace(0, 1, 20)
    groups = (("good parts", scores), ("bad parts", scores))
    svg = histogram_plot("scores", "scores", groups, [("review", review), ("ng", ng)], "score")
    heights = {height_of(f"review {review:g}", svg), height_of(f"ng {ng:g}", svg)}
    assert len(heights) == rows
    assert np.ptp(list(heights)) >= 10 * (rows - 1)


def test_one_limit_or_none() -> None:
    groups = (("good parts", np.array([0.1])), ("bad parts", np.array([0.9])))
    for limits in ([], [("ng", 0.5)]):
        svg = histogram_plot("scores", "scores", groups, limits, "score")
        assert ("ng 0.5" in svg) == bool(limits)
