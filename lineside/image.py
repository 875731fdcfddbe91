"""The one way from bytes to the pixels that a model sees.

Training, validation, calibration, parity, golden images and the agent all call this module, so
that a photo means the same to each of them. It is a pure function of its arguments: nothing
about scaling is guessed from the pixels.

    bytes ──────────────decode──────────────▶ frame ──to_tensor──▶ uint8, h x w x c
    frame of a camera ──region, as_decoded──▶ uint8, H x W x 3, BGR
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from types import ModuleType
from typing import Annotated, Final, Literal, get_args

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

Resize = Literal["letterbox", "stretch"]
"""Keep the aspect and fill up, or don't."""

Reduction = Literal[1, 2, 4, 8]
"""What the sides of a picture may be divided by while it is decoded: libjpeg's DCT scaling."""

REDUCTIONS: Final[tuple[Reduction, ...]] = get_args(Reduction)

ROOMY: Final = 1.2
"""How many times the pixels each way that a model sees are left where a reduction is chosen for
it: with hardly more than it sees, more pictures get another label (docs/benchmarks.md)."""

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

    reduce: Reduction = 1
    """A JPEG is decoded at 1/reduce of its size, which takes a fraction of the time; any other
    picture is decoded whole and averaged: see `shrink`. Sides are rounded up.
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
    """x, y, width, height in pixels of the whole picture, after the station's region; where it is
    reduced, the edges are moved outward to whole pixels of what is left.
    """
    resize: Resize = "letterbox"
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
    return check_frame(frame if by_decoder else shrink(frame, spec.reduce), name=name)


def is_jpeg(data: bytes) -> bool:
    """Whether bytes begin as a JPEG does."""
    return data.startswith(_JPEG)


def shrink(frame: Frame, factor: int) -> Frame:
    """A frame at 1/factor of its size: each pixel the mean of factor x factor.

    As a JPEG that is decoded so: sides are rounded up, the last column and row stand for what is
    missing. The pixels are about the same, not to the bit: a JPEG's are computed from its
    coefficients, its colours at their own resolution.
    """
    if factor == 1:
        return frame
    cv2 = _cv2()
    height, width = frame.shape[:2]
    below, right = -height % factor, -width % factor
    if below or right:
        frame = cv2.copyMakeBorder(frame, 0, below, 0, right, cv2.BORDER_REPLICATE)
    size = (frame.shape[1] // factor, frame.shape[0] // factor)
    small: Frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return small


def as_decoded(frame: Frame, spec: Decode, *, roi: Box | None = None, reduced: int = 1) -> Frame:
    """What `decode` would have given of the part of a picture that is looked at.

    Args:
        frame: uint8, height x width x 3, BGR; the whole picture at 1/reduced of its size.
        spec: how the model's pictures are decoded.
        roi: the station's region, in pixels of the whole picture. Where it is reduced, its edges
            are moved outward to whole pixels of what is left.
        reduced: 1 for a frame that is no JPEG, or was decoded whole.

    Raises:
        ImageError: the region reaches outside, or the frame is smaller than `spec` says.
    """
    if spec.reduce % reduced:
        msg = f"a frame at 1/{reduced} of its size is too small: 1/{spec.reduce} is expected"
        raise ImageError(msg)
    if roi is not None:
        _check_inside(roi, frame.shape[1] * reduced, frame.shape[0] * reduced)
        x, y, width, height = _outward(roi, spec.reduce)
        rest = spec.reduce // reduced
        frame = frame[y * rest : (y + height) * rest, x * rest : (x + width) * rest]
    return shrink(frame, spec.reduce // reduced)


def largest_reduction(
    sizes: Iterable[tuple[int, int]], spec: Preprocess, size: tuple[int, int]
) -> Reduction:
    """The largest reduction of pictures that are still ROOMY times what the model sees, or more.

    Args:
        sizes: height and width of each picture, in pixels.
        spec: how it becomes a tensor; its `decode` is not looked at.
        size: height and width of the model's input, in pixels.
    """
    crop = None if spec.crop is None else (spec.crop[3], spec.crop[2])
    looked_at = {crop or one for one in sizes}
    roomy = (math.ceil(ROOMY * size[0]), math.ceil(ROOMY * size[1]))
    fits = (
        r for r in REDUCTIONS if all(is_enough(one, r, spec.resize, roomy) for one in looked_at)
    )
    return max(fits, default=1)


def is_enough(
    picture: tuple[int, int], reduction: int, resize: Resize, size: tuple[int, int]
) -> bool:
    """Whether a reduced picture has as many pixels each way as the model sees of it.

    Args:
        picture: height and width of the whole picture, in pixels.
        reduction: what they are divided by.
        resize: how it is brought to the model's size.
        size: height and width of the model's input, in pixels.
    """
    seen = _inner(picture, size) if resize == "letterbox" else size
    left = tuple(-(-side // reduction) for side in picture)
    return left[0] >= seen[0] and left[1] >= seen[1]


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
    _check_inside(box, frame.shape[1], frame.shape[0], name)
    return frame[y : y + height, x : x + width]


def _check_inside(box: Box, across: int, down: int, name: str = "frame") -> None:
    x, y, width, height = box
    if x < 0 or y < 0 or x + width > across or y + height > down:
        msg = f"{name}: the region {box} reaches outside the {across}x{down} frame"
        raise ImageError(msg)


def _outward(box: Box, factor: int) -> Box:
    """A box in pixels of a picture at 1/factor of its size, with all that is in it."""
    x, y, width, height = box
    left, top = x // factor, y // factor
    return left, top, -(-(x + width) // factor) - left, -(-(y + height) // factor) - top


def to_tensor(frame: Frame, spec: Preprocess, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """What the model sees of a frame.

    Args:
        frame: uint8, height x width x 3, BGR, as `decode` or `as_decoded` gives it by
            `spec.decode`; a station's region of interest is cut out already.
        spec: the bundle's or the run's specification.
        size: height and width of the model's input, in pixels.

    Returns:
        uint8, height x width x channels (1 gray, 3 red-green-blue), contiguous.

    Raises:
        ImageError: the crop reaches outside the frame.
    """
    cv2 = _cv2()
    if spec.crop is not None:
        reduce = spec.decode.reduce
        _check_inside(spec.crop, frame.shape[1] * reduce, frame.shape[0] * reduce)
        frame = crop_to(frame, _outward(spec.crop, reduce))
    gray = spec.colour == "gray"
    pixels = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) if gray else frame
    how = cv2.INTER_AREA if spec.interpolation == "area" else cv2.INTER_LINEAR
    height, width = size
    if spec.resize == "letterbox":
        pixels = _letterbox(cv2, pixels, height, width, how)
    elif pixels.shape[:2] != (height, width):
        pixels = cv2.resize(pixels, (width, height), interpolation=how)
    if not gray:
        # Channels are resized one by one, so that these are the same bits; but there are fewer now.
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    tensor: npt.NDArray[np.uint8] = pixels.reshape(height, width, spec.channels)
    return tensor


def _letterbox(
    cv2: ModuleType, pixels: npt.NDArray[np.uint8], height: int, width: int, how: int
) -> npt.NDArray[np.uint8]:
    """Resize so that all of it fits, centred, the aspect kept, the rest filled with PAD."""
    inner_h, inner_w = _inner((pixels.shape[0], pixels.shape[1]), (height, width))
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


def _inner(picture: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Height and width that a picture has inside `size`, its aspect kept."""
    factor = min(size[0] / picture[0], size[1] / picture[1])
    height, width = (max(1, round(side * factor)) for side in picture)
    return min(size[0], height), min(size[1], width)
