from __future__ import annotations

import numpy as np
import pytest

from lineside.errors import ImageError
from lineside.image import Frame
from lineside.report.pictures import SIDE, thumbnail
from tests.lineside.report.page import decoded
from tests.lineside.report.scored import Scored


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((480, 640), (120, 160)),
        ((640, 480), (160, 120)),
        ((50, 40), (50, 40)),
        ((8, 4000), (1, 160)),
        ((160, 160), (160, 160)),
    ],
)
def test_size(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    picture = thumbnail(lambda _: np.full((*shape, 3), 90, np.uint8), "a.png")
    assert picture is not None
    assert (picture.height, picture.width) == expected
    assert decoded(picture.src).shape == (*expected, 3)


def test_it_looks_like_the_frame(scored: Scored) -> None:
    picture = thumbnail(scored.load, scored.files[0])
    frame = scored.load(scored.files[0])
    assert picture is not None
    height, width = frame.shape[:2]
    # Each pixel of a thumbnail is the mean of a square of the frame, here cut to whole pixels.
    step = height / SIDE
    rows = (np.arange(SIDE) * step + step / 2).astype(int)
    columns = (np.arange(round(width / step)) * step + step / 2).astype(int)
    nearest = frame[rows][:, columns].astype(float)
    assert np.abs(decoded(picture.src).astype(float) - nearest).mean() < 6.0


@pytest.mark.parametrize("error", [FileNotFoundError("gone"), ImageError("damaged")])
def test_a_picture_that_can_not_be_had(error: Exception) -> None:
    def load(_: str) -> Frame:
        raise error

    assert thumbnail(load, "a.png") is None
