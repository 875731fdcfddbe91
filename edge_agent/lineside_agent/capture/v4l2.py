"""`v4l2:/dev/video0`: a camera of this machine, such as one on USB, without OpenCV in between.

So that its frames keep what OpenCV drops: the driver's time stamp, its frame number and its error
flag; and so that a damaged JPEG is refused instead of mended. MJPEG is taken where the camera has
it, YUYV otherwise, in the size that is set (`v4l2-ctl --set-fmt-video`).
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from typing_extensions import override

from lineside.errors import CameraError, ImageError
from lineside.extras import require
from lineside.image import Frame
from lineside.jpeg import decode_strict, jpeg_size
from lineside_agent.capture import videodev
from lineside_agent.capture.backend import Backend, Grab, Room
from lineside_agent.capture.videodev import Buffer, Driver
from lineside_agent.capture.wire import Order

BUFFERS: Final = 4
"""Buffers that the driver fills in turn."""

JPEGS: Final = (videodev.MJPEG, videodev.JPEG)

CONTROLS: Final = {
    # key of `[camera.controls]` -> control, how much of our unit is one of its, and what has to be
    # switched to which value first so that the camera leaves it alone
    "exposure_us": (
        videodev.EXPOSURE_ABSOLUTE,
        100.0,
        (
            (videodev.EXPOSURE_AUTO, videodev.EXPOSURE_MANUAL),
            (videodev.EXPOSURE_AUTO_PRIORITY, 0),
        ),
    ),
    "gain": (videodev.GAIN, 1.0, ((videodev.AUTOGAIN, 0),)),
    "white_balance_k": (
        videodev.WHITE_BALANCE_TEMPERATURE,
        1.0,
        ((videodev.AUTO_WHITE_BALANCE, 0),),
    ),
}


class V4l2(Backend):
    """A Video4Linux2 device. `where` is its path.

    Args:
        order: which camera, and what to set.
        connect: opens the device.
    """

    def __init__(
        self, order: Order, connect: Callable[[str], Driver] = videodev.DeviceFile
    ) -> None:
        super().__init__(order)
        self._name = f"camera {order.camera!r}"
        self._connect = connect
        self._driver: Driver | None = None
        self._buffers: list[memoryview] = []
        self._held: Buffer | None = None

    @override
    def open(self) -> None:
        path = Path(self.order.where)
        if not path.exists():
            there = sorted(str(path) for path in Path("/dev").glob("video*"))
            others = f"there is {', '.join(there)}" if there else "there is no /dev/video*"
            msg = f"{self._name}: no device {path}; {others}: is it plugged in?"
            raise CameraError(msg)
        if not os.access(path, os.R_OK | os.W_OK):
            msg = f"{self._name}: {path} may not be used: add the user to group video"
            raise CameraError(msg)
        try:
            self._driver = self._connect(str(path))
            self._set_up(self._driver)
        except OSError as error:
            if isinstance(error, CameraError):
                raise
            raise self._failed(error) from error

    def _set_up(self, driver: Driver) -> None:
        """Choose a format, set the controls, and let the frames come."""
        can = videodev.capabilities(driver)
        if not (can & videodev.CAP_VIDEO_CAPTURE and can & videodev.CAP_STREAMING):
            msg = f"{self._name}: {self.order.where} gives no video; try another /dev/video*"
            raise CameraError(msg)
        has = videodev.formats(driver)
        wanted = next((one for one in (*JPEGS, videodev.YUYV) if one in has), None)
        if wanted is None:
            names = ", ".join(_name_of(one) for one in has) or "none"
            msg = f"{self._name}: MJPG, JPEG or YUYV is expected, {self.order.where} has {names}"
            raise CameraError(msg)
        self._width, self._height, self._format, self._line = videodev.set_format(driver, wanted)
        if self._format != wanted:
            msg = f"{self._name}: asked for {_name_of(wanted)}, got {_name_of(self._format)}"
            raise CameraError(msg)
        self._period_ns = videodev.frame_period_ns(driver, self.order.rate)
        self.controls = {
            key: value for key in CONTROLS if (value := self._control(driver, key)) is not None
        }
        self._buffers = videodev.map_buffers(driver, BUFFERS)
        for index in range(len(self._buffers)):
            videodev.enqueue(driver, index)
        videodev.stream_on(driver)

    def _control(self, driver: Driver, key: str) -> float | None:
        """Set and lock a control where it is asked for; what it is then, None if there is none."""
        control, unit, locks = CONTROLS[key]
        wanted = self.order.controls.get(key)
        bounds = videodev.control_range(driver, control)
        if wanted is None:
            return None if bounds is None else videodev.get_control(driver, control) * unit
        if bounds is None:
            msg = f"{self._name}: {self.order.where} has no control for {key}; leave it out"
            raise CameraError(msg)
        least, greatest = bounds
        if not least <= round(wanted / unit) <= greatest:
            msg = (
                f"{self._name}: {key} = {wanted:g}, this camera takes {least * unit:g} "
                f"to {greatest * unit:g}"
            )
            raise CameraError(msg)
        for lock, value in locks:
            if videodev.control_range(driver, lock) is None:
                continue  # a camera without this automatic
            videodev.set_control(driver, lock, value)
            if videodev.get_control(driver, lock) != value:
                msg = f"{self._name}: {self.order.where} keeps its automatic, so {key} can't be set"
                raise CameraError(msg)
        videodev.set_control(driver, control, round(wanted / unit))
        return videodev.get_control(driver, control) * unit

    @override
    def grab(self) -> Grab:
        driver = self._opened()
        try:
            if self._held is not None:
                videodev.enqueue(driver, self._held.index)
                self._held = None
            while self._held is None:
                driver.wait()
                self._held = videodev.dequeue(driver)
            # Those that came while the last frame was decoded: only the newest is of interest.
            while (newer := videodev.dequeue(driver)) is not None:
                videodev.enqueue(driver, self._held.index)
                self._held = newer
        except OSError as error:
            raise self._failed(error) from error
        return self._grabbed(self._held)

    def _grabbed(self, buffer: Buffer) -> Grab:
        flagged = None
        if buffer.flags & videodev.FLAG_ERROR:
            flagged = "driver: the frame is marked as damaged"
        if buffer.flags & videodev.TIMESTAMP_MASK != videodev.TIMESTAMP_MONOTONIC:
            return Grab(time.monotonic_ns(), "read", buffer.sequence, flagged)
        stamp_ns = buffer.stamp_ns
        if buffer.flags & videodev.SOURCE_MASK != videodev.SOURCE_START:
            # That of the frame's end: its exposure began up to one period earlier.
            stamp_ns -= self._period_ns
        return Grab(stamp_ns, "driver", buffer.sequence, flagged)

    @override
    def fill(self, room: Room) -> Frame:
        held = self._held
        if held is None:
            msg = "no frame was grabbed"
            raise ImageError(msg)
        data = self._buffers[held.index][: held.used]
        if self._format in JPEGS:
            picture = decode_strict(data, room=room, reduce=self.reduce)
            self.whole = None if self.reduce == 1 else jpeg_size(data)
            return picture
        expected = self._height * self._line
        if held.used != expected:
            msg = f"frame: {expected} bytes are expected, the driver gave {held.used}"
            raise ImageError(msg)
        cv2 = require("cv2", extra="runtime")
        lines = np.frombuffer(data, np.uint8).reshape(self._height, self._line)
        pixels = lines[:, : 2 * self._width].reshape(self._height, self._width, 2)
        place = room(self._height, self._width)
        cv2.cvtColor(pixels, cv2.COLOR_YUV2BGR_YUYV, dst=place)
        return place

    @override
    def close(self) -> None:
        driver, self._driver, self._held, self._buffers = self._driver, None, None, []
        if driver is not None:
            driver.close()

    def _opened(self) -> Driver:
        if self._driver is None:
            msg = f"{self._name} is not open"
            raise CameraError(msg)
        return self._driver

    def _failed(self, error: OSError) -> CameraError:
        why = {
            errno.ENODEV: "was unplugged",
            errno.EBUSY: "is used by another program",
            errno.ENOTTY: "is no camera",
        }.get(error.errno or 0, f"failed: {error.strerror or error}")
        return CameraError(f"{self._name}: {self.order.where} {why}")


def _name_of(pixel_format: int) -> str:
    return pixel_format.to_bytes(4, "little").decode("ascii", "replace")
