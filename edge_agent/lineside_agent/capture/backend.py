"""What every kind of live camera is, inside the child."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from lineside.image import Frame, Reduction
from lineside_agent.capture.wire import Order

Room = Callable[[int, int], Frame]
"""Gives the place to write a frame of (height, width) to; ImageError if there is no such frame."""


@dataclass(frozen=True, slots=True)
class Grab:
    """A frame that has come, before its pixels are looked at.

    Attributes:
        mono_ns: when it was captured, in ns of CLOCK_MONOTONIC.
        stamp: `driver`: the driver said so. `read`: when it was read, later than its capture.
        frame_id: the driver's number of the frame.
        flagged: why it can't be trusted, where the driver says so. It is not filled in then.
    """

    mono_ns: int
    stamp: Literal["driver", "read"]
    frame_id: int | None = None
    flagged: str | None = None


class Backend(ABC):
    """A camera.

    A subclass must override all four methods. Any of them may hang: the agent kills the process
    then. Any may raise CameraError with one line for a person (the camera is closed and opened
    again after a pause); whatever else they raise ends the process, and the agent starts another.

    Args:
        order: which camera, and what to set.

    Attributes:
        controls: what was read back after setting; filled by `open`.
        reduce: what the sides of a JPEG may be divided by: the child says so before each `fill`.
        whole: height and width in pixels of the whole picture, where the last `fill` divided its
            sides by `reduce`; None where it did not.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self.controls: Mapping[str, float] = {}
        self.reduce: Reduction = 1
        self.whole: tuple[int, int] | None = None

    @abstractmethod
    def open(self) -> None:
        """Open the camera and set its controls.

        Raises:
            CameraError: it is not there, or does not do what is asked.
        """

    @abstractmethod
    def grab(self) -> Grab:
        """Wait for the next frame.

        Raises:
            CameraError: there will be none.
        """

    @abstractmethod
    def fill(self, room: Room) -> Frame:
        """Write the grabbed frame to the place that `room` gives for its size, and return that.

        Raises:
            ImageError: it can't be decoded, or has an impossible size. It is sent as flagged.
            CameraError: there is no frame.
        """

    @abstractmethod
    def close(self) -> None:
        """Let the camera go. May come twice, and before `open`."""
