"""From raw pixels to what a model is fed: every dtype, layout and normalization."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from lineside.errors import EngineError
from lineside.manifest import ModelInput
from lineside.runtime.feed import make_feed

EVERY = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
"""Each value of a pixel once."""

RNG = np.random.default_rng(0)


def source(dtype: str, shape: tuple[int, ...] = (1, 16, 16, 1), **fields: object) -> ModelInput:
    given = {"tensor": 0, "from": "image", "scale": 1.0, "zero_point": 0}
    return msgspec.convert(given | {"dtype": dtype, "shape": shape} | fields, ModelInput)


def normalization(mean: list[float], std: list[float]) -> dict[str, list[float]]:
    return {"mean": mean, "std": std}


def test_raw_uint8_is_not_copied() -> None:
    assert make_feed(source("uint8"))(EVERY) is EVERY


def test_what_only_repeats_the_pixels_is_not_copied_either() -> None:
    # As Coral's models say it: the scale is 1/128 and the zero point 128.
    said = normalization([128], [128])
    feed = make_feed(source("uint8", scale=0.0078125, zero_point=128, normalization=said))
    assert feed(EVERY) is EVERY
    said = normalization([0], [255])
    feed = make_feed(source("uint8", scale=0.003921568859368563, normalization=said))
    assert feed(EVERY) is EVERY


@pytest.mark.parametrize("said", [None, normalization([0], [255])])
def test_raw_int8_is_the_pixel_minus_128(said: dict[str, list[float]] | None) -> None:
    scale = 1.0 if said is None else 0.003921568859368563
    fed = make_feed(source("int8", scale=scale, zero_point=-128, normalization=said))(EVERY)
    assert fed.dtype == np.int8
    assert np.array_equal(fed, EVERY.astype(int) - 128)


def test_raw_float_is_the_pixel() -> None:
    fed = make_feed(source("float32", scale=0.0))(EVERY)
    assert fed.dtype == np.float32
    assert np.array_equal(fed, EVERY)


@pytest.mark.parametrize("mean", [[127.5], [123.675, 116.28, 103.53]])
@pytest.mark.parametrize("std", [[127.5], [58.395, 57.12, 57.375]])
def test_float_is_exact_for_every_pixel_of_every_channel(
    mean: list[float], std: list[float]
) -> None:
    pixels = np.repeat(EVERY, 3, axis=2)
    pixels[..., 1] = pixels[::-1, :, 1]
    said = normalization(mean, std)
    fed = make_feed(source("float32", (1, 16, 16, 3), scale=0.0, normalization=said))(pixels)
    assert fed.dtype == np.float32
    assert fed.shape == (16, 16, 3)
    for y, x, c in np.ndindex(fed.shape):
        real = (int(pixels[y, x, c]) - mean[c % len(mean)]) / std[c % len(std)]
        assert fed[y, x, c] == np.float32(real)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "low", "high"),
    [("int8", 0.0186, -14, -128, 127), ("uint8", 0.01, 110, 0, 255), ("int8", 1.0, 0, -128, 127)],
)
def test_quantized_is_rounded_and_clipped(
    dtype: str, scale: float, zero_point: int, low: int, high: int
) -> None:
    said = normalization([123.675], [58.395])
    feed = make_feed(source(dtype, scale=scale, zero_point=zero_point, normalization=said))
    fed = feed(EVERY)
    assert fed.dtype == dtype
    for pixel, value in zip(EVERY.flat, fed.flat, strict=True):
        q = round((int(pixel) - 123.675) / 58.395 / scale) + zero_point  # no halves here
        assert value == min(high, max(low, q))


def test_halves_go_away_from_zero() -> None:
    said = normalization([100], [1])
    fed = make_feed(source("int8", scale=2.0, normalization=said))(EVERY)
    assert fed.flat[101] == 1  # 0.5
    assert fed.flat[99] == -1
    assert fed.flat[103] == 2  # 1.5


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_channels_first_is_contiguous(dtype: str) -> None:
    pixels = RNG.integers(0, 256, (16, 24, 3), np.uint8)
    first = make_feed(source(dtype, (1, 3, 16, 24), layout="nchw"))(pixels)
    last = make_feed(source(dtype, (1, 16, 24, 3)))(pixels)
    assert first.flags.c_contiguous
    assert first.shape == (3, 16, 24)
    for y, x, c in np.ndindex(last.shape):
        assert first[c, y, x] == last[y, x, c]


@pytest.mark.parametrize(
    "spec",
    [
        source("int8"),
        source("float32", (1, 1, 16, 16), layout="nchw"),
        source("float32", normalization=normalization([127.5], [127.5])),
    ],
)
@pytest.mark.parametrize(
    "pixels", [EVERY[:8], EVERY[..., 0], np.repeat(EVERY, 3, axis=2), EVERY.astype(np.float32)]
)
def test_other_pixels_are_refused(spec: ModelInput, pixels: np.ndarray) -> None:
    with pytest.raises(EngineError, match=r"takes pixels as uint8 \[16, 16, 1\], got (uint8|floa)"):
        make_feed(spec)(pixels)


def test_the_pixels_stay_as_they_are() -> None:
    for dtype in ("int8", "float32"):
        pixels = EVERY.copy()
        fed = make_feed(source(dtype))(pixels)
        assert not np.shares_memory(fed, pixels)
        assert np.array_equal(pixels, EVERY)


def test_a_large_std_gives_no_infinity() -> None:
    said = normalization([0.0], [1e-30])
    fed = make_feed(source("float32", normalization=said))(EVERY)
    assert math.isclose(float(fed.flat[1]), 1e30, rel_tol=1e-6)
