"""What the sources share that read through OpenCV."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

from lineside.errors import CameraError
from lineside.extras import require

OPEN_S: Final = 5.0
"""Seconds that a camera may take to be opened."""

READ_S: Final = 3.0
"""Seconds that a camera may take to give a frame."""


def quiet_cv2() -> ModuleType:
    """OpenCV, told to leave the talking to us: our lines say what is wrong."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(round(READ_S)))
    cv2 = require("cv2", extra="runtime")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def open_capture(where: str, backend: str, options: Sequence[str] = ()) -> Any | None:  # noqa: ANN401 - cv2 has no types
    """A VideoCapture that is open, or None.

    Args:
        where: a device, a file or a URL.
        backend: `FFMPEG` or `V4L2`.
        options: which timeouts the backend knows: `OPEN` and `READ`.

    Raises:
        CameraError: this OpenCV was built without the backend.
    """
    cv2 = quiet_cv2()
    number = getattr(cv2, f"CAP_{backend}")
    if number not in cv2.videoio_registry.getBackends():
        msg = f"this OpenCV was built without {backend}: pip install opencv-python-headless"
        raise CameraError(msg)
    seconds = {"OPEN": OPEN_S, "READ": READ_S}
    parameters: list[int] = []
    for option in options:
        name = f"CAP_PROP_{option}_TIMEOUT_MSEC"
        parameters += [getattr(cv2, name), round(seconds[option] * 1000)]
    capture = cv2.VideoCapture(where, number, parameters)
    if capture.isOpened():
        return capture
    capture.release()
    return None
