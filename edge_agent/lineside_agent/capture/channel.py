"""The agent's end of one child's frames: the newest header, and a view of its slot."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import Final

import msgspec

from lineside.errors import CameraError, ImageError
from lineside.image import Frame, Reduction
from lineside_agent.capture.memory import Frames, Word
from lineside_agent.capture.wire import END, MAX_MESSAGE_BYTES, REDUCE, Header, decode_header

NONE: Final = -1
"""No slot."""


class ChannelEndedError(Exception):
    """The child is gone and its frames are taken. Not an error of anybody's: the way out."""


class Channel:
    """The frames of one child, from its start to its end. Used by one thread, but for `memory`.

    Args:
        frames: the socket of headers and slots.
        memory: the shared memory.

    Attributes:
        dropped: frames that came and were replaced by a newer one before they were taken.
    """

    def __init__(self, frames: socket.socket, memory: Frames) -> None:
        self.memory = memory
        self.dropped = 0
        self._socket = frames
        self._poll = select.poll()
        self._poll.register(frames, select.POLLIN)
        self._held = NONE
        self._number = 0
        self._allowed: Reduction = 1

    def allow(self, reduce: Reduction) -> None:
        """Tell the child what the sides of a JPEG may be divided by, if it is not told yet."""
        if reduce == self._allowed:
            return
        with contextlib.suppress(OSError):  # it is gone, or does not listen: told the next time
            self._socket.send(bytes([REDUCE + reduce]), socket.MSG_DONTWAIT)
            self._allowed = reduce

    def take(self, timeout_s: float) -> tuple[Header, Frame | None] | None:
        """Give back the slot that was held, and take the newest frame; None if none comes in time.

        The frame is a view into shared memory, and stays as it is until the next call.

        Raises:
            ChannelEndedError: there will be no more.
            CameraError: the child breaks the rules; it has to be ended.
        """
        self._give_back(self._held)
        self._held = NONE
        until = time.monotonic() + timeout_s
        while True:
            newest = self._newest()
            if newest is not None:
                return newest, self._view(newest)
            left = until - time.monotonic()
            if left <= 0:
                return None
            self._poll.poll(left * 1e3)

    def _newest(self) -> Header | None:
        """The newest header that is there; the slots of the others are given back."""
        newest: Header | None = None
        while True:
            try:
                message = self._socket.recv(MAX_MESSAGE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                raise ChannelEndedError from error
            if not message:
                if newest is None:
                    raise ChannelEndedError
                break
            try:
                header = decode_header(message)
            except msgspec.MsgspecError as error:
                msg = f"the capture process said what it may not: {error}"
                raise CameraError(msg) from error
            if newest is not None:
                self._give_back(newest.slot)
            newest = header
        if newest is not None:
            self._held = newest.slot
            self.dropped += newest.number - self._number - 1
            self._number = newest.number
        return newest

    def _view(self, header: Header) -> Frame | None:
        if header.flagged is not None:
            return None
        try:
            return self.memory.frame(header.slot, header.height, header.width)
        except ImageError as error:
            msg = f"the capture process said what it may not: {error}"
            raise CameraError(msg) from error

    def _give_back(self, slot: int) -> None:
        if slot == NONE:
            return
        with contextlib.suppress(OSError):  # the child is gone, or stopped and about to be killed
            self._socket.send(bytes([slot]), socket.MSG_DONTWAIT)

    def ask_to_end(self) -> None:
        """Ask the child to let the camera go. May be called by any thread."""
        with contextlib.suppress(OSError):  # it is gone, or does not listen: it is killed then
            self._socket.send(END, socket.MSG_DONTWAIT)

    def close(self) -> None:
        """Forget the child, and count what it sent in vain. Frames that were taken stay."""
        self.dropped += max(0, int(self.memory.words[Word.SENT]) - self._number)
        self._number = int(self.memory.words[Word.SENT])
        self._socket.close()
