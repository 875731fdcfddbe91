"""Pictures as files of every kind that a folder of photos may hold."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

ORIENTATION = 0x0112  # the EXIF tag


def colourful(height: int = 60, width: int = 80, seed: int = 0) -> npt.NDArray[np.uint8]:
    """A smooth picture in colour that no symmetry leaves as it is: uint8, h x w x 3, RGB."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    phase = random.uniform(0, 6, 3)
    waves = [np.sin(x / (9 + k) + y / (14 - k) + phase[k]) for k in range(3)]
    return np.clip(128 + 60 * np.stack(waves, -1) + x[..., None] / 2, 0, 255).astype(np.uint8)


def encoded(
    pixels: npt.NDArray[np.uint8],
    kind: str,
    *,
    mode: str = "RGB",
    turned: int = 1,
    **options: Any,  # noqa: ANN401 - as Pillow has it
) -> bytes:
    """The bytes of an image file.

    Args:
        pixels: uint8, h x w x 3, RGB.
        kind: PNG, JPEG, WEBP, BMP or TIFF.
        mode: of Pillow, such as CMYK or RGBA.
        turned: the EXIF orientation, 1 to 8.
        options: of Pillow's writer.
    """
    from PIL import Image  # not on a device

    image = Image.fromarray(pixels).convert(mode)
    if mode in {"RGBA", "LA"}:
        image.putalpha(40)
    if turned != 1:
        exif = Image.Exif()
        exif[ORIENTATION] = turned
        options["exif"] = exif
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def photo(
    pixels: npt.NDArray[np.uint8], kind: str = "JPEG", *, turned: int = 1, chroma: int = 420
) -> bytes:
    """The bytes of a photo, written by what a device has, too: OpenCV.

    Args:
        pixels: uint8, h x w x 3, RGB.
        kind: JPEG or PNG.
        turned: the EXIF orientation of a JPEG, 1 to 8.
        chroma: the sampling of a JPEG's colours, 420 or 444.
    """
    import cv2

    sampling = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{chroma}")
    options = {"JPEG": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling], "PNG": []}[kind]
    written, data = cv2.imencode(f".{kind.lower()}", pixels[..., ::-1], options)
    assert written
    if turned == 1:
        return bytes(data)
    # One entry of one directory, in the byte order of Intel: tag, type SHORT, count, value.
    tiff = b"II*\0" + struct.pack("<IHHHIII", 8, 1, ORIENTATION, 3, 1, turned, 0)
    exif = b"Exif\0\0" + tiff
    start = b"\xff\xd8"
    return start + b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif + bytes(data[len(start) :])


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims any size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
