"""Pictures at a fraction of their size: the same to training and to a device, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lineside.bundle import open_bundle
from lineside.dataset import load_tensors
from lineside.errors import ImageError
from lineside.image import (
    Decode,
    Frame,
    Preprocess,
    as_decoded,
    decode,
    largest_reduction,
    shrink,
    to_tensor,
)
from lineside.inspector import Inspector
from lineside.jpeg import decode_strict, jpeg_size
from tests.support.bundles import edit_manifest, with_model
from tests.support.pictures import colourful, encoded
from tests.support.shared import shared

REDUCTIONS = [2, 4, 8]


@pytest.mark.parametrize("reduce", [1, *REDUCTIONS])
@pytest.mark.parametrize(
    "options",
    [{}, {"mode": "L"}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}],
    ids=["4:2:0", "grey", "progressive", "4:4:4", "4:2:2"],
)
def test_a_cameras_decoder_gives_the_bits_of_training(
    reduce: int, options: dict[str, object]
) -> None:
    pytest.importorskip("simplejpeg", reason="strict JPEG needs the extra agent")
    for height, width in ((120, 160), (121, 163), (97, 64), (64, 66), (200, 71)):
        pixels = colourful(height, width, seed=height)
        pixels ^= np.random.default_rng(0).integers(0, 32, pixels.shape, np.uint8)
        data = encoded(pixels, "JPEG", quality=80, **options)  # type: ignore[arg-type]
        frame = decode_strict(data, reduce=reduce)  # type: ignore[arg-type]
        assert frame.shape == (-(-height // reduce), -(-width // reduce), 3)
        assert np.array_equal(frame, decode(data, Decode(reduce)))  # type: ignore[arg-type]
        assert jpeg_size(data) == (height, width)


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_photos_are_the_same_bits_too(reduce: int) -> None:
    pytest.importorskip("simplejpeg", reason="strict JPEG needs the extra agent")
    for file in sorted(shared("data/trashnet").rglob("*.jpg"))[::30]:
        data = file.read_bytes()
        frame = decode_strict(data, reduce=reduce)  # type: ignore[arg-type]
        assert np.array_equal(frame, decode(data, Decode(reduce)))  # type: ignore[arg-type]


def test_a_reduced_jpeg_is_refused_as_a_whole_one_is() -> None:
    pytest.importorskip("simplejpeg", reason="strict JPEG needs the extra agent")
    data = encoded(colourful(120, 160), "JPEG")
    for length in range(700, len(data), 37):
        with pytest.raises(ImageError):
            decode_strict(data[:length], reduce=8)


def test_a_place_for_a_reduced_frame_is_of_its_size() -> None:
    pytest.importorskip("simplejpeg", reason="strict JPEG needs the extra agent")
    asked: list[tuple[int, int]] = []

    def room(height: int, width: int) -> Frame:
        asked.append((height, width))
        return np.zeros((height, width, 3), np.uint8)

    data = encoded(colourful(121, 163), "JPEG")
    frame = decode_strict(data, room=room, reduce=4)
    assert asked == [(31, 41)]
    assert np.array_equal(frame, decode(data, Decode(4)))


@pytest.mark.parametrize("turned", [3, 6, 8])
def test_an_exif_rotation_is_applied_to_what_is_left(turned: int) -> None:
    data = encoded(colourful(120, 168), "JPEG", turned=turned)
    whole, small = decode(data), decode(data, Decode(4))
    assert small.shape == (whole.shape[0] // 4, whole.shape[1] // 4, 3)
    assert np.abs(shrink(whole, 4).astype(int) - small).mean() < 1.5


def test_shrinking_takes_the_mean_of_whole_squares() -> None:
    frame = colourful(61, 83)
    small = shrink(frame, 4)
    assert small.shape == (16, 21, 3)
    squares = frame[:60, :80].reshape(15, 4, 20, 4, 3).mean((1, 3))
    assert np.abs(small[:15, :20] - squares).max() <= 0.5
    # The last column and row stand for what is missing.
    last = frame[:60, [80, 81, 82, 82]].reshape(15, 4, 4, 3).mean((1, 2))
    assert np.abs(small[:15, 20] - last).max() <= 0.5


def test_what_is_no_jpeg_is_about_the_same() -> None:
    pixels = colourful(120, 160)
    kinds: dict[str, dict[str, Any]] = {"JPEG": {"quality": 98}, "PNG": {}}
    jpeg, png = (
        decode(encoded(pixels, kind, **options), Decode(8)) for kind, options in kinds.items()
    )
    assert np.abs(jpeg.astype(int) - png).mean() < 1


# Regions


@pytest.mark.parametrize(
    "roi", [(0, 0, 160, 120), (16, 8, 64, 96), (13, 7, 61, 90), (99, 60, 61, 60)]
)
@pytest.mark.parametrize("reduced", [1, 2, 4])
def test_a_region_means_the_same_at_each_size(roi: tuple[int, int, int, int], reduced: int) -> None:
    whole = colourful(120, 160)
    part = as_decoded(shrink(whole, reduced), Decode(4), roi=roi, reduced=reduced)
    left, top = roi[0] // 4, roi[1] // 4
    right, bottom = -(-(roi[0] + roi[2]) // 4), -(-(roi[1] + roi[3]) // 4)
    expected = shrink(whole, 4)[top:bottom, left:right]
    assert part.shape == expected.shape
    assert np.abs(part.astype(int) - expected).max() <= 1  # a mean of rounded means


def test_a_region_outside_the_whole_picture() -> None:
    frame = shrink(colourful(120, 160), 4)
    with pytest.raises(ImageError, match=r"region \(0, 0, 161, 9\) reaches outside the 160x120 fr"):
        as_decoded(frame, Decode(4), roi=(0, 0, 161, 9), reduced=4)


def test_a_frame_that_was_reduced_too_far() -> None:
    with pytest.raises(
        ImageError, match="a frame at 1/8 of its size is too small: 1/2 is expected"
    ):
        as_decoded(colourful(), Decode(2), reduced=8)


def test_nothing_is_done_where_nothing_is_to_do() -> None:
    frame = colourful()
    assert as_decoded(frame, Decode()) is frame
    assert np.shares_memory(as_decoded(frame, Decode(), roi=(3, 4, 50, 40)), frame)


def test_a_crop_is_in_pixels_of_the_whole_picture() -> None:
    whole = colourful(120, 160)
    spec = Preprocess(decode=Decode(4), crop=(40, 20, 80, 60), resize="stretch")
    expected = to_tensor(shrink(whole, 4)[5:20, 10:30], Preprocess(resize="stretch"), (16, 16))
    assert np.array_equal(to_tensor(shrink(whole, 4), spec, (16, 16)), expected)
    outside = Preprocess(decode=Decode(4), crop=(81, 0, 80, 60))
    with pytest.raises(ImageError, match="reaches outside the 160x120 frame"):
        to_tensor(shrink(whole, 4), outside, (16, 16))


# How far


@pytest.mark.parametrize(
    ("sizes", "resize", "side", "expected"),
    [
        ([(1080, 1920)], "stretch", 112, 8),
        ([(1080, 1920)], "stretch", 113, 4),
        ([(1080, 1920)], "letterbox", 200, 8),  # it sees 200x113 of it
        ([(1080, 1920)], "letterbox", 201, 4),
        ([(320, 320)], "letterbox", 128, 2),
        ([(307, 307)], "letterbox", 128, 2),  # sides are rounded up
        ([(306, 306)], "letterbox", 128, 1),
        ([(1080, 1920), (320, 320)], "letterbox", 128, 2),
        ([(60, 80)], "letterbox", 128, 1),
    ],
)
def test_as_far_as_every_picture_is_larger_than_what_is_seen(
    sizes: list[tuple[int, int]], resize: str, side: int, expected: int
) -> None:
    spec = Preprocess(resize=resize)  # type: ignore[arg-type]
    assert largest_reduction(sizes, spec, (side, side)) == expected


def test_of_a_crop_only_that_counts() -> None:
    spec = Preprocess(crop=(0, 0, 640, 620))
    assert largest_reduction([(1080, 1920)], spec, (128, 128)) == 4


# A photo in training, and the same photo on a device


@pytest.fixture
def inspector(bundle_folder: Path, tmp_path: Path) -> Inspector:
    """A bundle that reduces; 64 px, in grey."""
    model = open_bundle(bundle_folder).model
    copy = with_model(bundle_folder, tmp_path / "bundle", model).path
    edit_manifest(copy, lambda found: found["inputs"][0]["preprocess"].update(decode={"reduce": 4}))
    return Inspector(open_bundle(copy))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(("height", "width"), [(480, 640), (333, 517)])
def test_training_sees_what_a_device_sees(
    inspector: Inspector, tmp_path: Path, mode: str, height: int, width: int
) -> None:
    pytest.importorskip("simplejpeg", reason="strict JPEG needs the extra agent")
    data = encoded(colourful(height, width), "JPEG", mode=mode)
    (tmp_path / "a.jpg").write_bytes(data)
    spec, size = inspector.bundle.manifest.preprocess, inspector.bundle.manifest.input_size
    (trained,) = load_tensors(tmp_path, ["a.jpg"], spec, size, what="Reading")
    from_camera = inspector.tensor(decode_strict(data, reduce=4), reduced=4)
    from_file = inspector.tensor(decode(data, spec.decode))
    assert np.array_equal(from_camera, trained)
    assert np.array_equal(from_file, trained)
    # A camera without JPEG, or one that was not asked: the same but for rounding.
    raw = inspector.tensor(decode(data), reduced=1)
    assert np.abs(raw.astype(int) - trained).mean() < 1


def test_a_station_s_region_is_in_pixels_of_the_whole_picture(inspector: Inspector) -> None:
    whole = colourful(480, 640)
    _, encoded_ = cv2.imencode(".jpg", whole, [cv2.IMWRITE_JPEG_QUALITY, 98])
    roi = (200, 100, 320, 300)
    reduced = inspector.tensor(decode(bytes(encoded_), Decode(4)), roi, 4)
    assert np.abs(inspector.tensor(whole, roi, 1).astype(int) - reduced).mean() < 1
    elsewhere = inspector.tensor(whole, (0, 0, 320, 300), 1)
    assert np.abs(elsewhere.astype(int) - reduced).mean() > 5
