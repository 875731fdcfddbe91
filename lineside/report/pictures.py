"""Small pictures that are part of the page."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lineside.errors import LinesideError
from lineside.extras import require
from lineside.image import Frame

SIDE: Final = 160
"""The longer side of a thumbnail, in pixels."""

JPEG_QUALITY: Final = 80


@dataclass(frozen=True)
class Thumbnail:
    """A picture for an `img` element.

    Attributes:
        src: a data URI.
        width: in pixels.
        height: in pixels.
    """

    src: str
    width: int
    height: int


def thumbnail(load_frame: Callable[[str], Frame], file: str) -> Thumbnail | None:
    """The picture of a file as a JPEG of at most `SIDE` x `SIDE` pixels.

    Args:
        load_frame: gives the picture.
        file: its name, as `load_frame` takes it.

    Returns:
        None where the picture can't be had any more: it was moved, say.
    """
    try:
        return picture(load_frame(file))
    except (LinesideError, OSError):
        return None


def picture(frame: Frame, side: int = SIDE) -> Thumbnail:
    """A picture as a JPEG of at most `side` x `side` pixels.

    Args:
        frame: uint8, height x width x 3, BGR.
        side: in pixels.
    """
    cv2 = require("cv2", extra="runtime")
    height, width = frame.shape[:2]
    factor = min(1.0, side / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA) if factor < 1.0 else frame
    _, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    text = base64.b64encode(jpeg.tobytes()).decode("ascii")
    return Thumbnail(f"data:image/jpeg;base64,{text}", *size)
