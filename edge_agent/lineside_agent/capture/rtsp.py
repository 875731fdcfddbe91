"""`rtsp://...`: a network camera, read through OpenCV and FFmpeg.

No capture time comes with its frames: they are stamped when they were read, and the camera's
`max_delay_ms` says how much later than their capture that may be.
"""

from __future__ import annotations

import socket
import time
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import numpy as np
from typing_extensions import override

from lineside.errors import CameraError
from lineside.image import Frame
from lineside.logins import hide_login
from lineside_agent.capture.backend import Backend, Grab, Room
from lineside_agent.capture.wire import Order
from lineside_agent.sources.opencv import open_capture

REACH_S: Final = 2.0
"""Seconds to wait for the camera to accept a connection."""


class Rtsp(Backend):
    """A network camera that speaks RTSP."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self._name = f"camera {order.camera!r}"
        self._capture: Any = None  # cv2 has no types
        self._shape = (480, 640)

    @override
    def open(self) -> None:
        url, shown = self._address()
        self._reach(url, shown)
        capture = open_capture(f"rtsp:{self.order.where}", "FFMPEG", ("OPEN", "READ"))
        if capture is None:
            msg = (
                f"{self._name}: {shown} answers and gives no picture; "
                "check the path, the name and the password"
            )
            raise CameraError(msg)
        self._capture = capture

    @override
    def grab(self) -> Grab:
        if not self._capture.grab():
            raise self._stopped()
        return Grab(time.monotonic_ns(), "read")

    @override
    def fill(self, room: Room) -> Frame:
        place = room(*self._shape)
        there, frame = self._capture.retrieve(place)
        if not there:
            raise self._stopped()
        if not np.shares_memory(frame, place):  # of another size than the one before
            self._shape = frame.shape[:2]
            place = room(*self._shape)
            place[...] = frame
        return place

    @override
    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _address(self) -> tuple[SplitResult, str]:
        """The URL, and how it may be shown: without its name and password."""
        shown = hide_login(f"rtsp:{self.order.where}")
        try:
            url = urlsplit(f"rtsp:{self.order.where}")
            usable = bool(url.hostname) and url.port != 0
        except ValueError:  # a port or brackets that are none
            url, usable = urlsplit(""), False
        if not usable:
            msg = f"{self._name}: rtsp://HOST[:PORT]/PATH is expected, got {shown}"
            raise CameraError(msg)
        return url, shown

    def _reach(self, url: SplitResult, shown: str) -> None:
        """Connect, since FFmpeg does not say what is wrong."""
        try:
            socket.create_connection((url.hostname or "", url.port or 554), REACH_S).close()
        except socket.gaierror as error:
            msg = f"{self._name}: the host of {shown} can't be resolved"
            raise CameraError(msg) from error
        except OSError as error:
            why = "no answer" if isinstance(error, TimeoutError) else "nothing listens there"
            msg = f"{self._name}: no camera at {shown}: {why}"
            raise CameraError(msg) from error

    def _stopped(self) -> CameraError:
        return CameraError(f"{self._name} stopped giving frames")
