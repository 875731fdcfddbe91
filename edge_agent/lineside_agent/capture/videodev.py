"""Video4Linux2, as far as a camera needs it: the numbers and layouts of linux/videodev2.h.

Written from the kernel's header and its documentation for 64-bit little-endian systems, the only
ones that lineside runs on; a test compares it with the header. (`linuxpy`, the library that exists,
is under the GPL 3, which lineside's licence can't take in.)
"""

from __future__ import annotations

import fcntl
import mmap
import os
import select
import struct
from dataclasses import dataclass
from typing import Final, Protocol

from typing_extensions import override

CAPTURE: Final = 1  # V4L2_BUF_TYPE_VIDEO_CAPTURE
MMAP: Final = 1  # V4L2_MEMORY_MMAP

QUERYCAP: Final = 0x80685600
ENUM_FMT: Final = 0xC0405602
G_FMT: Final = 0xC0D05604
S_FMT: Final = 0xC0D05605
REQBUFS: Final = 0xC0145608
QUERYBUF: Final = 0xC0585609
QBUF: Final = 0xC058560F
DQBUF: Final = 0xC0585611
STREAMON: Final = 0x40045612
G_PARM: Final = 0xC0CC5615
S_PARM: Final = 0xC0CC5616
G_CTRL: Final = 0xC008561B
S_CTRL: Final = 0xC008561C
QUERYCTRL: Final = 0xC0445624

CAP_VIDEO_CAPTURE: Final = 0x1
CAP_STREAMING: Final = 0x04000000
CAP_DEVICE_CAPS: Final = 0x80000000

FLAG_ERROR: Final = 0x40
TIMESTAMP_MASK: Final = 0xE000
TIMESTAMP_MONOTONIC: Final = 0x2000
SOURCE_MASK: Final = 0x70000
SOURCE_START: Final = 0x10000
"""The stamp is that of the exposure's start, not of the frame's end."""

MJPEG: Final = 0x47504A4D
JPEG: Final = 0x4745504A
YUYV: Final = 0x56595559

EXPOSURE_AUTO: Final = 0x9A0901
EXPOSURE_MANUAL: Final = 1
EXPOSURE_ABSOLUTE: Final = 0x9A0902
"""In units of 100 microseconds."""
EXPOSURE_AUTO_PRIORITY: Final = 0x9A0903
AUTOGAIN: Final = 0x980912
GAIN: Final = 0x980913
AUTO_WHITE_BALANCE: Final = 0x98090C
WHITE_BALANCE_TEMPERATURE: Final = 0x98091A
"""In kelvin."""

CONTROL_DISABLED: Final = 0x1

_CAPABILITY: Final = struct.Struct("<16s32s32sIII12x")
_FMTDESC: Final = struct.Struct("<III32sI16x")
_FORMAT: Final = struct.Struct("<I4xIIIIII176x")  # type; width, height, fourcc, field, line, size
_REQBUFS: Final = struct.Struct("<IIIII")
_BUFFER: Final = struct.Struct("<IIIIIxxxxqq16xIIQIIII")
_PARM: Final = struct.Struct("<IIIII184x")  # type; capability, mode, numerator, denominator
_CONTROL: Final = struct.Struct("<Ii")
_QUERYCTRL: Final = struct.Struct("<II32siiiiI8x")
_INT: Final = struct.Struct("<i")


class Driver(Protocol):
    """A V4L2 device, or what behaves like one."""

    def ioctl(self, request: int, argument: bytearray) -> None:
        """Do what `request` says, with `argument` in and out. OSError if that fails."""

    def map(self, length: int, offset: int) -> memoryview:
        """The memory of a buffer."""

    def wait(self) -> None:
        """Until there is a buffer to dequeue, or an error."""

    def close(self) -> None:
        """Let go of it, and of its buffers."""


class DeviceFile(Driver):
    """A device of this machine. This is all of it that needs hardware to be tried.

    Args:
        path: such as `/dev/video0`.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN)

    @override
    def ioctl(self, request: int, argument: bytearray) -> None:
        fcntl.ioctl(self._file, request, argument, True)  # noqa: FBT003 - mutate_flag has no name

    @override
    def map(self, length: int, offset: int) -> memoryview:
        return memoryview(mmap.mmap(self._file, length, offset=offset))

    @override
    def wait(self) -> None:
        self._poll.poll()

    @override
    def close(self) -> None:
        os.close(self._file)


@dataclass(frozen=True, slots=True)
class Buffer:
    """A buffer that the driver has filled.

    Attributes:
        index: of the buffer.
        used: bytes in it.
        flags: see FLAG_ERROR, TIMESTAMP_MASK and SOURCE_MASK.
        stamp_ns: the driver's time stamp, in ns of the clock that the flags name.
        sequence: the driver's number of the frame.
    """

    index: int
    used: int
    flags: int
    stamp_ns: int
    sequence: int


def capabilities(driver: Driver) -> int:
    """What the device can do: CAP_…."""
    argument = bytearray(_CAPABILITY.size)
    driver.ioctl(QUERYCAP, argument)
    *_, of_driver, of_device = _CAPABILITY.unpack(argument)
    return int(of_device if of_driver & CAP_DEVICE_CAPS else of_driver)


def formats(driver: Driver) -> list[int]:
    """The pixel formats that it has."""
    found: list[int] = []
    while len(found) < 128:
        argument = bytearray(_FMTDESC.pack(len(found), CAPTURE, 0, b"", 0))
        try:
            driver.ioctl(ENUM_FMT, argument)
        except OSError:
            break
        found.append(_FMTDESC.unpack(argument)[4])
    return found


def set_format(driver: Driver, pixel_format: int) -> tuple[int, int, int, int]:
    """Ask for a pixel format in the size that is set; what it does then.

    Returns:
        Width and height in pixels, pixel format, bytes from one line to the next.
    """
    argument = bytearray(_FORMAT.pack(CAPTURE, 0, 0, 0, 0, 0, 0))
    driver.ioctl(G_FMT, argument)
    kind, width, height, _, field, _, _ = _FORMAT.unpack(argument)
    argument[:] = _FORMAT.pack(kind, width, height, pixel_format, field, 0, 0)
    driver.ioctl(S_FMT, argument)
    _, width, height, pixel_format, _, line, _ = _FORMAT.unpack(argument)
    return width, height, pixel_format, line


def frame_period_ns(driver: Driver, rate: float = 0.0) -> int:
    """The time from one frame to the next, after asking for `rate` frames a second; 0: not known.

    Args:
        driver: the device.
        rate: 0 asks for nothing.
    """
    argument = bytearray(_PARM.pack(CAPTURE, 0, 0, 0, 0))
    try:
        driver.ioctl(G_PARM, argument)
        if rate:
            kind, capability, mode, _, _ = _PARM.unpack(argument)
            argument[:] = _PARM.pack(kind, capability, mode, 1000, round(rate * 1000))
            driver.ioctl(S_PARM, argument)
    except OSError:
        return 0
    _, _, _, numerator, denominator = _PARM.unpack(argument)
    return round(1e9 * numerator / denominator) if denominator else 0


def map_buffers(driver: Driver, count: int) -> list[memoryview]:
    """Ask for buffers and map them; it may give more or fewer."""
    argument = bytearray(_REQBUFS.pack(count, CAPTURE, MMAP, 0, 0))
    driver.ioctl(REQBUFS, argument)
    maps = []
    for index in range(_REQBUFS.unpack(argument)[0]):
        argument = _buffer(index)
        driver.ioctl(QUERYBUF, argument)
        *_, offset, length, _, _, _ = _BUFFER.unpack(argument)
        maps.append(driver.map(length, offset & 0xFFFFFFFF))
    return maps


def enqueue(driver: Driver, index: int) -> None:
    """Hand a buffer to the driver, to be filled."""
    driver.ioctl(QBUF, _buffer(index))


def dequeue(driver: Driver) -> Buffer | None:
    """A buffer that is filled; None if there is none yet."""
    argument = _buffer(0)
    try:
        driver.ioctl(DQBUF, argument)
    except BlockingIOError:
        return None
    index, _, used, flags, _, seconds, micros, sequence, *_ = _BUFFER.unpack(argument)
    return Buffer(index, used, flags, seconds * 10**9 + micros * 1000, sequence)


def stream_on(driver: Driver) -> None:
    """Begin to fill buffers; it ends when the device is closed."""
    driver.ioctl(STREAMON, bytearray(_INT.pack(CAPTURE)))


def control_range(driver: Driver, control: int) -> tuple[int, int] | None:
    """The least and the greatest value of a control; None if the device does not have it."""
    argument = bytearray(_QUERYCTRL.pack(control, 0, b"", 0, 0, 0, 0, 0))
    try:
        driver.ioctl(QUERYCTRL, argument)
    except OSError:
        return None
    _, _, _, least, greatest, _, _, flags = _QUERYCTRL.unpack(argument)
    return None if flags & CONTROL_DISABLED else (least, greatest)


def get_control(driver: Driver, control: int) -> int:
    """The value that a control has."""
    argument = bytearray(_CONTROL.pack(control, 0))
    driver.ioctl(G_CTRL, argument)
    value: int = _CONTROL.unpack(argument)[1]
    return value


def set_control(driver: Driver, control: int, value: int) -> None:
    """Set a control."""
    driver.ioctl(S_CTRL, bytearray(_CONTROL.pack(control, value)))


def _buffer(index: int) -> bytearray:
    return bytearray(_BUFFER.pack(index, CAPTURE, 0, 0, 0, 0, 0, 0, MMAP, 0, 0, 0, 0, 0))
