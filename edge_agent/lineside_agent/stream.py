"""One camera looked at by one model: source -> trigger -> region -> inspector -> result.

The thread of a stream never waits for disk or network. Whatever goes wrong with one frame
becomes a `no_read` that says so.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final, Protocol

from lineside.decision import Answer, no_read
from lineside.errors import LinesideError
from lineside.image import Box, Frame, check_frame
from lineside.inspector import Inspection
from lineside.messages import Result, Trigger
from lineside_agent.assemble import Context, Times, assemble
from lineside_agent.clock import clock_synced
from lineside_agent.sources import EndOfSourceError, Shot, Source

log = logging.getLogger(__name__)

POLL_S: Final = 0.25
"""Seconds between looks at whether to stop."""

RETRY_S: Final = 1.0
"""Seconds before a live source that failed is asked again."""

PATIENCE_S: Final = 1.0
"""Seconds that a frame may take to come after an interval trigger."""


class Looks(Protocol):
    """What gives a verdict: `lineside.inspector.Inspector`."""

    def inspect(self, frame: Frame, roi: Box | None = None) -> Inspection:
        """Look at one frame."""


class Keeps(Protocol):
    """What takes results: `lineside_agent.keeper.Keeper.put`."""

    def __call__(self, result: Result, *, wait: bool) -> bool:
        """Keep a result; whether there was room, which may be waited for."""


class Stream:
    """The thread of one stream.

    Args:
        context: what its results have in common.
        source: where frames come from.
        trigger: `frame`, or `interval:SECONDS`.
        inspector: who looks.
        put: takes the results.

    Attributes:
        results: how many results there were.
        failure: why the stream ended before its source; None if it did not.
    """

    def __init__(
        self,
        context: Context,
        source: Source,
        trigger: str,
        inspector: Looks,
        put: Keeps,
    ) -> None:
        self.context = context
        self.source = source
        self.results = 0
        self.failure: str | None = None
        self._interval_s = float(trigger.partition(":")[2] or 0)
        self._inspector = inspector
        self._put = put
        self._n = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"stream-{context.stream}", daemon=True
        )

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to do."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def open(self) -> None:
        """Open the source.

        Raises:
            CameraError: a finite source is not there.
        """
        self.source.open()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is in hand, end, and close the source."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(10.0)
        self.source.close()

    def _run(self) -> None:
        self._due = time.monotonic()
        while not self._stopping.is_set() and self._turn():
            pass

    def _turn(self) -> bool:
        """Deal with the next part, if one comes; whether to go on."""
        try:
            if self._interval_s:
                self._interval()
            else:
                self._frame()
        except EndOfSourceError:
            log.info("stream %s: its source has ended", self.context.stream)
            return False
        except Exception as error:  # noqa: BLE001 - a live camera is worth another try
            if self.source.finite:
                self.failure = str(error)
                return False
            log.warning("stream %s: %s", self.context.stream, error)
            self._stopping.wait(RETRY_S)
        return True

    def _frame(self) -> None:
        """Every frame is a part."""
        shot = self.source.take(POLL_S)
        if shot is not None:
            self._part(Trigger(kind="frame", mono_ns=shot.mono_ns), shot)

    def _interval(self) -> None:
        """One part every so many seconds."""
        wait = self._due - time.monotonic()
        if wait > 0 and self._stopping.wait(wait):
            return
        trigger = Trigger(kind="interval", mono_ns=time.monotonic_ns())
        self._due = max(self._due + self._interval_s, time.monotonic())
        self._part(trigger, self._take_after(trigger.mono_ns))

    def _take_after(self, mono_ns: int) -> Shot | None:
        """A frame that was captured after the trigger, or None."""
        until = time.monotonic() + PATIENCE_S
        while not self._stopping.is_set() and (left := until - time.monotonic()) > 0:
            shot = self.source.take(min(left, POLL_S))
            if shot is not None and (self.source.finite or shot.mono_ns >= mono_ns):
                return shot
        return None

    def _part(self, trigger: Trigger, shot: Shot | None) -> None:
        """Look at one part and hand over its result."""
        self._n += 1
        begun = time.monotonic_ns()
        captured = trigger.mono_ns if shot is None else shot.mono_ns
        answer, preprocess_ms, invoke_ms = self._answer(shot)
        times = Times(captured, begun, time.monotonic_ns(), preprocess_ms, invoke_ms)
        try:
            taken = self._keep(trigger, shot, answer, times)
        except (LinesideError, UnicodeError) as error:  # it can't be sent as it is
            taken = self._keep(trigger, None, no_read(f"error:{error}"), times)
        if taken:
            self.results += 1

    def _keep(self, trigger: Trigger, shot: Shot | None, answer: Answer, times: Times) -> bool:
        result = assemble(
            self.context,
            n=self._n,
            trigger=trigger,
            shot=shot,
            answer=answer,
            times=times,
            clock_synced=clock_synced(),
        )
        return self._put(result, wait=self.source.finite)

    def _answer(self, shot: Shot | None) -> tuple[Answer, float, float]:
        """The verdict, and the milliseconds of preprocessing and inference."""
        if shot is None:
            return no_read("no_frame"), 0.0, 0.0
        if shot.frame is None:
            return no_read(f"unreadable:{shot.problem}"), 0.0, 0.0
        try:
            found = self._inspector.inspect(check_frame(shot.frame), self.context.roi)
        except LinesideError as error:
            return no_read(f"error:{error}"), 0.0, 0.0
        except Exception as error:  # a part without an answer is a no_read, whatever the reason
            log.exception("stream %s: a frame could not be looked at", self.context.stream)
            return no_read(f"error:{type(error).__name__}:{error}"), 0.0, 0.0
        return found.answer, found.preprocess_ms, found.invoke_ms
