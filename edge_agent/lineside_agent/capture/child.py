"""The child: opens one camera and sends its frames until it is told to end, or is killed."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import functools
import importlib
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import Final

from lineside.errors import CameraError, ImageError, LinesideError
from lineside.image import REDUCTIONS, Frame, Reduction
from lineside_agent.capture import BACKENDS
from lineside_agent.capture.backend import Backend, Grab
from lineside_agent.capture.memory import SLOTS, Frames, Word
from lineside_agent.capture.pictures import Pictures
from lineside_agent.capture.timing import FIRST_S, OPEN_S, SETTLED_S, STALL_S, pause_s
from lineside_agent.capture.wire import (
    END,
    MAX_MESSAGE_BYTES,
    MAX_TEXT,
    REDUCE,
    Header,
    News,
    Order,
    decode_header,
    decode_order,
    encode,
)

PR_SET_PDEATHSIG: Final = 1
"""Of prctl(2): the signal that this process gets when its parent dies."""

SLACK_NS: Final = 1_000_000
"""A driver's stamp may lie so many ns in the future: its clock is read by other means."""


class EndError(Exception):
    """The agent asks to end. Not an error of anybody's: the way out."""


class Child:
    """One camera's loop.

    Args:
        order: what to do.
        frames: the socket that headers are sent on, and slots come back on.
        unread: the agent's end of it, to take back what nobody took.
        words: the socket for news.
        memory: the shared memory.
    """

    def __init__(
        self,
        order: Order,
        *,
        frames: socket.socket,
        unread: socket.socket,
        words: socket.socket,
        memory: Frames,
    ) -> None:
        self._order = order
        self._frames = frames
        self._unread = unread
        self._words = words
        self._memory = memory
        self._idle = list(range(SLOTS))
        self._reduce: Reduction = 1
        self._sent = 0
        self._last_driver_ns = 0
        self._told_flag = False
        self._pictures = Pictures(order, self._say) if order.checks or order.doubts else None

    def run(self) -> None:
        """Open the camera, send its frames, and begin again when it fails.

        Raises:
            EndError: the agent asks to end.
        """
        attempt = 0
        try:
            while True:
                began = time.monotonic()
                try:
                    self._serve()
                except CameraError as error:
                    self._say(News(at_ns=time.monotonic_ns(), trouble=str(error)[:MAX_TEXT]))
                attempt = 0 if time.monotonic() - began > SETTLED_S else attempt
                self._rest(pause_s(attempt))
                attempt += 1
        finally:
            if self._pictures is not None:
                self._pictures.close()

    def _serve(self) -> None:
        """Read the camera until that fails."""
        backend = make_backend(self._order)
        try:
            self._patience(OPEN_S)
            # What was captured before the camera was opened is left over from before.
            self._last_driver_ns = time.monotonic_ns()
            backend.open()
            controls = dict(backend.controls)
            self._say(News(at_ns=time.monotonic_ns(), controls=controls))
            self._patience(FIRST_S)
            while True:
                self._one(backend)
        finally:
            backend.close()

    def _one(self, backend: Backend) -> None:
        """Read one frame and send it."""
        slot = self._free_slot()
        frame: Frame | None = None
        grab = backend.grab()
        backend.reduce = self._reduce
        flagged = grab.flagged or self._wrong_stamp(grab)
        if flagged is None:
            try:
                frame = backend.fill(functools.partial(self._memory.frame, slot))
            except ImageError as error:
                flagged = str(error)
        doubt = None
        if frame is not None and self._pictures is not None:
            first = self._pictures.first
            doubt = self._pictures.doubt(frame, mono_ns=grab.mono_ns, frame_id=grab.frame_id)
            if first:
                self._patience(FIRST_S)
                return
        height, width = (0, 0) if frame is None else frame.shape[:2]
        whole = None if frame is None else backend.whole
        now = time.monotonic_ns()
        if flagged is None:
            self._memory.words[Word.GOOD_NS] = now
            self._memory.words[Word.DEADLINE_NS] = now + round(STALL_S * 1e9)
        elif not self._told_flag:
            self._say(News(at_ns=now, flagged=flagged[:MAX_TEXT]))
        self._told_flag = flagged is not None
        self._sent += 1
        header = Header(
            number=self._sent,
            slot=slot,
            height=height,
            width=width,
            mono_ns=grab.mono_ns,
            wall_ns=time.time_ns() - (now - grab.mono_ns),
            stamp=grab.stamp,
            frame_id=grab.frame_id,
            flagged=None if flagged is None else flagged[:MAX_TEXT],
            doubt=doubt,
            reduced=1 if whole is None else backend.reduce,
            whole=whole,
        )
        self._memory.words[Word.SENT] = self._sent
        self._frames.send(encode(header))
        self._idle.remove(slot)

    def _wrong_stamp(self, grab: Grab) -> str | None:
        """What is wrong with a driver's stamp: each has to be later than the one before."""
        if grab.stamp != "driver":
            return None
        last, self._last_driver_ns = self._last_driver_ns, max(self._last_driver_ns, grab.mono_ns)
        if grab.mono_ns > time.monotonic_ns() + SLACK_NS:
            self._last_driver_ns = last
            return "stamp: the driver's time stamp lies in the future"
        if grab.mono_ns <= last:
            behind = (last - grab.mono_ns) / 1e6
            return f"stamp: an old frame again, {behind:.0f} ms behind the newest"
        return None

    def _free_slot(self) -> int:
        """A slot to write to: an idle one, one that came back, or the oldest that nobody took."""
        self._take_back()
        while not self._idle:
            unread = _receive(self._unread)
            if unread is not None:
                self._idle.append(decode_header(unread).slot)
            else:
                # The agent has just taken all of them and is about to send back all but one.
                self._wait(0.05)
        return self._idle[-1]

    def _take_back(self) -> None:
        """Collect the slots that the agent is done with."""
        while (said := _receive(self._frames)) is not None:
            if said == END:
                raise EndError
            wished = next((r for r in REDUCTIONS if said[0] == REDUCE + r), None)
            if wished is None:
                self._idle.append(said[0])
            else:
                self._reduce = wished

    def _rest(self, seconds: float) -> None:
        """Wait before the camera is tried again."""
        self._patience(seconds + STALL_S)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._wait(left)

    def _wait(self, seconds: float) -> None:
        """Until the agent says something, or the time is over."""
        select.select([self._frames], [], [], seconds)
        self._take_back()

    def _patience(self, seconds: float) -> None:
        """Tell the agent how long it may hear nothing."""
        self._memory.words[Word.DEADLINE_NS] = time.monotonic_ns() + round(seconds * 1e9)

    def _say(self, news: News) -> bool:
        """Send news; whether there was room: an agent that does not listen misses them."""
        with contextlib.suppress(BlockingIOError):
            self._words.send(encode(news), socket.MSG_DONTWAIT)
            return True
        return False


def _receive(end: socket.socket) -> bytes | None:
    """A message that is there; None if there is none."""
    try:
        return end.recv(MAX_MESSAGE_BYTES, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None


def make_backend(order: Order) -> Backend:
    """The backend of a scheme; not opened yet."""
    module, _, name = BACKENDS[order.scheme].backend.partition(":")
    made: type[Backend] = getattr(importlib.import_module(module), name)
    return made(order)


def die_with_parent(parent: int) -> None:
    """Be killed when the parent dies, whatever this process is doing then.

    Args:
        parent: the process that must be the parent; if it is gone already, this one ends.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0 or os.getppid() != parent:
        sys.exit("the agent is gone")


def main() -> None:
    """What `python -m lineside_agent.capture` does."""
    parser = argparse.ArgumentParser(prog="python -m lineside_agent.capture")
    for name in ("parent", "frames", "unread", "words", "memory"):
        parser.add_argument(name, type=int)
    args = parser.parse_args()
    die_with_parent(args.parent)
    # Ctrl-C and systemd reach all processes of the agent; the agent ends this one in its turn.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected, its dump is not
    memory = Frames(args.memory, writable=True)
    os.close(args.memory)
    frames, unread, words = (
        socket.socket(fileno=number) for number in (args.frames, args.unread, args.words)
    )
    order = decode_order(words.recv(MAX_MESSAGE_BYTES))
    child = Child(order, frames=frames, unread=unread, words=words, memory=memory)
    try:
        child.run()
    except EndError:
        pass
    except LinesideError as error:
        sys.exit(f"camera {order.camera!r}: {error}")


if __name__ == "__main__":
    main()
