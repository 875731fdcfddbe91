"""`file:VIDEO`: every frame of a video file, in order."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from lineside.errors import CameraError
from lineside_agent.sources.base import EndOfSourceError, Shot, Source
from lineside_agent.sources.opencv import open_capture


class VideoSource(Source):
    """Every frame of a video. The part's id is the file's name and the frame's number, from 1."""

    finite: ClassVar[bool] = True

    @override
    def _open(self) -> None:
        self._file = Path(self.where)
        self._count = 0
        if not self._file.is_file():
            msg = f"camera {self.name!r}: no file {self._file}"
            raise CameraError(msg)
        self._capture = open_capture(str(self._file), "FFMPEG")
        if self._capture is None:
            msg = f"camera {self.name!r}: {self._file} is no video that can be read"
            raise CameraError(msg)

    @override
    def _take(self, timeout_s: float) -> Shot | None:
        if self._capture is None:
            raise EndOfSourceError
        now = Shot.now(None)
        there, frame = self._capture.read()
        if not there:
            if not self._count:
                msg = f"camera {self.name!r}: {self._file} holds no picture"
                raise CameraError(msg)
            raise EndOfSourceError
        self._count += 1
        part_id = f"{self._file.name}#{self._count}"
        return Shot(frame, now.mono_ns, now.captured_at, part_id)

    @override
    def _close(self) -> None:
        capture = getattr(self, "_capture", None)
        if capture is not None:
            capture.release()
        self._capture = None
