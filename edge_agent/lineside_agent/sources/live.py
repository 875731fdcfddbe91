"""A live camera: one latest frame, read by a thread of its own, and a connection that heals."""

from __future__ import annotations

import logging
import random
import threading
import time
from abc import abstractmethod
from typing import Any, ClassVar, Final

from typing_extensions import override

from lineside.errors import CameraError
from lineside_agent.sources.base import Shot, Source, State
from lineside_agent.sources.opencv import OPEN_S, READ_S

log = logging.getLogger(__name__)

STALL_S: Final = 3.0
"""Without a frame for so many seconds a camera counts as lost."""

BACKOFF_S: Final = (0.5, 10.0)
"""Seconds before a lost camera is opened again: the first pause and the longest."""


class LiveSource(Source):
    """A camera that does not wait.

    A subclass must override `_connect`, which gives what has OpenCV's `grab`, `retrieve` and
    `release`. The thread that reads may hang in a driver: `state` then says so, and `close`
    does not wait for it for long.
    """

    finite: ClassVar[bool] = False

    def __init__(self, name: str, where: str, *, rate: float = 0.0) -> None:
        super().__init__(name, where, rate=rate)
        self._arrived = threading.Condition()
        self._latest: Shot | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._alive_at = 0.0
        self._trouble: str | None = f"camera {name!r} was not opened"

    @abstractmethod
    def _connect(self) -> Any:  # noqa: ANN401 - cv2 has no types
        """Open the camera, or raise CameraError with one line for a person."""

    @property
    @override
    def state(self) -> State:
        return "lost" if self.trouble else "ok"

    @property
    @override
    def trouble(self) -> str | None:
        if self._trouble is not None:
            return self._trouble
        silent = time.monotonic() - self._alive_at
        if silent > STALL_S:
            return f"camera {self.name!r} gives no frames: nothing for {silent:.0f} s"
        return None

    @override
    def _open(self) -> None:
        # A camera that is not there yet is no reason to wait or to fail.
        self._trouble = None
        self._alive_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"camera-{self.name}", daemon=True)
        self._thread.start()

    @override
    def _take(self, timeout_s: float) -> Shot | None:
        with self._arrived:
            self._arrived.wait_for(lambda: self._latest is not None, timeout_s)
            shot, self._latest = self._latest, None
            return shot

    @override
    def _close(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(OPEN_S + READ_S)

    def _run(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            self._alive_at = began + OPEN_S  # it may take so long before it counts as silent
            try:
                self._read_on(self._connect())
            except CameraError as error:
                self._trouble = str(error)
            except Exception as error:  # noqa: BLE001 - drivers raise what they like
                self._trouble = f"camera {self.name!r} failed: {error}"
            if time.monotonic() - began > BACKOFF_S[1]:
                attempt = 0
            low, high = BACKOFF_S
            pause = min(high, low * 2.0 ** min(attempt, 16))
            attempt += 1
            self._stopping.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret

    def _read_on(self, capture: Any) -> None:  # noqa: ANN401 - cv2 has no types
        """Take frame after frame until that fails.

        Raises:
            CameraError: no more frames come.
        """
        try:
            while not self._stopping.is_set():
                if not capture.grab():
                    break
                now = Shot.now(None)
                there, frame = capture.retrieve()
                if not there:
                    break
                self._alive_at, self._trouble = time.monotonic(), None
                with self._arrived:
                    self.dropped += self._latest is not None
                    self._latest = Shot(frame, now.mono_ns, now.captured_at)
                    self._arrived.notify()
        finally:
            capture.release()
        if not self._stopping.is_set():
            msg = f"camera {self.name!r} stopped giving frames"
            raise CameraError(msg)
