"""A Video4Linux2 device in memory, for the part of the backend that can be run without hardware.

It takes and gives the kernel's structures, byte by byte as linux/videodev2.h lays them out: written
with ctypes from that header, so that it shares nothing with what it is used to test.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import time
from collections import deque
from ctypes import Structure, c_int32, c_int64, c_uint8, c_uint32, c_uint64
from typing import Any

from typing_extensions import override

from lineside_agent.capture.videodev import Driver

Fields = Any
"""A structure of the kernel: ctypes gives its members to no type checker."""

ERROR, MONOTONIC, START = 0x40, 0x2000, 0x10000


def _layout(name: str, *fields: tuple[str, Any]) -> type[Any]:
    return type(name, (Structure,), {"_fields_": fields})


Capability = _layout(
    "Capability",
    ("driver", c_uint8 * 16),
    ("card", c_uint8 * 32),
    ("bus_info", c_uint8 * 32),
    ("version", c_uint32),
    ("capabilities", c_uint32),
    ("device_caps", c_uint32),
    ("reserved", c_uint32 * 3),
)
Description = _layout(
    "Description",
    ("index", c_uint32),
    ("type", c_uint32),
    ("flags", c_uint32),
    ("description", c_uint8 * 32),
    ("pixelformat", c_uint32),
    ("mbus_code", c_uint32),
    ("reserved", c_uint32 * 3),
)
Format = _layout(
    "Format",
    ("type", c_uint32),
    ("padding", c_uint32),
    ("width", c_uint32),
    ("height", c_uint32),
    ("pixelformat", c_uint32),
    ("field", c_uint32),
    ("bytesperline", c_uint32),
    ("sizeimage", c_uint32),
    ("rest", c_uint8 * 176),
)
Request = _layout("Request", ("count", c_uint32), ("type", c_uint32), ("rest", c_uint32 * 3))
Buffer = _layout(
    "Buffer",
    ("index", c_uint32),
    ("type", c_uint32),
    ("bytesused", c_uint32),
    ("flags", c_uint32),
    ("field", c_uint32),
    ("seconds", c_int64),
    ("micros", c_int64),
    ("timecode", c_uint8 * 16),
    ("sequence", c_uint32),
    ("memory", c_uint32),
    ("offset", c_uint64),
    ("length", c_uint32),
    ("reserved", c_uint32 * 2),
)
Parameters = _layout(
    "Parameters",
    ("type", c_uint32),
    ("capability", c_uint32),
    ("mode", c_uint32),
    ("numerator", c_uint32),
    ("denominator", c_uint32),
    ("rest", c_uint8 * 184),
)
Control = _layout("Control", ("id", c_uint32), ("value", c_int32))
Query = _layout(
    "Query",
    ("id", c_uint32),
    ("type", c_uint32),
    ("name", c_uint8 * 32),
    ("minimum", c_int32),
    ("maximum", c_int32),
    ("step", c_int32),
    ("default", c_int32),
    ("flags", c_uint32),
    ("reserved", c_uint32 * 2),
)

LAYOUTS = {  # number of the ioctl -> its structure
    0: Capability,
    2: Description,
    4: Format,
    5: Format,
    8: Request,
    9: Buffer,
    15: Buffer,
    17: Buffer,
    18: c_int32,
    19: c_int32,
    21: Parameters,
    22: Parameters,
    27: Control,
    28: Control,
    36: Query,
}


class Camera(Driver):
    """A camera whose frames are what `shoot` gives it.

    Args:
        width: of its frames, in pixels.
        height: of its frames, in pixels.
        formats: the pixel formats that it has, such as b"MJPG".
        controls: id -> least, greatest and present value.
        stubborn: controls that take no other value.
        capabilities: of the device.
    """

    def __init__(
        self,
        width: int,
        height: int,
        *,
        formats: tuple[bytes, ...] = (b"MJPG", b"YUYV"),
        controls: dict[int, tuple[int, int, int]] | None = None,
        stubborn: tuple[int, ...] = (),
        capabilities: int = 0x04000001,
    ) -> None:
        self.size = (width, height)
        self.formats = [int.from_bytes(name, "little") for name in formats]
        self.controls = {} if controls is None else controls
        self.stubborn = stubborn
        self.capabilities = capabilities
        self.chosen = 0
        self.period = (1, 30)
        self.streaming = False
        self.unplugged = False
        self.closed = False
        self._buffers: list[bytearray] = []
        self._idle: deque[int] = deque()
        self._full: deque[tuple[int, int, int, int]] = deque()  # index, used, flags, ns
        self._numbers = itertools.count(7)

    @property
    def idle(self) -> int:
        """Buffers that the camera may fill."""
        return len(self._idle)

    def shoot(self, data: bytes, *, flags: int = MONOTONIC | START, ns: int | None = None) -> int:
        """Fill a buffer; gives the time stamp."""
        assert self.streaming
        index = self._idle.popleft()
        self._buffers[index][: len(data)] = data
        stamp = time.monotonic_ns() // 1000 * 1000 if ns is None else ns
        self._full.append((index, len(data), flags, stamp))
        return stamp

    @override
    def ioctl(self, request: int, argument: bytearray) -> None:
        number, size = request & 0xFF, request >> 16 & 0x3FFF
        layout = LAYOUTS[number]
        assert size == ctypes.sizeof(layout) == len(argument)
        if self.unplugged:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        getattr(self, f"_do_{number}")(layout.from_buffer(argument))

    @override
    def map(self, length: int, offset: int) -> memoryview:
        assert length == len(self._buffers[offset // 4096])
        return memoryview(self._buffers[offset // 4096])

    @override
    def wait(self) -> None:
        assert self._full or self.unplugged, "it would wait for ever"

    @override
    def close(self) -> None:
        self.closed = True

    def _do_0(self, it: Fields) -> None:
        it.capabilities, it.device_caps = 0x80000000 | 0xFF, self.capabilities

    def _do_2(self, it: Fields) -> None:
        if it.index >= len(self.formats):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        it.pixelformat = self.formats[it.index]

    def _do_4(self, it: Fields) -> None:
        it.width, it.height = self.size
        it.pixelformat, it.bytesperline = self.chosen, 2 * self.size[0] + 32

    def _do_5(self, it: Fields) -> None:
        assert (it.width, it.height) == self.size
        self.chosen = it.pixelformat
        self._do_4(it)

    def _do_8(self, it: Fields) -> None:
        assert (it.type, it.rest[0]) == (1, 1)
        it.count = min(it.count, 3)  # it gives fewer than it is asked for
        self._buffers = [bytearray(2**20) for _ in range(it.count)]

    def _do_9(self, it: Fields) -> None:
        it.length, it.offset = len(self._buffers[it.index]), 4096 * it.index

    def _do_15(self, it: Fields) -> None:
        assert it.index not in self._idle
        assert it.memory == 1
        self._idle.append(it.index)

    def _do_17(self, it: Fields) -> None:
        if not self._full:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        it.index, it.bytesused, it.flags, stamp = self._full.popleft()
        it.seconds, it.micros = stamp // 10**9, stamp % 10**9 // 1000
        it.sequence = next(self._numbers)

    def _do_18(self, _it: Fields) -> None:
        self.streaming = True

    def _do_21(self, it: Fields) -> None:
        it.numerator, it.denominator = self.period

    def _do_22(self, it: Fields) -> None:
        self.period = (it.numerator, it.denominator)

    def _control(self, number: int) -> tuple[int, int, int]:
        if number not in self.controls:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return self.controls[number]

    def _do_27(self, it: Fields) -> None:
        it.value = self._control(it.id)[2]

    def _do_28(self, it: Fields) -> None:
        least, greatest, _ = self._control(it.id)
        if it.id not in self.stubborn:
            self.controls[it.id] = (least, greatest, it.value)

    def _do_36(self, it: Fields) -> None:
        it.minimum, it.maximum, _ = self._control(it.id)
