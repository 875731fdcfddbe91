"""The op `snapshot`: the newest frame of a stream as a small JPEG, in the answer."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from lineside.errors import EngineError, LinesideError
from lineside.extras import require
from lineside.image import Frame
from lineside_agent.commands.ops import StreamArgs
from lineside_agent.commands.request import Reply, Request

log = logging.getLogger(__name__)

LONG_SIDE: Final = 640
"""Pixels of the longer side at most."""

MAX_JPEG_BYTES: Final = 64 * 1024
"""A picture longer than this is made smaller: some brokers take messages of 128 KiB at most."""

_QUALITIES: Final = (80, 60, 40, 20, 10)


class Snapshots:
    """Makes snapshots, on a thread of its own, since scaling and encoding take milliseconds.

    Args:
        newest: gives the newest frame of a stream, uint8, height x width x 3, BGR, as a copy that
            nobody else writes to, or None if there is none. It may wait for a second or two, and
            raises InputError for an unknown stream.
    """

    def __init__(self, newest: Callable[[str], Frame | None]) -> None:
        self._newest = newest
        self._pool = ThreadPoolExecutor(1, "snapshot")

    def __call__(self, request: Request, reply: Reply) -> None:
        """The op.

        Raises:
            MessageError: the arguments are refused.
        """
        args = request.read(StreamArgs)
        reply.wait()
        try:
            self._pool.submit(self._make, args.stream, reply)
        except RuntimeError:  # stopped
            reply.refuse("the station stops")

    def stop(self) -> None:
        """Make no more of them."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _make(self, stream: str, reply: Reply) -> None:
        if not reply.begin():
            return
        try:
            frame = self._newest(stream)
            if frame is None:
                reply.refuse(f"stream {stream!r} has no frame just now: see the camera's health")
                return
            jpeg, width, height = shrink(frame)
        except LinesideError as error:
            reply.refuse(str(error))
        except Exception as error:
            log.exception("a snapshot failed")
            reply.refuse(f"the station failed to do it ({type(error).__name__}): see its log")
        else:
            text = base64.b64encode(jpeg).decode("ascii")
            reply.ok(stream=stream, width=width, height=height, jpeg=text)


def shrink(frame: Frame) -> tuple[bytes, int, int]:
    """A small JPEG of a frame: LONG_SIDE and MAX_JPEG_BYTES at most.

    Args:
        frame: uint8, height x width x 3, BGR.

    Returns:
        The JPEG, its width and its height.

    Raises:
        EngineError: it can't be made small enough.
    """
    cv2 = require("cv2", extra="runtime")
    height, width = frame.shape[:2]
    scale = min(1.0, LONG_SIDE / max(height, width))
    if scale < 1.0:
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    for quality in _QUALITIES:
        made, jpeg = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if made and jpeg.size <= MAX_JPEG_BYTES:
            return jpeg.tobytes(), width, height
    msg = f"a JPEG of {width} x {height} pixels has more than {MAX_JPEG_BYTES} bytes"
    raise EngineError(msg)
