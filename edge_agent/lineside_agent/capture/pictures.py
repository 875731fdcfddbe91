"""Looks at each picture of a camera, in the camera's child, and keeps what was learned of it.

Whoever moves a camera on purpose deletes the file of what was learned, and it is learned anew.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lineside.errors import LinesideError
from lineside.extras import require
from lineside.files import read_file, write_file
from lineside.image import Frame
from lineside_agent.capture.wire import MAX_TEXT, News, Order
from lineside_agent.vitals import Kind, Vitals

SAVE_S: Final = 60.0
"""Seconds from one time that what was learned is written down to the next."""

CHECK_S: Final = 1.0
"""Seconds from one look at whether that file is still there to the next."""

GOODBYE_S: Final = 0.5
"""Seconds that the last time may take: less than the agent waits for the child."""

SPARE_BYTES: Final = 64 * 1024 * 1024
"""On a disk with less free nothing is written: what is left is for results."""

MAX_FILE_BYTES: Final = 4 * 1024 * 1024

SURE_NS: Final = 4_000_000_000
"""A fault of one frame a second takes three looks. Before that, nothing found says nothing."""


class Pictures:
    """The vitals of one camera.

    Args:
        order: what to look for, and where what was learned is kept.
        say: sends news; whether there was room.

    Attributes:
        first: whether the next frame is only for the one behind it to be compared with, and not
            to be sent: a frozen camera would show the last picture of an earlier process again.
    """

    def __init__(self, order: Order, say: Callable[[News], bool]) -> None:
        # One thread is enough for a look, and the other cores are for the models.
        require("cv2", extra="runtime").setNumThreads(1)
        self._doubts = frozenset(order.doubts)
        self._checks = order.checks
        self._file = Path(order.learned) if order.learned else None
        self._kept = self._file is not None and self._file.exists()
        self._check_at = time.monotonic() + CHECK_S
        self._say = say
        self.first = "frozen" in self._doubts
        self._vitals: Vitals | None = self._restore()
        self._first_ns: int | None = None
        self._told: dict[Kind, str] | None = None
        self._saving: threading.Thread | None = None
        self._save_at = time.monotonic() + SAVE_S

    def doubt(self, frame: Frame, *, mono_ns: int, frame_id: int | None) -> Kind | None:
        """Look at a frame.

        Args:
            frame: uint8, height x width x 3, BGR.
            mono_ns: when it was captured, in ns of the monotonic clock.
            frame_id: the driver's number of it, where there is one.

        Returns:
            Why its picture can't be trusted: a fault that lasts, or what this frame alone shows.
        """
        vitals = self._vitals
        if vitals is None:
            return None
        self.first = False
        if time.monotonic() >= self._check_at:
            self._check_at = time.monotonic() + CHECK_S
            self._forget_if_deleted(vitals)
        try:
            vitals.look(frame, mono_ns=mono_ns, frame_id=frame_id)
        except Exception as error:  # noqa: BLE001 - to lose the camera would be worse
            self._note(f"its pictures are not looked at any more: {type(error).__name__}: {error}")
            self._vitals = None
            return None
        self._tell(vitals, mono_ns)
        if time.monotonic() >= self._save_at:
            self._save(vitals)
        lasting = (finding.kind for finding in vitals.findings)
        seen = (*lasting, vitals.suspicion)
        return next((kind for kind in seen if kind in self._doubts), None)

    def close(self) -> None:
        """Write down what was learned, if the disk is quick enough."""
        if self._vitals is not None:
            self._forget_if_deleted(self._vitals)
            self._save(self._vitals)
        if self._saving is not None:
            self._saving.join(GOODBYE_S)

    def _restore(self) -> Vitals:
        """The vitals with what was learned before, or without where that can't be read."""
        if self._file is not None and self._kept:
            try:
                learned = read_file(self._file, MAX_FILE_BYTES)
                return Vitals(learned, watched=self._checks, suspected=self._doubts)
            except LinesideError as error:
                self._note(f"it is learned anew what its pictures are like: {error}")
        return Vitals(watched=self._checks, suspected=self._doubts)

    def _forget_if_deleted(self, vitals: Vitals) -> None:
        """Begin anew if the file that was there is not there any more."""
        if self._kept and self._file is not None and not self._file.exists():
            self._kept = False
            vitals.forget()
            self._note("the file of what was learned of its pictures is gone: it is learned anew")

    def _tell(self, vitals: Vitals, mono_ns: int) -> None:
        """Say which faults last, if others than before."""
        found = {finding.kind: finding.reason[:MAX_TEXT] for finding in vitals.findings}
        self._first_ns = mono_ns if self._first_ns is None else self._first_ns
        # What the process before has found stays until this one can know better.
        unsure = self._told is None and not found and mono_ns - self._first_ns < SURE_NS
        if unsure or (self._told is not None and self._told.keys() == found.keys()):
            return
        if self._say(News(at_ns=time.monotonic_ns(), findings=found)):
            self._told = found

    def _save(self, vitals: Vitals) -> None:
        """Begin to write down what was learned: a disk may be slower than a camera may be."""
        self._save_at = time.monotonic() + SAVE_S
        learned = vitals.learned()
        busy = self._saving is not None and self._saving.is_alive()
        if self._file is None or learned is None or busy:
            return
        self._saving = threading.Thread(target=self._write, args=(self._file, learned), daemon=True)
        self._saving.start()

    def _write(self, file: Path, learned: bytes) -> None:
        """Write down what was learned; where that fails, the next time may not."""
        with contextlib.suppress(OSError, LinesideError):
            file.parent.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(file.parent).free >= SPARE_BYTES:
                write_file(file, learned)
                self._kept = True

    def _note(self, text: str) -> None:
        self._say(News(at_ns=time.monotonic_ns(), note=text[:MAX_TEXT]))
