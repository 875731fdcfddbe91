from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lineside.errors import ImageError
from lineside.image import MAX_PIXELS, Frame
from lineside.jpeg import MAX_BYTES, decode_strict
from tests.support.corruption import (
    RESTART_WAYS,
    WAYS,
    difference,
    lose_intervals,
    start_of_scan,
    with_restarts,
    without_tables,
)
from tests.support.pictures import colourful, encoded
from tests.support.shared import shared

pytest.importorskip("simplejpeg", reason="strict JPEG needs the extra agent")

REFUSED = {"cut off": 1.0, "cut off, with an end marker": 0.98, "1 restart interval lost": 1.0}
"""The least share of pictures that is refused."""


def photos(count: int) -> list[Path]:
    files = sorted(shared("data/trashnet").rglob("*.jpg"))
    return files[:: len(files) // count]


def claiming(width: int, height: int) -> bytes:
    """A JPEG whose header claims another size."""
    data = bytearray(encoded(colourful(), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


def test_whole_pictures_are_read_as_opencv_reads_them() -> None:
    for file in photos(40):
        data = file.read_bytes()
        frame = decode_strict(data)
        expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert (frame.dtype, frame.shape) == (np.uint8, expected.shape)
        assert difference(frame, expected) < 0.5


def test_a_picture_is_decoded_to_where_it_is_wanted_bit_by_bit() -> None:
    for file in photos(10):
        data, places = file.read_bytes(), []

        def room(height: int, width: int) -> Frame:
            memory = np.full((height + 1, width, 3), 7, np.uint8)
            places.append(memory)  # noqa: B023 - called at once
            return memory[:height]

        frame = decode_strict(data, room=room)
        (memory,) = places
        assert frame.base is memory
        assert np.array_equal(frame, decode_strict(data))
        assert (memory[-1] == 7).all()


def test_no_room_for_a_picture_is_said_by_who_has_none() -> None:
    def room(height: int, width: int) -> Frame:
        msg = f"no room for {width}x{height}"
        raise ImageError(msg)

    with pytest.raises(ImageError, match=r"^no room for \d+x\d+$"):
        decode_strict(encoded(colourful(), "JPEG"), room=room)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"mode": "L"}, {"mode": "CMYK"}])
def test_every_kind_a_camera_may_write_is_read(options: dict[str, object]) -> None:
    data = encoded(colourful(), "JPEG", **options)  # type: ignore[arg-type]
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert difference(decode_strict(data), expected) < 0.5


def test_motion_jpeg_without_huffman_tables_is_read() -> None:
    data = bytes(cv2.imencode(".jpg", colourful())[1])
    assert len(without_tables(data)) < len(data) - 400
    assert np.array_equal(decode_strict(without_tables(data)), decode_strict(data))


def test_padding_behind_the_end_is_no_damage() -> None:
    data = encoded(colourful(), "JPEG")
    assert np.array_equal(decode_strict(data + bytes(5000)), decode_strict(data))


def test_a_drivers_buffer_is_read_without_a_copy() -> None:
    data = encoded(colourful(), "JPEG")
    assert np.array_equal(decode_strict(memoryview(bytearray(data))), decode_strict(data))


def test_every_length_short_of_the_whole_is_refused() -> None:
    data = encoded(colourful(), "JPEG")
    for length in range(1, len(data)):
        with pytest.raises(ImageError, match=r"^cam0: .*; \d+ bytes\)$"):
            decode_strict(data[:length], name="cam0")


@pytest.mark.parametrize(("width", "height"), [(65000, 65000), (7, 60), (80, 1)])
def test_a_size_that_is_out_of_bounds_is_refused_before_it_is_decoded(
    width: int, height: int
) -> None:
    with pytest.raises(ImageError, match=rf"expected 8x8 to {MAX_PIXELS:,} .* got {width}x"):
        decode_strict(claiming(width, height))


@pytest.mark.parametrize("data", [b"", bytes(MAX_BYTES + 1)])
def test_too_few_and_too_many_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=rf"1 to {MAX_BYTES} bytes, got {len(data)} bytes$"):
        decode_strict(data)


@pytest.mark.parametrize("data", [b"\xff\xd8\xff", b"no picture at all", b"\x89PNG\r\n\x1a\n" * 9])
def test_what_is_no_jpeg_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"^frame: no JPEG, or its header is damaged \(.+\)$"):
        decode_strict(data)


def test_opencv_accepts_what_is_refused_here() -> None:
    random = np.random.default_rng(1)
    refused = mended = 0
    for file in photos(40):
        data = WAYS["8 bits flipped"](file.read_bytes(), random)
        try:
            decode_strict(data)
        except ImageError:
            refused += 1
            mended += cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None
    assert refused >= 20
    assert mended >= refused * 0.9


@pytest.mark.parametrize("way", [*WAYS, *RESTART_WAYS])
def test_damage_is_refused_in_one_line_or_gives_a_frame(way: str) -> None:
    random = np.random.default_rng(2)
    refused = total = 0
    messages: list[str] = []
    for file in photos(30):
        data = with_restarts(cv2.imread(str(file)))
        for _ in range(3):
            total += 1
            try:
                frame = decode_strict({**WAYS, **RESTART_WAYS}[way](data, random))
            except ImageError as error:
                refused += 1
                messages.append(str(error))
            else:
                assert frame.dtype == np.uint8
    assert not [message for message in messages if "\n" in message]
    assert refused / total >= REFUSED.get(way, 0.0)


def test_restart_markers_tell_one_lost_interval_and_the_count_tells_eight() -> None:
    data = with_restarts(cv2.imread(str(photos(1)[0])))
    assert data.count(b"\xff\xd3", start_of_scan(data)) >= 1
    for count in (1, 8):
        with pytest.raises(ImageError, match="damaged"):
            decode_strict(lose_intervals(count)(data, np.random.default_rng(3)))
