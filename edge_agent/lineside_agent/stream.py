"""One camera looked at by one model: source -> trigger -> region -> inspector -> result.

The thread of a stream never waits for disk or network. Whatever goes wrong with one frame
becomes a `no_read` that says so.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from lineside.decision import Answer, no_read
from lineside.errors import InputError, LinesideError, SettingsError
from lineside.image import Frame
from lineside.messages import Limits, Result
from lineside_agent.assemble import Context, Times, assemble
from lineside_agent.clock import clock_synced
from lineside_agent.looking import Freshness, look
from lineside_agent.models import Slot
from lineside_agent.sources import EndOfSourceError, Shot, Source
from lineside_agent.supervision import Tally
from lineside_agent.triggers import Firing, Trigger, make_trigger
from lineside_agent.triggers.pushed import PushedTrigger

log = logging.getLogger(__name__)

POLL_S: Final = 0.25
"""Seconds between looks at whether to stop."""

RETRY_S: Final = 1.0
"""Seconds before a live source that failed is asked again."""

VACANT_S: Final = 1.0
"""Seconds from one `no_read` to the next where frames come and there is no model."""


class Keeps(Protocol):
    """What takes results: `lineside_agent.keeper.Keeper.put`."""

    def __call__(self, result: Result, *, wait: bool, journal: int | None = None) -> bool:
        """Keep a result; whether there was room, which may be waited for."""


class Stream:
    """The thread of one stream.

    Args:
        slot: who looks.
        source: where frames come from, open; it is closed at the end.
        trigger: as in the settings: `frame`, `interval:SECONDS`, `command`.
        put: takes the results.
        queue: how many parts may wait to be looked at; one more is a `no_read` at once.
        max_wait_ms: milliseconds after its trigger within which a part's frame must be captured.

    Attributes:
        results: how many results there were.
        refused: how many results found no room.
        faults: how many frames could not be trusted, by why.
        overflows: how many parts came while too many waited already.
        paused: whether parts are not looked at, as somebody asked.
        rounds: how often its thread came round: the watchdog looks at it.
        handing: whether it waits for room for a result, as a folder or a file does.
        tally: verdicts and latencies, for the metrics.
        failure: why the stream ended before its source; None if it did not.
    """

    def __init__(
        self,
        slot: Slot,
        source: Source,
        trigger: str,
        put: Keeps,
        *,
        queue: int = 16,
        max_wait_ms: float = 1000.0,
    ) -> None:
        self.slot = slot
        self.source = source
        self.results = 0
        self.refused = 0
        self.overflows = 0
        self._freshness = Freshness(live=not source.finite)
        self.faults = self._freshness.faults
        self.paused = False
        self.failure: str | None = None
        self._trigger = make_trigger(trigger, queue=queue)
        self._delay_ns = round(source.max_delay_ms * 1e6)
        self._max_wait_ns = round(max_wait_ms * 1e6)
        self._put = put
        self._numbers = itertools.count(1)  # next() is atomic: parts also come by other threads
        self._vacant_at = 0.0
        self._no_more: str | None = None
        self.handing = False
        self._counting = threading.Lock()
        self._between: deque[Callable[[], None]] = deque()
        self._newest: Frame | None = None
        self.rounds = 0
        self.tally = Tally()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"stream-{self.name}", daemon=True)

    @property
    def context(self) -> Context:
        """What the results of whoever looks have in common."""
        return self.slot.context

    @property
    def name(self) -> str:
        """The stream's name."""
        return self.slot.context.stream

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to do."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is in hand, end, and close the source."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(10.0)
            if self._thread.is_alive():
                log.warning("stream %s: it still looks at a part, whose result is lost", self.name)
        self._refuse_more("stopped")
        self.source.close()

    def check_fires(self) -> None:
        """Refuse a stream that can't be fired.

        Raises:
            SettingsError: it says itself when there is a part.
        """
        if not isinstance(self._trigger, PushedTrigger):
            msg = f"stream {self.name!r} is not triggered by commands: its trigger is another one"
            raise SettingsError(msg)

    def fire(self, firing: Firing, journal: int | None = None) -> None:
        """A part is there: it will be looked at, or is a `no_read` at once. From any thread.

        Args:
            firing: the part.
            journal: its number in the outbox's journal.
        """
        if self.paused:
            self.answer(firing, "paused", journal)
            return
        if self._trigger is not None and self._trigger.push(firing, journal):
            return
        if self._no_more is not None:
            self.answer(firing, self._no_more, journal)
            return
        with self._counting:
            self.overflows += 1
        self.answer(firing, "overflow", journal)

    def between(self, work: Callable[[], None]) -> None:
        """Do something between two parts, on the stream's thread; from any thread."""
        self._between.append(work)

    def snapshot(self, timeout_s: float) -> Frame | None:
        """A copy of the newest frame; from any thread but the stream's own.

        Args:
            timeout_s: how long to wait for it.

        Returns:
            uint8, height x width x 3, BGR; None if there was none in time.
        """
        found: SimpleQueue[Frame] = SimpleQueue()
        until = time.monotonic() + timeout_s

        def copy() -> None:
            frame = self._copy()
            if frame is not None:
                found.put(frame)
            elif time.monotonic() < until:
                self.between(copy)

        self.between(copy)
        try:
            return found.get(timeout=timeout_s)
        except Empty:
            return None

    def set_limits(self, review: float | None, ng: float | None) -> Limits:
        """Use other limits from the next part on, until the model changes; from any thread.

        Returns:
            What was in force before.

        Raises:
            InputError: the stream has ended.
        """
        if self.ended:
            msg = f"stream {self.name!r} has ended"
            raise InputError(msg)
        before = self.slot.context.limits
        self.between(lambda: self.slot.set_limits(review, ng))
        return before

    def answer(
        self, firing: Firing, reason: str, journal: int | None = None, *, past: bool = False
    ) -> None:
        """Say that a part was not looked at, and why. From any thread.

        Args:
            firing: the part.
            reason: why not.
            journal: its number in the outbox's journal.
            past: whether it came in an earlier boot, of whose clock this one knows nothing.
        """
        now = firing.mono_ns if past else time.monotonic_ns()
        times = Times(firing.mono_ns, now, now)
        self._keep(next(self._numbers), firing, None, no_read(reason), times, journal)

    def _refuse_more(self, reason: str) -> None:
        """Answer the parts that wait, and from now on each that comes, without a look."""
        self._no_more = self._no_more or reason
        for firing, journal in self._trigger.drain() if self._trigger is not None else ():
            self.answer(firing, reason, journal)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set() and self._turn():
                pass
        except Exception as error:  # the station has to say that nobody looks any more
            log.exception("stream %s ended in an unforeseen way", self.name)
            self.failure = f"stream {self.name!r} ended: {error!r}"
        if not self._stopping.is_set():
            self._refuse_more("no_frame")

    def _turn(self) -> bool:
        """Deal with the next part, if one comes; whether to go on."""
        self.rounds += 1
        self.slot.turn()
        try:
            self._do_between()
            if self._trigger is None:
                self._next_frame()
            else:
                self._next_firing(self._trigger)
        except EndOfSourceError:
            log.info("stream %s: its source has ended", self.name)
            return False
        except Exception as error:  # noqa: BLE001 - a live camera is worth another try
            if self.source.finite:
                self.failure = str(error)
                return False
            log.warning("stream %s: %s", self.name, error)
            self._stopping.wait(RETRY_S)
        return True

    def _do_between(self) -> None:
        for _ in range(len(self._between)):  # what is put back waits for the next time
            self._between.popleft()()

    def _copy(self) -> Frame | None:
        """The newest frame: the one just looked at, or where none is taken, one for this."""
        if self._trigger is not None and not self.source.finite:
            self._take(POLL_S)
        return None if self._newest is None else self._newest.copy()

    def _take(self, timeout_s: float) -> Shot | None:
        self.source.reduce = self.slot.reduce
        shot = self.source.take(timeout_s)
        # Valid until the next one is taken.
        self._newest = None if shot is None else shot.frame
        return shot

    def _next_frame(self) -> None:
        """Every frame is a part."""
        shot = self._take(POLL_S)
        self._do_between()
        if shot is None or self.paused or self._is_too_soon():
            return
        why = self._freshness.why_not(shot)
        self._part(Firing(kind="frame", mono_ns=shot.mono_ns), shot, why)

    def _is_too_soon(self) -> bool:
        """Whether a live camera without a model need not say so again yet."""
        if not self.slot.vacant or self.source.finite:
            return False
        now = time.monotonic()
        if now < self._vacant_at:
            return True
        self._vacant_at = now + VACANT_S
        return False

    def _next_firing(self, trigger: Trigger) -> None:
        """A part is there when the trigger says so."""
        fired = trigger.wait(POLL_S)
        if fired is None:
            return
        firing, journal = fired
        if self.paused:
            if journal is not None:
                self.answer(firing, "paused", journal)
            return
        try:
            self._do_between()  # what was asked before the part came holds for it
            shot, why = self._take_after(firing)
        except Exception as error:
            if journal is not None:
                ended = isinstance(error, EndOfSourceError)
                self.answer(firing, "no_frame" if ended else f"error:{error}", journal)
            raise
        self._part(firing, shot, why, journal)

    def _take_after(self, firing: Firing) -> tuple[Shot | None, str | None]:
        """A frame to trust of the moment of the trigger; or None, and why there is none.

        The part moves on: however long it waited for its turn, a frame that was captured later
        than `max_wait_ms` after its trigger does not show it.
        """
        until_ns = firing.mono_ns + self._max_wait_ns + self._delay_ns
        why: str | None = "no_frame"
        while not self._stopping.is_set():
            left_s = (until_ns - time.monotonic_ns()) / 1e9
            shot = self._take(max(0.0, min(left_s, POLL_S)))
            if shot is not None:
                if self.source.finite:
                    return shot, None
                if shot.mono_ns > until_ns:
                    break
                delay_ns = 0 if shot.stamp == "driver" else self._delay_ns
                if shot.mono_ns - delay_ns >= firing.mono_ns:
                    why = self._freshness.why_not(shot)
                    if why is None:
                        return shot, None
            if left_s <= 0:
                break
        return None, why

    def _part(
        self, firing: Firing, shot: Shot | None, why: str | None, journal: int | None = None
    ) -> None:
        """Look at one part, unless there is a reason why not, and hand over its result."""
        number = next(self._numbers)
        begun = time.monotonic_ns()
        captured = firing.mono_ns if shot is None else shot.mono_ns
        answer, preprocess_ms, invoke_ms = look(self.slot, shot, why)
        times = Times(captured, begun, time.monotonic_ns(), preprocess_ms, invoke_ms)
        try:
            self._keep(number, firing, shot if why is None else None, answer, times, journal)
        except (LinesideError, UnicodeError) as error:  # it can't be sent as it is
            self._keep(number, firing, None, no_read(f"error:{error}"), times, journal)

    def _keep(
        self,
        number: int,
        firing: Firing,
        shot: Shot | None,
        answer: Answer,
        times: Times,
        journal: int | None,
    ) -> None:
        result = assemble(
            self.slot.context,
            n=number,
            firing=firing,
            shot=shot,
            answer=answer,
            times=times,
            clock_synced=clock_synced(),
            source=self.source,
        )
        self.handing = self.source.finite
        try:
            kept = self._put(result, wait=self.source.finite, journal=journal)
        finally:
            self.handing = False
        with self._counting:  # `answer` comes by other threads
            self.results += kept
            self.refused += not kept
            if kept:
                latency = result.latency_ms
                self.tally.note(answer.verdict, invoke_ms=latency.invoke, total_ms=latency.total)
