"""`v4l2:/dev/video0`: a camera of this machine, such as one on USB."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from typing_extensions import override

from lineside.errors import CameraError
from lineside_agent.sources.live import LiveSource
from lineside_agent.sources.opencv import open_capture


class V4l2Source(LiveSource):
    """A Video4Linux2 device. `where` is its path."""

    @override
    def _connect(self) -> Any:
        device = Path(self.where)
        if not device.exists():
            there = sorted(str(path) for path in Path("/dev").glob("video*"))
            others = f"there is {', '.join(there)}" if there else "there is no /dev/video*"
            msg = f"camera {self.name!r}: no device {device}; {others}: is it plugged in?"
            raise CameraError(msg)
        if not os.access(device, os.R_OK | os.W_OK):
            msg = f"camera {self.name!r}: {device} may not be used: add the user to group video"
            raise CameraError(msg)
        capture = open_capture(str(device), "V4L2")
        if capture is None:
            msg = f"camera {self.name!r}: {device} can't be opened; does another program use it?"
            raise CameraError(msg)
        return capture
