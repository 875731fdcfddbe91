"""What every source of frames is."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import ClassVar, Literal

from msgspec import Struct

from lineside.errors import CameraError
from lineside.image import Frame, Reduction
from lineside_agent.vitals import Kind

State = Literal["ok", "lost", "ended"]


class Shot(Struct, frozen=True):
    """One frame, or the reason why there is none where there should be one.

    Attributes:
        frame: uint8, height x width x 3, BGR; None if there is a problem.
        mono_ns: when it was captured, in ns of the monotonic clock.
        captured_at: the same for people, in UTC.
        part_id: what the part is called, where the source knows.
        problem: why there is no frame; the part becomes a `no_read`.
        stamp: what `mono_ns` is: `driver`, said by the driver; `read`, when the frame was read, up
            to the source's `max_delay_ms` later than its capture.
        flagged: why the frame can't be trusted: the driver's error flag, a damaged JPEG, a time
            stamp that went back. Such a shot has no frame, and `problem` says the same.
        doubt: what makes its picture doubtful, such as `black`. Such a shot has a frame.
        reduced: by what the sides of its picture were divided while it was decoded.
        whole: height and width of the whole picture, in pixels, where it was reduced.
        frame_id: the driver's number of the frame, where there is one.
    """

    frame: Frame | None
    mono_ns: int
    captured_at: datetime
    part_id: str | None = None
    problem: str | None = None
    stamp: Literal["driver", "read"] = "read"
    flagged: str | None = None
    frame_id: int | None = None
    doubt: Kind | None = None
    reduced: Reduction = 1
    whole: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the whole picture, in pixels; None where there is no frame."""
        if self.frame is None:
            return None
        return self.whole or (self.frame.shape[0], self.frame.shape[1])

    @classmethod
    def now(
        cls, frame: Frame | None, *, part_id: str | None = None, problem: str | None = None
    ) -> Shot:
        """A shot that was captured at this moment."""
        return cls(frame, time.monotonic_ns(), datetime.now(timezone.utc), part_id, problem)


class EndOfSourceError(Exception):
    """A finite source has given all it has. Not an error of anybody's: the loop's way out."""


class Source(ABC):
    """A camera, a file, a folder: where frames come from.

    A subclass must override `_open`, `_take` and `_close`, which may raise anything: the public
    methods raise CameraError from it. It must set `finite`, and may count `dropped` and override
    `state`, `trouble`, `findings` and `controls`. It is used by one thread, but for those and
    `dropped`.

    Args:
        name: the camera's name, for messages.
        where: what follows the scheme in the settings, such as a folder or a device.
        rate: frames a second at most; 0 for no limit. Only finite sources keep to it.

    Attributes:
        finite: whether it ends, waits for whoever takes, and drops nothing. A live source gives
            its newest frame and drops older ones.
        dropped: frames that were replaced by a newer one before they were taken.
        max_delay_ms: how much later than its capture a shot with the stamp `read` may be stamped.
        reduce: what the sides of a JPEG may be divided by while it is decoded. Whoever takes says
            so before each `take`; each shot says what was done: never more than that.
    """

    finite: ClassVar[bool]

    def __init__(self, name: str, where: str, *, rate: float = 0.0) -> None:
        self.name = name
        self.where = where
        self.dropped = 0
        self.max_delay_ms = 0.0
        self.reduce: Reduction = 1
        self._period_s = 1.0 / rate if rate > 0 else 0.0
        self._next_at = 0.0
        self._ended = False

    @property
    def state(self) -> State:
        """`ok`, `lost` while no frames come, `ended` when there are no more."""
        return "ended" if self._ended else "ok"

    @property
    def starting(self) -> bool:
        """Whether no frame has come yet since it was opened, and nothing is known to be wrong."""
        return False

    @property
    def trouble(self) -> str | None:
        """Why no frames come, in one line; None if they do."""
        return None

    @property
    def findings(self) -> Mapping[Kind, str]:
        """What lasts that is wrong with a live camera's pictures, and what was seen of each."""
        return {}

    @property
    def failures(self) -> int:
        """How often a live camera could not be opened, or was lost; each time it is tried again."""
        return 0

    @property
    def moved(self) -> int:
        """Another number after each good frame that came from a live camera, and each failure."""
        return 0

    @property
    def controls(self) -> Mapping[str, float]:
        """What the camera says of its exposure, gain and white balance, as far as it is known."""
        return {}

    def open(self) -> None:
        """Get ready.

        Raises:
            CameraError: a finite source is not there. A live one is waited for: see `state`.
        """
        try:
            self._open()
        except CameraError:
            raise
        except Exception as error:  # drivers raise what they like
            msg = f"camera {self.name!r} can't be opened: {error}"
            raise CameraError(msg) from error

    def take(self, timeout_s: float) -> Shot | None:
        """The next frame; of a live source one that nobody has taken yet.

        Args:
            timeout_s: how long to wait for it.

        Returns:
            None if none came within the time. A live source's frame may be a view that is as it
            is until the next call only.

        Raises:
            EndOfSourceError: there are no more.
            CameraError: the source failed.
        """
        if self._ended:
            raise EndOfSourceError
        if self.finite and self._period_s:
            wait = self._next_at - time.monotonic()
            if wait > timeout_s:
                time.sleep(timeout_s)
                return None
            if wait > 0:
                time.sleep(wait)
        try:
            shot = self._take(timeout_s)
        except EndOfSourceError:
            self._ended = True
            raise
        except CameraError:
            raise
        except Exception as error:  # drivers raise what they like
            msg = f"camera {self.name!r} failed: {error}"
            raise CameraError(msg) from error
        # The beat is kept; after a pause longer than one beat it starts anew, without a burst.
        now = time.monotonic()
        late = now - self._next_at > self._period_s
        self._next_at = (now if late else self._next_at) + self._period_s
        return shot

    def close(self) -> None:
        """Let go of the hardware. May be called twice, and before `open`."""
        self._close()

    @abstractmethod
    def _open(self) -> None:
        """Get ready, or raise CameraError with one line for a person."""

    @abstractmethod
    def _take(self, timeout_s: float) -> Shot | None:
        """The next frame within the time, or EndOfSourceError."""

    @abstractmethod
    def _close(self) -> None:
        """Let go of the hardware."""
