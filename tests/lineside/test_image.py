from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from lineside.errors import ImageError
from lineside.image import (
    MAX_PIXELS,
    PAD,
    Decode,
    Preprocess,
    check_frame,
    crop_to,
    decode,
    to_tensor,
)
from tests.support.pictures import colourful, encoded, png_that_claims

LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True}}


def rgb(frame: np.ndarray) -> np.ndarray:
    return frame[..., ::-1]


@pytest.mark.parametrize("kind", LOSSLESS)
def test_what_was_written_without_loss_is_read_as_it_was(kind: str) -> None:
    pixels = colourful()
    assert np.array_equal(rgb(decode(encoded(pixels, kind, **LOSSLESS[kind]))), pixels)


def test_a_jpeg_is_read_nearly_as_it_was() -> None:
    pixels = colourful()
    frame = rgb(decode(encoded(pixels, "JPEG", quality=95, subsampling=0)))
    assert np.abs(frame.astype(int) - pixels).max() < 12


def test_the_solar_cells_are_read_as_another_library_reads_them(cells: Path) -> None:
    for file in sorted((cells / "defective").iterdir())[:5]:
        expected = np.asarray(Image.open(file).convert("RGB"))
        assert np.array_equal(rgb(decode(file.read_bytes())), expected)


def test_nothing_is_an_empty_file() -> None:
    with pytest.raises(ImageError, match=r"^a\.png: the file is empty \(0 bytes\)$"):
        decode(b"", name="a.png")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_truncated_file_says_so(kind: str, share: float) -> None:
    data = encoded(colourful(), kind)
    with pytest.raises(ImageError, match="a: the picture is truncated"):
        decode(data[: int(len(data) * share)], name="a")


@pytest.mark.parametrize("kind", ["WEBP", "BMP", "TIFF"])
def test_any_other_truncated_file_is_refused(kind: str) -> None:
    data = encoded(colourful(), kind)
    with pytest.raises(ImageError, match=r"a: no picture, or a damaged one \(\d+ bytes\)"):
        decode(data[: int(len(data) * 0.6)], name="a")


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_picture() -> None:
    picture, thumbnail = encoded(colourful(), "JPEG"), encoded(colourful(16, 16), "JPEG")
    block = b"Exif\0\0" + thumbnail
    whole = picture[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + picture[2:]
    assert decode(whole).shape == (60, 80, 3)
    with pytest.raises(ImageError, match="truncated"):
        decode(whole[:-200])


def test_a_jpeg_that_a_camera_padded_is_whole() -> None:
    data = encoded(colourful(), "JPEG")
    assert np.array_equal(decode(data + bytes(10_000)), decode(data))


def test_a_png_with_a_flipped_bit_is_refused() -> None:
    data = bytearray(encoded(colourful(), "PNG"))
    data[len(data) // 2] ^= 0x10
    with pytest.raises(ImageError, match="no picture, or a damaged one"):
        decode(bytes(data))


def test_text_is_no_picture() -> None:
    with pytest.raises(ImageError, match=r"notes\.txt: no picture, or a damaged one \(11 bytes\)"):
        decode(b"hello world", name="notes.txt")


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 200), (200, 7)])
def test_a_tiny_picture_is_refused(height: int, width: int) -> None:
    with pytest.raises(ImageError, match=f"a: {width}x{height} pixels is too small, 8x8 is the le"):
        decode(encoded(colourful(height, width), "PNG"), name="a")


def test_a_header_that_claims_a_huge_picture_is_refused_before_memory_is_taken() -> None:
    # In a process of its own: OpenCV reads its limit when it is loaded, and the memory is watched.
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from lineside.errors import ImageError\n"
        "from lineside.image import decode\n"
        "try:\n"
        "    decode(sys.stdin.buffer.read(), name='huge.png')\n"
        "except ImageError as error:\n"
        "    print(error)\n"
        # Not getrusage: that begins with what the process that started us had.
        "status = Path('/proc/self/status').read_text()\n"
        "print(int(status.partition('VmHWM:')[2].split()[0]) // 1024)"  # MiB
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=png_that_claims(20_000, 20_000),
        capture_output=True,
        check=True,
    )
    message, mebibytes = done.stdout.decode().splitlines()
    expected = f"huge.png: the picture can't be decoded (more than {MAX_PIXELS:,} pixels)"
    assert message == expected
    assert int(mebibytes) < 600, "20,000 x 20,000 x 3 bytes would be 1,144 MiB"


def test_a_frame_that_is_too_large_is_refused() -> None:
    frame = np.broadcast_to(np.zeros(3, np.uint8), (10_001, 10_000, 3))
    with pytest.raises(ImageError, match="frame: 10000x10001 is too large, 100,000,000 pixels"):
        check_frame(frame)


@pytest.mark.parametrize(
    "frame", [np.zeros((20, 20, 3), np.uint16), np.zeros((20, 20), np.uint8)], ids=["16-bit", "2-D"]
)
def test_only_uint8_of_three_channels_is_a_frame(frame: np.ndarray) -> None:
    with pytest.raises(ImageError, match="expected uint8 of height x width x 3, got uint"):
        check_frame(frame)


@pytest.mark.parametrize("turned", range(2, 9))
@pytest.mark.parametrize("kind", sorted(LOSSLESS.keys() - {"BMP"}))  # which carries no EXIF
def test_an_exif_rotation_is_applied(kind: str, turned: int) -> None:
    data = encoded(colourful(), kind, turned=turned, **LOSSLESS[kind])
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert np.array_equal(rgb(decode(data)), expected)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind: str) -> None:
    options = {"quality": 95} if kind == "JPEG" else {}
    pixels = colourful()
    frame = rgb(decode(encoded(pixels, kind, mode="CMYK", **options)))
    assert np.abs(frame.astype(int) - pixels).mean() < 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparency_is_dropped(kind: str) -> None:
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    pixels = colourful()
    assert np.array_equal(rgb(decode(encoded(pixels, kind, mode="RGBA", **options))), pixels)


def test_transparency_of_a_tiff_is_blended_on_black() -> None:
    pixels = colourful()
    frame = rgb(decode(encoded(pixels, "TIFF", mode="RGBA")))
    assert np.abs(frame - pixels * (40 / 255)).max() < 2


@pytest.mark.parametrize("kind", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_reduced_to_8(kind: str, channels: int) -> None:
    pixels = colourful()[..., :channels]
    data = cv2.imencode(kind, pixels.astype(np.uint16) * 256 + 100)[1].tobytes()
    assert np.abs(decode(data).astype(int) - pixels).max() <= 1


def test_a_float_picture_is_refused() -> None:
    data = cv2.imencode(".tiff", colourful().astype(np.float32) / 255)[1].tobytes()
    with pytest.raises(ImageError, match="no picture, or a damaged one"):
        decode(data)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1"])
def test_gray_and_palette_pictures_become_three_channels(mode: str) -> None:
    data = encoded(colourful(), "PNG", mode=mode)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(rgb(decode(data)), expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("reduce", [2, 4, 8])
def test_a_reduced_picture_is_smaller_and_shows_the_same(kind: str, reduce: int) -> None:
    data = encoded(colourful(120, 160), kind, turned=6)
    whole, small = decode(data), decode(data, Decode(reduce=reduce))
    assert small.shape == (160 // reduce, 120 // reduce, 3)
    expected = cv2.resize(whole, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(expected.astype(int) - small).mean() < 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_sides_of_a_reduced_picture_are_rounded_up(kind: str) -> None:
    assert decode(encoded(colourful(65, 82), kind), Decode(reduce=4)).shape == (17, 21, 3)


def test_crop_to_cuts_out_the_box() -> None:
    frame = colourful()
    assert np.array_equal(crop_to(frame, (10, 20, 30, 25)), frame[20:45, 10:40])


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (0, -1, 5, 5), (76, 0, 5, 5), (0, 56, 5, 5)])
def test_a_box_outside_the_frame_is_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ImageError, match=r"cam0: the region \(.*\) reaches outside the 80x60"):
        crop_to(colourful(), box, name="cam0")


@pytest.mark.parametrize(("colour", "channels"), [("gray", 1), ("rgb", 3)])
@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
@pytest.mark.parametrize("shape", [(60, 80), (80, 60), (32, 32), (8, 500)])
def test_every_frame_becomes_a_tensor_of_the_asked_size(
    colour: str, channels: int, resize: str, shape: tuple[int, int]
) -> None:
    tensor = to_tensor(colourful(*shape), Preprocess(colour=colour, resize=resize), (32, 48))
    assert (tensor.shape, tensor.dtype) == ((32, 48, channels), np.uint8)
    assert tensor.flags.c_contiguous


def test_rgb_comes_in_that_order() -> None:
    frame = np.zeros((16, 16, 3), np.uint8)
    frame[..., 2] = 200  # red, in OpenCV's order
    assert to_tensor(frame, Preprocess(colour="rgb"), (16, 16))[0, 0].tolist() == [200, 0, 0]


def test_gray_weighs_the_colours_as_the_eye_does() -> None:
    frame = np.full((16, 16, 3), (10, 100, 200), np.uint8)  # blue, green, red
    expected = round(0.114 * 10 + 0.587 * 100 + 0.299 * 200)  # ITU-R BT.601
    assert to_tensor(frame, Preprocess(colour="gray"), (16, 16))[0, 0, 0] == expected


def test_letterbox_keeps_the_aspect_and_fills_with_grey() -> None:
    tensor = to_tensor(np.full((20, 40, 3), 250, np.uint8), Preprocess(colour="gray"), (32, 32))
    assert (tensor[8:24] == 250).all()
    assert (tensor[:8] == PAD).all()
    assert (tensor[24:] == PAD).all()


def test_stretch_fills_everything() -> None:
    frame = np.full((20, 40, 3), 250, np.uint8)
    assert (to_tensor(frame, Preprocess(resize="stretch"), (32, 32)) == 250).all()


def test_a_frame_of_the_right_size_is_not_touched() -> None:
    frame = colourful(32, 32)
    assert np.array_equal(to_tensor(frame, Preprocess(), (32, 32)), frame[..., ::-1])


def test_shrinking_by_area_takes_the_mean() -> None:
    frame = colourful(64, 64)
    expected = frame.reshape(32, 2, 32, 2, 3).mean((1, 3))[..., ::-1]
    assert np.abs(to_tensor(frame, Preprocess(), (32, 32)) - expected).max() <= 0.5


def test_the_crop_comes_before_the_resize() -> None:
    frame = colourful()
    spec = Preprocess(crop=(10, 20, 32, 24))
    expected = to_tensor(frame[20:44, 10:42], Preprocess(), (16, 16))
    assert np.array_equal(to_tensor(frame, spec, (16, 16)), expected)


def test_a_crop_outside_the_frame_is_refused() -> None:
    with pytest.raises(ImageError, match="reaches outside the 80x60 frame"):
        to_tensor(colourful(), Preprocess(crop=(0, 0, 81, 10)), (16, 16))


def test_the_frame_itself_is_left_alone() -> None:
    frame = colourful()
    before = frame.copy()
    to_tensor(frame, Preprocess(crop=(1, 1, 40, 40), colour="gray"), (16, 16))
    assert np.array_equal(frame, before)


@pytest.mark.parametrize("interpolation", ["area", "linear"])
@pytest.mark.parametrize("shape", [(97, 131), (480, 640), (32, 40), (20, 24)])
def test_colours_in_order_before_or_after_resizing_are_the_same_bits(
    shape: tuple[int, int], interpolation: str
) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    how = cv2.INTER_AREA if interpolation == "area" else cv2.INTER_LINEAR
    expected = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), (56, 48), interpolation=how)
    spec = Preprocess(resize="stretch", interpolation=interpolation)  # type: ignore[arg-type]
    assert np.array_equal(to_tensor(frame, spec, (48, 56)), expected)
