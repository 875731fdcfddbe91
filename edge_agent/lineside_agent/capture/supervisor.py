"""Keeps one camera's child running: starts it, listens to it, kills it when it hangs, for ever."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import msgspec

from lineside.runtime.child import last_line, signal_name
from lineside_agent.capture import memory
from lineside_agent.capture.channel import Channel
from lineside_agent.capture.memory import Frames, Word
from lineside_agent.capture.timing import SETTLED_S, STALL_S, START_S, pause_s
from lineside_agent.capture.wire import MAX_MESSAGE_BYTES, News, Order, decode_news, encode
from lineside_agent.vitals import Kind

log = logging.getLogger(__name__)

LOOK_S: Final = 0.1
"""Seconds between two looks at whether the child still lives."""

GOODBYE_S: Final = 1.0
"""Seconds that the child has to let the camera go."""

SAID_BYTES: Final = 4096
"""What is kept of the child's stderr: the end."""


class Process:
    """One child.

    Args:
        order: what it shall do.

    Attributes:
        channel: its frames.
    """

    def __init__(self, order: Order) -> None:
        pair = partial(socket.socketpair, socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # `mine` is what this process keeps, once all has succeeded; `handed` goes to the child.
        with contextlib.ExitStack() as mine, contextlib.ExitStack() as handed:
            shared = memory.create()
            handed.callback(os.close, shared)
            frames, its_frames = pair()
            mine.enter_context(frames)
            handed.enter_context(its_frames)
            self.words, its_words = pair()
            mine.enter_context(self.words)
            handed.enter_context(its_words)
            self._stderr, its_stderr = os.pipe()
            mine.callback(os.close, self._stderr)
            handed.callback(os.close, its_stderr)
            os.set_blocking(self._stderr, False)
            numbers = [its_frames.fileno(), frames.fileno(), its_words.fileno(), shared]
            command = [sys.executable, "-m", "lineside_agent.capture", str(os.getpid())]
            self._process = subprocess.Popen(
                [*command, *map(str, numbers)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=its_stderr,
                pass_fds=numbers,
                cwd="/",  # `-m` imports from the current folder, which may hold anyone's numpy.py
            )
            mine.callback(self._kill)
            self.pid = self._process.pid
            self.channel = Channel(frames, Frames(shared, writable=False))
            self._said = b""
            self._poll = select.poll()
            self._poll.register(self.words, select.POLLIN)
            self._poll.register(self._stderr, select.POLLIN)
            self.words.send(encode(order))
            mine.pop_all()

    def listen(self, seconds: float) -> list[News] | None:
        """What the child has said, after waiting for it; None if it has ended."""
        ready = dict(self._poll.poll(seconds * 1e3))
        if self._stderr in ready and not self._read_stderr():
            self._poll.unregister(self._stderr)
        news: list[News] = []
        if self.words.fileno() not in ready:
            return news
        while True:
            try:
                message = self.words.recv(MAX_MESSAGE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return news
            except OSError:  # it ended with our order unread
                return None
            if not message:
                return news or None
            with contextlib.suppress(msgspec.MsgspecError):  # one gone mad is noticed elsewhere
                news.append(decode_news(message))

    def _read_stderr(self) -> bool:
        """Collect what the child wrote there; whether it still may write more."""
        try:
            more = os.read(self._stderr, SAID_BYTES)
        except BlockingIOError:
            return True
        self._said = (self._said + more)[-SAID_BYTES:]
        return bool(more)

    def end(self, patience_s: float, give_up: threading.Event) -> str:
        """End the child, and say how it ended.

        A process that hangs inside the kernel goes only when that lets it go. It is waited for:
        to start another one beside it each time would fill the machine.

        Args:
            patience_s: how long it may take to end by itself before it is killed.
            give_up: set when there is no more time to wait.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        killed = self._process.poll() is None
        if killed:
            self._kill()
        while self._process.poll() is None and not give_up.wait(LOOK_S):
            pass
        code = self._process.poll()
        self._read_stderr()
        os.close(self._stderr)
        self.words.close()
        if killed or code is None:
            return "killed"
        how = signal_name(code) or f"exit code {code}"
        said = last_line(self._said.decode(errors="replace"))
        return f"{how}: {said}" if said else how

    def _kill(self) -> None:
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GOODBYE_S)


class Supervisor:
    """The thread that looks after a camera's children.

    Args:
        order: what they shall do.
        on_channel: called on this thread with the frames of each new child.

    Attributes:
        controls: what was read back of the camera when it was opened last.
        findings: the faults of its pictures that last, and what was seen of each.
        pid: of the child that runs; None if there is none.
        failures: how often the camera could not be opened, was lost, or its child ended; each
            time it is tried again.
    """

    def __init__(self, order: Order, on_channel: Callable[[Channel], None]) -> None:
        self.controls: Mapping[str, float] = {}
        self.findings: Mapping[Kind, str] = {}
        self.pid: int | None = None
        self.failures = 0
        self._order = order
        self._name = f"camera {order.camera!r}"
        self._on_channel = on_channel
        self._good: Frames | None = None
        self._good_ns = 0
        self._patient_ns = time.monotonic_ns() + round(START_S * 1e9)
        self._trouble: tuple[int, str] | None = None
        self._flagged: tuple[int, str] | None = None
        self._refused: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"camera-{order.camera}", daemon=True
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the child and the thread."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def last_good_ns(self) -> int:
        """When the last frame that can be trusted came, in ns of the monotonic clock; 0: none."""
        now = self._good
        return max(self._good_ns, 0 if now is None else int(now.words[Word.GOOD_NS]))

    @property
    def trouble(self) -> str | None:
        """Why no frames come that can be trusted, in one line; None if they do."""
        good_ns, trouble = self.last_good_ns, self._trouble
        if trouble is not None and trouble[0] > good_ns:
            return trouble[1]
        waited_s = (time.monotonic_ns() - max(good_ns, self._patient_ns)) / 1e9
        return self._silence(waited_s) if waited_s > STALL_S else None

    def _silence(self, seconds: float) -> str:
        flagged = self._flagged
        if flagged is not None and flagged[0] > self.last_good_ns:
            return f"{self._name} gives no frame that can be trusted: {flagged[1]}"
        if not self.last_good_ns:
            return f"{self._name} has given no frame since it was started"
        return f"{self._name} gives no frames: nothing for {seconds:.0f} s"

    def refuse(self, why: str) -> None:
        """End the child, which broke the rules, and start another. By any thread."""
        self._refused = f"{self._name}: {why}"

    def _run(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            began_ns = time.monotonic_ns()
            try:
                why = self._live()
            except Exception as error:  # noqa: BLE001 - such as no more processes or descriptors
                why = f"{self._name}: its process can't be run: {error}"
            if self._stopping.is_set():
                return
            self._trouble = (time.monotonic_ns(), why)
            self.failures += 1
            if self.last_good_ns - began_ns > SETTLED_S * 1e9:
                attempt = 0
            if attempt == 0:
                log.warning("%s; it is started again, for as long as it takes", why)
            self._stopping.wait(pause_s(attempt))
            attempt += 1

    def _live(self) -> str:
        """One child, from its start to its end; why it ended."""
        process = Process(self._order)
        self._good, self.pid, self._refused = process.channel.memory, process.pid, None
        self._on_channel(process.channel)
        why = "not known"
        patience_s = 0.0
        try:
            why, patience_s = self._watch(process)
        finally:
            if self._stopping.is_set():
                process.channel.ask_to_end()
                patience_s = GOODBYE_S
            how = process.end(patience_s, self._stopping)
            self._good_ns, self._good, self.pid = self.last_good_ns, None, None
        return why or f"{self._name}: its process ended ({how})"

    def _watch(self, process: Process) -> tuple[str, float]:
        """Listen to a child until it has to end, or has ended.

        Returns:
            Why it has to end, empty if it has, and the seconds it may take.
        """
        words = process.channel.memory.words
        start_ns = time.monotonic_ns() + round(START_S * 1e9)
        while not self._stopping.is_set():
            news = process.listen(LOOK_S)
            if news is None:
                return "", GOODBYE_S
            for said in news:
                self._hear(said)
            if self._refused is not None:
                return self._refused, 0.0
            now = time.monotonic_ns()
            if now > (int(words[Word.DEADLINE_NS]) or start_ns):
                good_ns = int(words[Word.GOOD_NS])
                return (self._silence((now - good_ns) / 1e9) if good_ns else self._never()), 0.0
        return "", GOODBYE_S

    def _never(self) -> str:
        flagged = self._flagged
        if flagged is not None:
            return f"{self._name} gives no frame that can be trusted: {flagged[1]}"
        return f"{self._name} hangs before its first frame"

    def _hear(self, said: News) -> None:
        if said.trouble is not None:
            self._trouble = (said.at_ns, said.trouble)
            self.failures += 1
        if said.flagged is not None:
            self._flagged = (said.at_ns, said.flagged)
        if said.controls is not None:
            self.controls = said.controls
        if said.findings is not None:
            self.findings = said.findings
        if said.note is not None:
            log.warning("%s: %s", self._name, said.note)
