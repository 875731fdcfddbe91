"""Whether one file can be used, and what is peculiar about it."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lineside.errors import ImageError
from lineside.extras import require
from lineside.image import MAX_PIXELS, decode

MAX_FILE_BYTES: Final = 500_000_000
"""A file larger than this is left out without being read."""

PECULIAR: Final = {  # kind -> what it is, and what is done about it
    "16-bit": ("images of more than 8 bits a channel", "they are reduced to 8"),
    "cmyk": ("CMYK images", "they are converted to RGB"),
    "alpha": ("images with transparency", "it is dropped (in a TIFF: blended on black)"),
    "exif": ("images with an EXIF rotation", "it is applied"),
}


@dataclass(frozen=True)
class Checked:
    """What one file turned out to be; `problem` says why it can't be used."""

    file: str
    sha256: str = ""
    gray: bool = False
    size: tuple[int, int] = (0, 0)
    peculiarities: frozenset[str] = frozenset()
    problem: str = ""


def check_file(root: Path, file: str) -> Checked:
    """Read one file and see whether it can be used."""
    path, name = root / file, repr(file)
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            problem = f"{name}: {size} bytes is too large, {MAX_FILE_BYTES} is the most"
            return Checked(file, problem=f"{problem}; it is left out")
        data = path.read_bytes()
        frame = decode(data, name=name)
    except OSError as error:
        return Checked(file, problem=f"{name}: can't be read ({error.strerror}); it is left out")
    except ImageError as error:
        return Checked(file, problem=f"{error}; it is left out")
    blue, green, red = frame[..., 0], frame[..., 1], frame[..., 2]
    gray = bool((blue == green).all() and (green == red).all())
    sides = (frame.shape[0], frame.shape[1])
    return Checked(file, hashlib.sha256(data).hexdigest(), gray, sides, _peculiarities(data))


def _peculiarities(data: bytes) -> frozenset[str]:
    """What the header of an image says that a person may not expect: keys of `PECULIAR`."""
    image: Any = require("PIL.Image", extra="report")
    image.MAX_IMAGE_PIXELS = MAX_PIXELS  # the decoder has refused any larger one already
    try:
        with image.open(io.BytesIO(data)) as picture:
            found = {
                # Pillow opens 16-bit RGB as RGB, only its raw mode tells.
                "16-bit": picture.mode.startswith("I") or ";16" in str(picture.tile),
                "cmyk": picture.mode == "CMYK",
                "alpha": picture.has_transparency_data,
                "exif": picture.getexif().get(0x0112, 1) != 1,  # the tag Orientation
            }
    except (OSError, ValueError, SyntaxError):
        return frozenset()  # OpenCV reads it and Pillow does not: it is usable all the same
    return frozenset(kind for kind, is_so in found.items() if is_so)
