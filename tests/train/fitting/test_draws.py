"""Batches, drawn and changed as Keras changes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lineside.dataset import load_tensors
from lineside.image import Preprocess
from lineside_train.backend import load_keras
from lineside_train.fitting.changes import changed, changes
from lineside_train.fitting.draws import Draw, Draws
from lineside_train.options import TrainOptions

pytestmark = pytest.mark.train


Change = Callable[..., np.ndarray]


def inside(draw: Draw, pixels: np.ndarray) -> np.ndarray:
    """As on an accelerator, in the compiled step."""
    return np.asarray(load_keras().ops.convert_to_numpy(changes()()(draw.inputs(pixels))))


@pytest.fixture(params=[inside, changed], ids=["inside", "beside"])
def change(request: pytest.FixtureRequest) -> Change:
    """Changes all pixels in one batch, in either way, and gives them in their own order."""

    def change(pixels: np.ndarray, *, epoch: int = 0, **options: object) -> np.ndarray:
        how = TrainOptions(**{"batch_size": len(pixels)} | options)
        draw = Draws(len(pixels), pixels.shape[1:3], how).draw(epoch, 0)
        found: np.ndarray = request.param(draw, pixels)
        return found[np.argsort(draw.chosen)]

    return change


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (80, 16, 16, 1)).astype(np.uint8)


def test_nothing_is_drawn_where_nothing_is_asked_for(pixels: np.ndarray) -> None:
    draw = Draws(80, (16, 16), TrainOptions(augment="none", flip="none")).draw(0, 0)
    assert draw.inputs(pixels).keys() == {"pixels"}
    assert np.array_equal(draw.inputs(pixels)["pixels"], pixels[draw.chosen])


def test_each_image_comes_once_in_an_epoch_and_in_another_order_in_the_next() -> None:
    draws = Draws(80, (16, 16), TrainOptions(batch_size=16))
    epochs = [
        np.concatenate([draws.draw(epoch, step).chosen for step in range(draws.steps)])
        for epoch in (0, 1)
    ]
    for order in epochs:
        assert np.array_equal(np.sort(order), np.arange(80))
    assert not np.array_equal(*epochs)


def test_a_batch_does_not_depend_on_what_was_drawn_before() -> None:
    draws = Draws(80, (16, 16), TrainOptions(batch_size=16, augment="strong", mix="cutmix"))
    at_once = draws.draw(7, 3)
    after = [draws.draw(epoch, step) for epoch in (0, 7) for step in range(4)][-1]
    assert np.array_equal(at_once.chosen, after.chosen)
    assert np.array_equal(at_once.affine, after.affine)
    assert np.array_equal(at_once.mix.kept, after.mix.kept)


@pytest.mark.parametrize("level", ["light", "strong"])
def test_augmentation_keeps_shape_and_range(
    change: Change, level: str, pixels: np.ndarray, request: pytest.FixtureRequest
) -> None:
    found = change(pixels, augment=level, flip="both")
    dtype = np.float32 if request.node.callspec.params["change"] is inside else np.uint8
    assert (found.shape, found.dtype) == (pixels.shape, dtype)
    assert found.min() >= 0
    assert found.max() <= 255
    assert not np.allclose(found, pixels)


def test_strong_changes_more_than_light(change: Change) -> None:
    y, x = np.mgrid[0:64, 0:64]
    smooth = (128 + 100 * np.sin(x / 5) * np.cos(y / 7)).astype(np.uint8)
    pixels = np.repeat(smooth[np.newaxis, ..., np.newaxis], 40, axis=0)
    light, strong = (
        np.abs(change(pixels, augment=level) - pixels).mean() for level in ("light", "strong")
    )
    assert 0 < light < strong


@pytest.mark.parametrize(
    ("flip", "axes"), [("horizontal", [(), (1,)]), ("both", [(), (0,), (1,), (0, 1)])]
)
def test_flips_mirror_and_do_nothing_else(
    change: Change, pixels: np.ndarray, flip: str, axes: list[tuple[int, ...]]
) -> None:
    found = change(pixels, augment="none", flip=flip)
    seen = set()
    for before, after in zip(pixels, found, strict=True):
        (how,) = [axis for axis in axes if np.allclose(np.flip(before, axis), after, atol=0.1)]
        seen.add(how)
    assert seen == set(axes)


def test_what_is_turned_out_of_the_picture_is_filled_with_its_mirror_image(change: Change) -> None:
    found = change(np.full((40, 16, 16, 1), 77, np.uint8), augment="strong")
    assert np.allclose(found, 77, atol=0.1)


def test_another_seed_or_epoch_changes_other_things(change: Change, pixels: np.ndarray) -> None:
    how = {"augment": "strong", "flip": "both"}
    found = change(pixels, **how)
    assert np.array_equal(found, change(pixels, **how))
    assert not np.allclose(found, change(pixels, **how, seed=1))
    assert not np.allclose(found, change(pixels, **how, epoch=1))


@pytest.mark.parametrize("way", [inside, changed])
@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_labels_are_mixed_as_the_pixels_are(mix: str, way: Change) -> None:
    truth = np.arange(80) % 2
    flat = np.broadcast_to((truth * 200)[:, None, None, None], (80, 16, 16, 1)).astype(np.uint8)
    draw = Draws(80, (16, 16), TrainOptions(batch_size=80, augment="none", mix=mix)).draw(0, 0)
    found = way(draw, flat)
    targets = draw.targets(truth, 2)
    assert np.allclose(targets.sum(axis=1), 1)
    rounded = 0.5 if way is changed else 0.0  # whole grey levels
    assert np.allclose(found.mean(axis=(1, 2, 3)), 200 * targets[:, 1], atol=0.01 + rounded)
    mixed = (targets > 0.001).all(axis=1)
    assert 20 < mixed.sum() < 60  # half of the partners have the same label


@pytest.mark.parametrize("mix", ["none", "mixup", "cutmix"])
def test_both_ways_change_a_photo_alike(cells: Path, mix: str) -> None:
    files = sorted(cells.rglob("*.png"))[:16]
    photos = load_tensors(
        cells,
        [file.relative_to(cells).as_posix() for file in files],
        Preprocess(colour="rgb"),
        (96, 96),
        what="Reading",
    )
    how = TrainOptions(augment="strong", flip="both", mix=mix)
    draw = Draws(16, (96, 96), how).draw(0, 0)
    difference = np.abs(inside(draw, photos) - changed(draw, photos).astype(np.float32))
    # OpenCV rounds: to grey levels, and positions to 1/32 of a pixel.
    assert difference.mean() < 0.4
    assert difference.max() < 10
