"""Frames from memory: the documented fake, for tests and for trying things out.

source = MemorySource("cam0", [frame, "the lens cap is on", frame])
agent = Agent(settings, sources={"cam0": source})
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from typing_extensions import override

from lineside.image import Frame
from lineside_agent.sources.base import EndOfSourceError, Shot, Source


class MemorySource(Source):
    """Gives what it was given, in order.

    Args:
        name: the camera's name.
        frames: uint8 arrays of height x width x 3 (BGR), or texts: a shot with that problem. An
            exception is raised when its turn comes.
        rate: frames a second at most; 0 for no limit.
    """

    finite: ClassVar[bool] = True

    def __init__(
        self, name: str, frames: Iterable[Frame | str | Exception], *, rate: float = 0.0
    ) -> None:
        super().__init__(name, "memory", rate=rate)
        self._frames = frames

    @override
    def _open(self) -> None:
        self._left: Iterator[tuple[int, Frame | str | Exception]] = enumerate(self._frames, start=1)

    @override
    def _take(self, timeout_s: float) -> Shot | None:
        number, frame = next(self._left, (0, None))
        if frame is None:
            raise EndOfSourceError
        if isinstance(frame, Exception):
            raise frame
        if isinstance(frame, str):
            return Shot.now(None, part_id=str(number), problem=frame)
        return Shot.now(frame, part_id=str(number))

    @override
    def _close(self) -> None:
        self._left = iter(())
