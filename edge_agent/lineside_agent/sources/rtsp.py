"""`rtsp://…`: a network camera."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import override

from lineside.errors import CameraError
from lineside_agent.sources.live import LiveSource
from lineside_agent.sources.opencv import OPEN_S, open_capture


class RtspSource(LiveSource):
    """A network camera that speaks RTSP. `where` is the URL without its scheme."""

    @property
    def address(self) -> str:
        """The URL as it may be shown: without a name and a password."""
        return f"rtsp:{self.where.replace(self._user, '')}"

    @property
    def _user(self) -> str:
        user, at, _ = urlsplit(f"rtsp:{self.where}").netloc.rpartition("@")
        return user + at

    @override
    def _connect(self) -> Any:
        url = urlsplit(f"rtsp:{self.where}")
        try:
            port = url.port or 554
        except ValueError:
            port = -1
        if not url.hostname or port < 0:
            msg = f"camera {self.name!r}: rtsp://HOST[:PORT]/PATH is expected, got {self.address}"
            raise CameraError(msg)
        # FFmpeg does not say what is wrong, a plain connection does.
        try:
            socket.create_connection((url.hostname, port), OPEN_S).close()
        except socket.gaierror as error:
            msg = f"camera {self.name!r}: the host of {self.address} can't be resolved"
            raise CameraError(msg) from error
        except OSError as error:
            why = "no answer" if isinstance(error, TimeoutError) else "nothing listens there"
            msg = f"camera {self.name!r}: no camera at {self.address}: {why}"
            raise CameraError(msg) from error
        capture = open_capture(f"rtsp:{self.where}", "FFMPEG", ("OPEN", "READ"))
        if capture is None:
            msg = (
                f"camera {self.name!r}: {self.address} answers and gives no picture; "
                "check the path, the name and the password"
            )
            raise CameraError(msg)
        return capture
