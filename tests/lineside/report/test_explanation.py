"""Why a test image was answered so, as a report shows it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from lineside.image import Preprocess, to_tensor
from lineside.report import Culprit, Explanation, Explanations, render_report
from lineside.report.explanation import heated
from tests.lineside.report.page import Page, decoded
from tests.lineside.report.scored import Scored, report_of


def spot(row: int, column: int) -> np.ndarray:
    heat = np.zeros((8, 8))
    heat[row, column] = 3.0
    return heat


@pytest.mark.parametrize("channels", [1, 3])
def test_heat_is_where_it_was_put(channels: int) -> None:
    pixels = np.full((64, 48, channels), 100, np.uint8)
    picture = heated(Explanation(pixels, spot(2, 6)))
    assert picture.shape == (128, 96, 3)
    away = np.abs(picture.astype(int) - 100).sum(axis=2)
    row, column = np.unravel_index(away.argmax(), away.shape)
    assert (row // 16, column // 12) == (2, 6)
    assert away[64:, :48].max() == 0


def test_without_heat_the_picture_stays() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128, 1), np.uint8)
    for heat in (None, np.zeros((4, 4))):
        assert (heated(Explanation(pixels, heat)) == pixels).all()


def test_the_report_shows_them(scored: Scored) -> None:
    asked: list[int] = []

    def explain(indices: Sequence[int]) -> list[Explanation]:
        asked.extend(indices)
        spec = Preprocess(colour="gray", resize="stretch")
        return [
            Explanation(
                to_tensor(scored.load(scored.files[i]), spec, (64, 64)),
                spot(i % 8, 0),
                [Culprit(scored.files[0], "defective")] if i == asked[0] else [],
            )
            for i in indices
        ]

    why = Explanations(
        explain=explain,
        maps="How maps are made.",
        pulls="How culprits are found.",
        common=[Culprit(scored.files[1], "functional", 7), Culprit("gone.png", "defective", 2)],
    )
    plain = Page(render_report(report_of(scored)))
    page = Page(render_report(report_of(scored, explanations=why)))
    said = page.said("mistakes")
    assert "How maps are made. How culprits are found." in said
    assert f"functional · 7 times{scored.files[1]}" in said
    assert "defective · 2 timesgone.png" in said
    assert f"defective{scored.files[0]}" in page.said("examples")
    before = [img["alt"] for img in plain.all("img")]
    shown = [img for img in page.all("img") if img["alt"].startswith("where the model sees ")]
    assert len(asked) == len(set(asked)) or len(asked) == len(shown)
    assert len(shown) == len(asked) == len(before)
    assert decoded(shown[0]["src"]).std(axis=2).max() > 20  # the heat is coloured
