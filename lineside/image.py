"""The one way from bytes to the pixels that a model sees.

Training, validation, calibration, parity, golden images and the agent all call this module, so
that a photo means the same to each of them. It is a pure function of its arguments: nothing
about scaling is guessed from the pixels.

    bytes ──decode──▶ frame: uint8, H x W x 3, BGR ──crop_to──▶ frame ─to_tensor─▶ uint8, h x w x c
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from lineside.errors import ImageError
from lineside.extras import require

Frame = npt.NDArray[np.uint8]
"""A picture: uint8, height x width x 3, in the order blue, green, red, as OpenCV has it."""

_JPEG: Final = b"\xff\xd8"
"""What a JPEG begins with."""

Box = tuple[int, int, int, int]
"""x, y, width, height in pixels."""

MAX_PIXELS: Final = 100_000_000
"""A picture of more pixels than this is refused before it is decoded."""

MIN_SIDE: Final = 8
"""A picture with a side shorter than this many pixels is refused: it shows nothing."""

# OpenCV reads these once, when it is loaded. Its own log would say again, in several lines, what
# an ImageError says in one.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

PAD: Final = 128
"""What `letterbox` fills up with: mid-grey, which is nearly 0 after normalization."""


class Decode(Struct, frozen=True, forbid_unknown_fields=True):
    """How bytes become a frame."""

    reduce: Literal[1, 2, 4, 8] = 1
    """A JPEG is decoded at 1/reduce of its size; any other format is decoded whole, then shrunk.

    Sides are rounded up.
    """


class Preprocess(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The versioned specification of the way from bytes to tensor.

    Version 1: decode to 8-bit BGR (EXIF rotation applied, transparency dropped, in a TIFF blended
    on black, CMYK converted, 16 bits reduced to 8), crop, colour, resize. In that order.
    """

    version: Literal[1] = 1
    decode: Decode = Decode()
    crop: (
        tuple[
            Annotated[int, Meta(ge=0)],
            Annotated[int, Meta(ge=0)],
            Annotated[int, Meta(ge=1)],
            Annotated[int, Meta(ge=1)],
        ]
        | None
    ) = None
    """x, y, width, height in pixels of the decoded frame, after the station's region."""
    resize: Literal["letterbox", "stretch"] = "letterbox"
    interpolation: Literal["area", "linear"] = "area"
    colour: Literal["gray", "rgb"] = "rgb"

    @property
    def channels(self) -> int:
        """1 for gray, 3 for rgb."""
        return 1 if self.colour == "gray" else 3


def _cv2() -> ModuleType:
    return require("cv2", extra="runtime")


def _check_complete(data: bytes, name: str) -> None:
    """Refuse what was cut off: decoders fill the missing part with grey and say nothing."""
    if not data:
        msg = f"{name}: the file is empty (0 bytes)"
        raise ImageError(msg)
    # In a JPEG an end marker must follow the last start of a scan: the one of an embedded thumbnail
    # does not count, and some cameras pad their files behind it.
    cut = (data.startswith(_JPEG) and data.rfind(b"\xff\xd9") <= data.rfind(b"\xff\xda")) or (
        data.startswith(b"\x89PNG") and b"IEND" not in data[-4096:]
    )
    if cut:
        msg = f"{name}: the picture is truncated (its end marker is missing)"
        raise ImageError(msg)


def decode(data: bytes, spec: Decode = Decode(), *, name: str = "image") -> Frame:  # noqa: B008 - frozen
    """Decode the bytes of an image file.

    Args:
        data: a JPEG, PNG, BMP, TIFF or WebP file.
        spec: how.
        name: what to call it in an error, such as its path.

    Returns:
        uint8, height x width x 3, BGR.

    Raises:
        ImageError: empty, truncated, no picture, too small or too large.
    """
    cv2 = _cv2()
    _check_complete(data, name)
    # OpenCV turns some formats wrongly when it shrinks them while it decodes (seen: TIFF).
    by_decoder = data.startswith(_JPEG)
    flag = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[spec.reduce if by_decoder else 1]
    try:
        frame = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error as error:
        text = str(error)
        reason = f"more than {MAX_PIXELS:,} pixels" if "PIXELS" in text else text.splitlines()[0]
        msg = f"{name}: the picture can't be decoded ({reason})"
        raise ImageError(msg) from error
    if frame is None:
        msg = f"{name}: no picture, or a damaged one ({len(data)} bytes)"
        raise ImageError(msg)
    if spec.reduce > 1 and not by_decoder:
        height, width = (-(-side // spec.reduce) for side in frame.shape[:2])
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return check_frame(frame, name=name)


def check_frame(frame: Frame, *, name: str = "frame") -> Frame:
    """Return `frame` if it can be looked at.

    Raises:
        ImageError: not uint8 of height x width x 3, too small or too large.
    """
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        msg = f"{name}: expected uint8 of height x width x 3, got {frame.dtype} {frame.shape}"
        raise ImageError(msg)
    height, width = frame.shape[:2]
    if min(height, width) < MIN_SIDE:
        msg = f"{name}: {width}x{height} pixels is too small, {MIN_SIDE}x{MIN_SIDE} is the least"
        raise ImageError(msg)
    if height * width > MAX_PIXELS:
        msg = f"{name}: {width}x{height} is too large, {MAX_PIXELS:,} pixels are the most"
        raise ImageError(msg)
    return frame


def crop_to(frame: Frame, box: Box, *, name: str = "frame") -> Frame:
    """The part of `frame` inside `box`, as a view.

    Raises:
        ImageError: the box reaches outside the frame.
    """
    x, y, width, height = box
    if x < 0 or y < 0 or x + width > frame.shape[1] or y + height > frame.shape[0]:
        msg = (
            f"{name}: the region {box} reaches outside the {frame.shape[1]}x{frame.shape[0]} frame"
        )
        raise ImageError(msg)
    return frame[y : y + height, x : x + width]


def to_tensor(frame: Frame, spec: Preprocess, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """What the model sees of a frame.

    Args:
        frame: uint8, height x width x 3, BGR; a station's region of interest is cut out already.
        spec: the bundle's or the run's specification.
        size: height and width of the model's input, in pixels.

    Returns:
        uint8, height x width x channels (1 gray, 3 red-green-blue), contiguous.

    Raises:
        ImageError: the crop reaches outside the frame.
    """
    cv2 = _cv2()
    if spec.crop is not None:
        frame = crop_to(frame, spec.crop)
    code = cv2.COLOR_BGR2GRAY if spec.colour == "gray" else cv2.COLOR_BGR2RGB
    pixels = cv2.cvtColor(frame, code)
    how = cv2.INTER_AREA if spec.interpolation == "area" else cv2.INTER_LINEAR
    height, width = size
    if spec.resize == "letterbox":
        pixels = _letterbox(cv2, pixels, height, width, how)
    elif pixels.shape[:2] != (height, width):
        pixels = cv2.resize(pixels, (width, height), interpolation=how)
    tensor: npt.NDArray[np.uint8] = pixels.reshape(height, width, spec.channels)
    return tensor


def _letterbox(
    cv2: ModuleType, pixels: npt.NDArray[np.uint8], height: int, width: int, how: int
) -> npt.NDArray[np.uint8]:
    """Resize so that all of it fits, centred, the aspect kept, the rest filled with PAD."""
    factor = min(height / pixels.shape[0], width / pixels.shape[1])
    inner_h = min(height, max(1, round(pixels.shape[0] * factor)))
    inner_w = min(width, max(1, round(pixels.shape[1] * factor)))
    if (inner_h, inner_w) != pixels.shape[:2]:
        pixels = cv2.resize(pixels, (inner_w, inner_h), interpolation=how)
    if (inner_h, inner_w) == (height, width):
        return pixels
    top, left = (height - inner_h) // 2, (width - inner_w) // 2
    padded: npt.NDArray[np.uint8] = cv2.copyMakeBorder(
        pixels,
        top,
        height - inner_h - top,
        left,
        width - inner_w - left,
        cv2.BORDER_CONSTANT,
        value=(PAD, PAD, PAD),
    )
    return padded
