"""`images:FOLDER`: the image files of a folder, sorted by name, as they would come down a line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final

from typing_extensions import override

from lineside.errors import CameraError, ImageError
from lineside.image import Decode, Frame, decode, is_jpeg
from lineside.jpeg import jpeg_size
from lineside_agent.sources.base import EndOfSourceError, Shot, Source

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
"""What an image file's name ends in, in small letters; other files are not looked at."""

MAX_FILE_BYTES: Final = 256 * 1024 * 1024


class ImagesSource(Source):
    """Every image below a folder, in the order of the paths. The part's id is the path there.

    An image that can't be read is a part too: a shot with a problem, never skipped.
    """

    finite: ClassVar[bool] = True

    @override
    def _open(self) -> None:
        folder = Path(self.where)
        if not folder.is_dir():
            msg = f"camera {self.name!r}: no folder {folder}"
            raise CameraError(msg)
        found = (Path(root) / name for root, _, names in os.walk(folder) for name in names)
        files = sorted(file for file in found if file.suffix.lower() in SUFFIXES)
        if not files:
            msg = f"camera {self.name!r}: {folder} holds no image ({', '.join(sorted(SUFFIXES))})"
            raise CameraError(msg)
        self._files: Iterator[Path] = iter(files)

    @override
    def _take(self, timeout_s: float) -> Shot | None:
        file = next(self._files, None)
        if file is None:
            raise EndOfSourceError
        # A name that is no UTF-8 can't be sent as it is.
        name = os.fsencode(file.relative_to(self.where)).decode("utf-8", "replace")
        empty = Shot.now(None, part_id=name)
        try:
            data = _read(file)
            reduced = self.reduce if is_jpeg(data) else 1
            frame = decode(data, Decode(reduced), name="image")
            whole = None if reduced == 1 else _whole(data, frame, reduced)
        except (ImageError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            return Shot(None, empty.mono_ns, empty.captured_at, name, problem=f"{reason}")
        return Shot(frame, empty.mono_ns, empty.captured_at, name, reduced=reduced, whole=whole)

    @override
    def _close(self) -> None:
        self._files = iter(())


def _read(file: Path) -> bytes:
    if file.stat().st_size > MAX_FILE_BYTES:
        msg = f"larger than {MAX_FILE_BYTES} bytes"
        raise ImageError(msg)
    return file.read_bytes()


def _whole(data: bytes, frame: Frame, reduced: int) -> tuple[int, int]:
    """Height and width of the picture that a reduced frame shows, turned as its EXIF says.

    What was decoded is looked at, whatever is wrong with the header: then the sides are those of
    the frame times the reduction, less than that too long.
    """
    try:
        height, width = jpeg_size(data, name="image", strict=False)
    except ImageError:
        return frame.shape[0] * reduced, frame.shape[1] * reduced
    as_stored = (-(-height // reduced), -(-width // reduced)) == frame.shape[:2]
    return (height, width) if as_stored else (width, height)
