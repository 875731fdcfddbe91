"""`line:FOLDER`: the virtual line, a documented camera that does not exist.

It shows the pictures of a folder, one after the other and again, at the camera's `rate` (25 a
second if none is set), numbered and stamped as by a driver, each with noise of one grey level, as
no real camera gives the same picture twice. To try a station without a camera, and to see what
happens when a camera fails: it does what FOLDER/.line/control.json asks, from the next frame on
and for as long as the file says so, also in the processes that follow one that was killed.

    {"fault": "hang"}                      blocks for ever, in every process that meets it
    {"fault": "crash"}                     kills its process as a faulty driver would
    {"fault": "vanish"}                    unplugged: can't be opened, gives no more frames
    {"fault": "freeze"}                    the same picture with new numbers and stamps
    {"fault": "stall"}                     the same picture with the same number and stamp
    {"fault": "stale", "ms": 500}          the frame of so long ago, with its old number and stamp
    {"fault": "late", "ms": 500}           each frame comes so long after its capture
    {"fault": "error"}                     the driver's error flag
    {"fault": "corrupt", "bits": 8}        so many bits of the JPEG are flipped on the way
    {"fault": "black"}  "overexposed"  "blurred"  "moved"
    {"noise": false}                       no fault, and the pictures exactly as they are
    {"pictures": [300, 599]}               no fault, and of the folder's pictures only these

`ask` writes that file. Where FOLDER/.line exists, FOLDER/.line/log.jsonl says of each frame what
was done, so that the truth is known outside of the agent: {"frame": number, "fault": ...,
"file": name of the picture, "shows": the number whose picture it is, "mono_ns": its stamp,
"at_ns": when it was given, "refused": what the strict decoder said of a corrupt one}. Numbers count
the frame periods of CLOCK_MONOTONIC since boot: they go on over restarts, and one that is missing
in the log was never given. A fault that gives no frame has one entry too when it is met, with no
file. The log grows without a bound.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from typing_extensions import override

from lineside.complaints import readable_json
from lineside.errors import CameraError, ImageError
from lineside.extras import require
from lineside.files import write_file
from lineside.image import Frame, decode
from lineside.jpeg import decode_strict
from lineside_agent.capture.backend import Backend, Grab, Room
from lineside_agent.capture.wire import Order
from lineside_agent.sources.images import SUFFIXES

DEFAULT_RATE: Final = 25.0
"""Frames a second, where the camera's `rate` is 0."""

MAX_DECODED_BYTES: Final = 256 * 1024 * 1024
"""Pictures are kept decoded; those that do not fit in any more are left out."""

CONTROL: Final = Path(".line") / "control.json"
LOG: Final = Path(".line") / "log.jsonl"

Fault = Literal[
    "hang",
    "crash",
    "vanish",
    "freeze",
    "stall",
    "stale",
    "late",
    "error",
    "corrupt",
    "black",
    "overexposed",
    "blurred",
    "moved",
]


class Wish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the control file says."""

    fault: Fault | None = None
    ms: Annotated[float, Meta(ge=0, le=60_000)] = 500.0
    """Of `stale` and `late`: how long, in ms."""
    bits: Annotated[int, Meta(ge=1, le=10_000)] = 8
    """Of `corrupt`: how many bits are flipped."""
    noise: bool = True
    """Whether each frame has noise of its own."""
    pictures: tuple[int, int] | None = None
    """The first and the last of the pictures that are shown, counted from 0 in the order of their
    names, such as those of a belt that stands; all of them if it is left out."""


def ask(folder: Path, wish: Wish) -> None:
    """Ask the virtual line on `folder` to behave as `wish` says, from its next frame on."""
    write_file(folder / CONTROL, msgspec.json.encode(wish))


def _blurred(picture: Frame) -> Frame:
    cv2 = require("cv2", extra="runtime")
    blurred: Frame = cv2.GaussianBlur(picture, (0, 0), max(2.0, picture.shape[0] / 60))
    return blurred


def _pushed(picture: Frame) -> Frame:
    """By a fifth of the width and a tenth of the height: along a rail alone nobody could see it."""
    height, width = picture.shape[:2]
    return np.roll(picture, (height // 10, width // 5), axis=(0, 1))


SPOIL: Final[dict[str, Callable[[Frame], Frame]]] = {
    "black": np.zeros_like,
    "overexposed": lambda picture: np.full_like(picture, 255),
    "blurred": _blurred,
    "moved": _pushed,
}
"""What a fault makes of the picture."""


class Line(Backend):
    """The virtual line. `where` is its folder."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self._folder = Path(order.where)
        self._period_ns = round(1e9 / (order.rate or DEFAULT_RATE))
        self._number = 0
        self._wish = Wish()
        self._wish_ns = 0
        self._frozen: int | None = None
        self._log = -1

    @override
    def open(self) -> None:
        self._read_wish()
        if self._wish.fault == "vanish":
            raise self._unplugged()
        self._pictures = self._read_pictures()
        size = max(picture.size for _, picture in self._pictures)
        self._noise = np.random.default_rng(0).integers(0, 2, 2 * size, np.uint8)
        self.controls = dict(self.order.controls)
        if (self._folder / LOG).parent.is_dir():
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._log = os.open(self._folder / LOG, flags, 0o644)

    @override
    def grab(self) -> Grab:
        self._read_wish()
        fault = self._wish.fault
        if fault in {"vanish", "crash", "hang"}:
            self._note(self._number, None, 0, None)
        if fault == "vanish":
            raise self._unplugged()
        if fault == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        while fault == "hang":
            time.sleep(3600.0)
        ago_ns = round(self._wish.ms * 1e6)
        late_ns = ago_ns if fault == "late" else 0
        number = max(self._number, (time.monotonic_ns() - late_ns) // self._period_ns) + 1
        time.sleep(max(0, number * self._period_ns + late_ns - time.monotonic_ns()) / 1e9)
        self._number = number
        self._show(number, ago_ns)
        flagged = "driver: the frame is marked as damaged" if fault == "error" else None
        if fault != "corrupt":  # of these it is known only when they were decoded
            self._note(self._given, self._shown, self._stamp_ns, None)
        return Grab(self._stamp_ns, "driver", self._given, flagged)

    def _show(self, number: int, ago_ns: int) -> None:
        """Decide which frame is given as the one of this moment."""
        fault = self._wish.fault
        self._frozen = (self._frozen or number) if fault in {"freeze", "stall"} else None
        self._given = self._shown = number
        if self._frozen is not None:
            self._shown = self._frozen
            self._given = self._frozen if fault == "stall" else number
        elif fault == "stale":
            self._given = self._shown = max(1, number - ago_ns // self._period_ns)
        self._stamp_ns = self._given * self._period_ns

    @override
    def fill(self, room: Room) -> Frame:
        _, picture = self._picture(self._shown)
        fault = self._wish.fault
        if fault == "corrupt":
            picture = self._sent_as_jpeg(picture)
        elif fault is not None and fault in SPOIL:
            picture = SPOIL[fault](picture)
        place = room(*picture.shape[:2])
        if self._wish.noise:
            # Another part of it for each frame; a prime, so that it takes long to come again.
            start = self._shown * 7919 % (self._noise.size - picture.size + 1)
            noise = self._noise[start : start + picture.size].reshape(picture.shape)
            np.bitwise_xor(picture, noise, out=place)
        else:
            place[...] = picture
        return place

    @override
    def close(self) -> None:
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    def _picture(self, number: int) -> tuple[str, Frame]:
        first, last = self._wish.pictures or (0, len(self._pictures) - 1)
        if not 0 <= first <= last < len(self._pictures):
            msg = (
                f"camera {self.order.camera!r}: there are no pictures {first} to {last}: "
                f"{self._folder} has {len(self._pictures)}, counted from 0"
            )
            raise CameraError(msg)
        return self._pictures[first + number % (last - first + 1)]

    def _sent_as_jpeg(self, picture: Frame) -> Frame:
        """The picture after the way from an MJPEG camera on which some bits were flipped.

        Raises:
            ImageError: the strict decoder noticed.
        """
        cv2 = require("cv2", extra="runtime")
        _, encoded = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, 90))
        data = bytearray(encoded.tobytes())
        chance = random.Random(self._given)  # noqa: S311 - no secret
        for _ in range(self._wish.bits):
            data[chance.randrange(2, len(data) - 2)] ^= 1 << chance.randrange(8)
        refused: str | None = None
        try:
            return decode_strict(data)
        except ImageError as error:
            refused = str(error)
            raise
        finally:
            self._note(self._given, self._shown, self._stamp_ns, refused)

    def _note(self, given: int, shown: int | None, stamp_ns: int, refused: str | None) -> None:
        """Write down what was done."""
        if self._log < 0:
            return
        entry: dict[str, Any] = {
            "frame": given,
            "fault": self._wish.fault,
            "file": None if shown is None else self._picture(shown)[0],
            "shows": shown,
            "mono_ns": stamp_ns,
            "at_ns": time.monotonic_ns(),
            "refused": refused,
        }
        os.write(self._log, msgspec.json.encode(entry) + b"\n")

    def _read_wish(self) -> None:
        """Look whether another behaviour is asked for."""
        path = self._folder / CONTROL
        payload = b""
        try:
            changed_ns = path.stat().st_mtime_ns
            if changed_ns == self._wish_ns:
                return
            payload = path.read_bytes()
            self._wish = msgspec.json.decode(payload, type=Wish)
            self._wish_ns = changed_ns
        except FileNotFoundError:
            self._wish, self._wish_ns = Wish(), 0
        except msgspec.ValidationError as error:
            said = readable_json(error, payload, Wish)
            msg = f"camera {self.order.camera!r}: {path}: {said}"
            raise CameraError(msg) from error
        except msgspec.MsgspecError as error:
            msg = f"camera {self.order.camera!r}: {path}: {error}"
            raise CameraError(msg) from error

    def _read_pictures(self) -> list[tuple[str, Frame]]:
        """Name and pixels of the folder's pictures, in the order of the names."""
        name = f"camera {self.order.camera!r}"
        if not self._folder.is_dir():
            msg = f"{name}: no folder {self._folder}"
            raise CameraError(msg)
        files = sorted(f for f in self._folder.iterdir() if f.suffix.lower() in SUFFIXES)
        pictures: list[tuple[str, Frame]] = []
        held = 0
        for file in files:
            try:
                picture = decode(file.read_bytes(), name=file.name)
            except ImageError as error:
                msg = f"{name}: {self._folder}: {error}"
                raise CameraError(msg) from error
            held += picture.nbytes
            if pictures and held > MAX_DECODED_BYTES:
                break
            pictures.append((file.name, picture))
        if not pictures:
            msg = f"{name}: {self._folder} holds no image ({', '.join(sorted(SUFFIXES))})"
            raise CameraError(msg)
        return pictures

    def _unplugged(self) -> CameraError:
        return CameraError(f"camera {self.order.camera!r}: the virtual line is unplugged")
