"""JPEGs that must be whole: each picture of an MJPEG camera, decoded or refused.

OpenCV's decoder mends what is damaged and says nothing, so that a broken cable shows as a
defect of the part. Here every warning of the decoder (libjpeg-turbo, through simplejpeg's strict
mode) refuses the picture: bytes that are missing, bytes too many, a restart marker that is not
the next one, a code that no table holds.

What it can't see: a JPEG has no checksum, so a changed bit that leads to another valid code at
every place passes. `bench/corrupt_jpegs.py` counts these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lineside.errors import ImageError
from lineside.extras import require
from lineside.image import MAX_PIXELS, MIN_SIDE, Frame, Reduction

MAX_BYTES: Final = 64 * 1024 * 1024
"""A picture of more bytes than this is refused before it is looked at."""


def jpeg_size(
    data: bytes | bytearray | memoryview, *, name: str = "frame", strict: bool = True
) -> tuple[int, int]:
    """Height and width that a JPEG's header says, in pixels, before any EXIF rotation.

    Args:
        data: the bytes.
        name: what to call it in an error.
        strict: whether to refuse a header that the decoder warns of, such as one with stray bytes
            between its markers.

    Raises:
        ImageError: no JPEG, a damaged header, or a sampling of its colours that is none of the
            usual ones.
    """
    simplejpeg = require("simplejpeg", extra="agent")
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data, strict=strict)
    except ValueError as error:
        msg = f"{name}: no JPEG, or its header is damaged ({_line(error)}; {len(data)} bytes)"
        raise ImageError(msg) from error
    return int(height), int(width)


def decode_strict(
    data: bytes | bytearray | memoryview,
    *,
    name: str = "frame",
    room: Callable[[int, int], Frame] | None = None,
    reduce: Reduction = 1,
) -> Frame:
    """Decode a JPEG of which nothing is missing or damaged, as far as its bytes can tell.

    Bytes behind its end marker are not looked at: drivers pad their buffers. Huffman tables may
    be left out, as Motion JPEG does. An EXIF rotation is not applied: cameras write none.

    Args:
        data: the bytes, grey or in colour, baseline or progressive.
        name: what to call it in an error.
        room: gives the place to decode to for (height, width): uint8, height x width x 3,
            contiguous. What is in it after an error is of no use.
        reduce: what its sides are divided by, rounded up. All of its bytes are looked at all the
            same. The pixels are those of `lineside.image.decode`: libjpeg's DCT scaling, too.

    Returns:
        uint8, height x width x 3, BGR: what `room` gave, or memory of its own.

    Raises:
        ImageError: empty, no JPEG, damaged, truncated, too small or too large; or `room` said so.
    """
    simplejpeg = require("simplejpeg", extra="agent")
    if not 0 < len(data) <= MAX_BYTES:
        msg = f"{name}: expected a JPEG of 1 to {MAX_BYTES} bytes, got {len(data)} bytes"
        raise ImageError(msg)
    height, width = jpeg_size(data, name=name)
    if min(height, width) < MIN_SIDE or height * width > MAX_PIXELS:
        bounds = f"{MIN_SIDE}x{MIN_SIDE} to {MAX_PIXELS:,} pixels"
        msg = f"{name}: expected {bounds}, got {width}x{height}"
        raise ImageError(msg)
    height, width = -(-height // reduce), -(-width // reduce)
    place = None if room is None else room(height, width)
    try:
        # The smallest scale that is not below these sides, and not above 1/min_factor.
        frame: Frame = simplejpeg.decode_jpeg(
            data,
            colorspace="BGR",
            strict=True,
            buffer=place,
            min_height=height,
            min_width=width,
            min_factor=reduce,
        )
    except ValueError as error:
        msg = f"{name}: the JPEG is damaged ({_line(error)}; {len(data)} bytes)"
        raise ImageError(msg) from error
    return frame if place is None else place


def _line(error: ValueError) -> str:
    """What the decoder said, in one line."""
    return " ".join(str(error).split()) or "no reason was given"
