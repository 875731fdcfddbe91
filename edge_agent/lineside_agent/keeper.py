"""The thread that owns the outbox, so that nobody else ever waits for the disk.

    put() ──▶ waiting (memory, bounded) ──commit──▶ disk ──▶ Publisher ──▶ broker
                                            ▲                    │
                                            └──── done ◀─────────┘

Commits are at least `commit_ms` apart, and what came meanwhile shares one; after a pause the
first result is committed at once. While the disk can't be written, results wait in memory; when
there is no more room, new ones are refused before they get a number, so that numbers have no
gap, and are counted and reported.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from lineside.errors import MessageError, StorageError
from lineside.messages import Event, Ledger, Result, encode
from lineside.settings import OutboxSettings, StationSettings
from lineside_agent.custody import BusyError, CorruptError, quarantine
from lineside_agent.outbox import EVENTS, Entry, Outbox
from lineside_agent.publisher import PAGE, Publisher

log = logging.getLogger(__name__)

GOOD_NEWS: Final = frozenset({"started", "stopped", "camera_back", "outbox_back"})
"""Events that are no warning."""

TICK_S: Final = 0.25
"""Seconds between looks at the clock, at most."""

NOTE_S: Final = 0.5
"""Seconds that confirmations wait for a commit, unless they are many."""

RETRY_S: Final = 1.0
"""Seconds between attempts to write to a disk that failed."""

PRUNE_S: Final = 10.0
"""Seconds between looks at the retention."""

LEDGER_S: Final = 1.0
"""Seconds between looks at the ledger."""

MAX_COMMIT: Final = 2000
"""Messages in one commit at most."""

MAX_PRUNE: Final = 5000
"""Messages deleted at once at most."""

MAX_ASKED: Final = 100
"""Questions that wait at most."""

MAX_MESSAGE_BYTES: Final = 64 * 1024
"""A message longer than this is not kept: brokers of small devices drop such connections."""


T = TypeVar("T")


class Keeper:
    """Keeps results and events, and hands them to the publisher once they are on disk.

    Args:
        settings: of the outbox.
        station: whose it is.
        boot: the UUID of this start of the agent.
        publisher: who publishes.
        streams: what the ledger lists from the start, before there is a result.

    Attributes:
        problem: why nothing can be kept just now, in one line; None if all is well.
        ledger: what is kept of each boot and stream, refreshed every LEDGER_S.
        turns: how often its thread has come round: it stands still only while the disk holds it.
    """

    def __init__(
        self,
        settings: OutboxSettings,
        station: StationSettings,
        boot: str,
        publisher: Publisher,
        streams: Sequence[str] = (),
    ) -> None:
        self._settings = settings
        self._station = station
        self._boot = boot
        self._publisher = publisher
        publisher.wake = self.wake
        self._committed = dict.fromkeys(streams, 0)
        self._path = Path(settings.path)
        self._outbox: Outbox | None = None
        self._changed = threading.Condition()
        self._waiting: deque[Entry] = deque()
        self._asked: deque[Callable[[Outbox | StorageError], None]] = deque()
        self._last: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._ending = False
        self._cursor = (0, 0)
        self._first_id = 1
        self._committed_at = self._ticked_at = self._pruned_at = time.monotonic()
        self._retry_at = self._ledger_at = self._refill_at = 0.0
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self.problem: str | None = None
        self.turns = 0
        self.ledger = self._with_streams([])

    # What others call, from any thread.

    def start(self) -> None:
        """Open the outbox and begin.

        Raises:
            BusyError: it is used by another agent, or by a newer version. Any other trouble is
                a `problem` that may pass.
        """
        try:
            self._outbox = self._open()
        except BusyError:
            raise
        except StorageError as error:
            self._trouble(error)
        self._thread.start()

    def put(self, result: Result, *, wait: bool) -> bool:
        """Give a result its number and keep it.

        Args:
            result: its `seq` is set here.
            wait: whether to wait for room where there is none. A live camera does not.

        Returns:
            Whether it is kept; otherwise it is counted and reported.

        Raises:
            MessageError: it is longer than MAX_MESSAGE_BYTES.
        """
        with self._changed:
            while len(self._waiting) >= self._settings.waiting:
                if not wait or self._ending:
                    self._refused[result.stream] += 1
                    return False
                self._changed.wait(TICK_S)
            result.seq = self._last[result.stream] + 1
            self._keep(result.stream, encode(result))
            return True

    def event(self, kind: str, message: str, **details: Any) -> None:  # noqa: ANN401 - JSON of any kind
        """Report that something happened.

        Args:
            kind: such as `camera_lost`.
            message: one sentence for a person.
            details: what a program may want to know, as JSON.
        """
        log.log(logging.INFO if kind in GOOD_NEWS else logging.WARNING, "%s", message)
        event = Event(
            site=self._station.site,
            station=self._station.name,
            boot=self._boot,
            at=datetime.now(timezone.utc),
            kind=kind,
            message=message,
            details=details,
        )
        payload = encode(event)
        if len(payload) > MAX_MESSAGE_BYTES:
            event.details = {}
            payload = encode(event)
        with self._changed:
            # Beyond the bound there is room for a few events: they tell what is wrong.
            if len(self._waiting) < self._settings.waiting + 100:
                self._keep(EVENTS, payload)

    def ask(self, work: Callable[[Outbox], T], then: Callable[[T | StorageError], None]) -> None:
        """Read a little from the outbox, on the keeper's thread, once live results are done with.

        Args:
            work: reads, and takes a few milliseconds at most. It changes nothing.
            then: gets what `work` returned, or why there is nothing: the outbox can't be read,
                MAX_ASKED questions wait already, or the keeper has ended. It is called once, on
                the keeper's thread or, where the question is refused, before this returns.
        """

        def answer(outbox: Outbox | StorageError) -> None:
            if isinstance(outbox, StorageError):
                then(outbox)
                return
            try:
                found: T | StorageError = work(outbox)
            except StorageError as error:
                found = error
            except Exception as error:
                log.exception("a question to the outbox failed in an unforeseen way")
                found = StorageError(repr(error))
            then(found)

        with self._changed:
            refused = self._ending or len(self._asked) >= MAX_ASKED
            if not refused:
                self._asked.append(answer)
                self._changed.notify_all()
        if refused:
            answer(StorageError("the outbox is busy or stops: ask again later"))

    @property
    def pending(self) -> int:
        """How many messages the broker has not confirmed yet, on disk and in memory."""
        outbox = self._outbox
        on_disk = outbox.pending - self._publisher.done_count if outbox is not None else 0
        return len(self._waiting) + max(0, on_disk)

    @property
    def waiting(self) -> int:
        """How many messages are not on disk yet."""
        return len(self._waiting)

    def wake(self) -> None:
        """There is something to do now."""
        with self._changed:
            self._changed.notify_all()

    def stop(self) -> bool:
        """Commit what waits, note what is confirmed, and close the file.

        Returns:
            Whether everything is on disk.
        """
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(30.0)
        return not self._waiting

    def _keep(self, stream: str, payload: bytes) -> None:
        if len(payload) > MAX_MESSAGE_BYTES:
            msg = f"a message of {len(payload)} bytes is not kept: at most {MAX_MESSAGE_BYTES}"
            raise MessageError(msg)
        self._last[stream] += 1
        self._waiting.append(Entry(stream, self._last[stream], payload))
        if len(self._waiting) == 1:
            self._changed.notify_all()

    # What follows runs on the keeper's thread, but for the first opening.

    def _run(self) -> None:
        while not self._ending:
            self.turns += 1
            with self._changed:
                pause = min(self._due().values()) - time.monotonic()
                if pause > 0:
                    self._changed.wait(pause)
            try:
                self._turn()
            except Exception as error:  # without this thread nothing would be kept any more
                log.exception("the keeper failed in an unforeseen way")
                self._trouble(StorageError(repr(error)))
                time.sleep(RETRY_S)
        self._guard(self._commit)
        while self._waiting and self.problem is None:
            self._guard(self._commit)
        while self._asked:
            self._answer_one()
        self._guard(self._refresh_ledger)
        if self._outbox is not None:
            try:
                self._outbox.close(clean=not self._waiting)
            except StorageError as error:
                log.error("%s", error)  # noqa: TRY400 - one line for a person

    def _due(self) -> dict[str, float]:
        """When there is what to do, on the monotonic clock."""
        due = {"tick": self._ticked_at + TICK_S}
        if self._asked:
            due["ask"] = 0.0
        done = self._publisher.done_count
        if self.problem is not None:
            due["commit"] = self._retry_at
        elif self._waiting or done >= PAGE // 2:
            due["commit"] = self._committed_at + self._settings.commit_ms / 1000
        elif done:
            due["commit"] = self._committed_at + NOTE_S
        if self._outbox is not None and self.problem is None:
            if self._publisher.wants_backlog(self._outbox.pending):
                due["refill"] = self._refill_at
            if self._outbox.kept > self._settings.max_results:
                due["prune"] = self._ticked_at
            else:
                due["prune"] = self._pruned_at + PRUNE_S
        return due

    def _turn(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        due = {name for name, at in self._due().items() if at <= now}
        if "tick" in due:
            self._ticked_at = now
            self._publisher.tick()
            self._report_refused()
            if now >= self._ledger_at:
                self._guard(self._refresh_ledger)
        for name, work in (
            ("commit", self._commit),
            ("refill", self._refill),
            ("prune", self._prune),
        ):
            if name in due:
                self._guard(work)
        if "ask" in due:
            self._answer_one()

    def _answer_one(self) -> None:
        """Answer the oldest question; one at a time, so that commits come between."""
        answer = self._asked.popleft()
        if self._outbox is None:
            answer(StorageError(self.problem or f"{self._path} is not open"))
        else:
            answer(self._outbox)

    def _guard(self, work: Callable[[], None]) -> None:
        """Do something with the disk, and live with it when that fails."""
        try:
            if self._outbox is None:
                self._outbox = self._open()
            work()
        except CorruptError as error:
            self._reopen(error)
        except StorageError as error:
            self._trouble(error)

    def _trouble(self, error: StorageError) -> None:
        self._retry_at = time.monotonic() + RETRY_S
        if self.problem is None:
            self.event("outbox_failed", f"results wait in memory: {error}")
        self.problem = str(error)

    def _open(self) -> Outbox:
        try:
            outbox = Outbox(self._path, self._boot, first_id=self._first_id)
        except CorruptError as error:
            moved = quarantine(self._path)
            outbox = Outbox(self._path, self._boot, first_id=self._first_id)
            self.event(
                "outbox_quarantined",
                f"{error}; it was moved to {moved.name} and a new one begun",
                file=moved.name,
            )
        for boot in outbox.cut_off:
            self.event(
                "cut_off",
                f"boot {boot} ended without a stop: results of its last moments may be missing",
                cut_off=boot,
                commit_ms=self._settings.commit_ms,
            )
        return outbox

    def _reopen(self, error: CorruptError) -> None:
        """The file was damaged while it was in use: move it aside and go on with a new one."""
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            # What is being published keeps its id, and the new file does not give it again.
            self._first_id = outbox.next_id
            with contextlib.suppress(StorageError):
                outbox.close(clean=False)
        self._cursor = (0, 0)
        try:
            moved = quarantine(self._path)
        except StorageError as failed:
            self._trouble(failed)
            return
        self.event(
            "outbox_quarantined",
            f"{error}; it was moved to {moved.name} and a new one begun",
            file=moved.name,
        )

    def _commit(self) -> None:
        outbox = self._opened
        entries = list(islice(self._waiting, MAX_COMMIT))
        done = self._publisher.take_done()
        try:
            rows = outbox.commit(entries, done)
        except BaseException:
            self._publisher.give_back(done)
            raise
        self._committed_at = time.monotonic()
        with self._changed:
            for _ in entries:
                self._waiting.popleft()
            self._changed.notify_all()
        self._committed.update({entry.stream: entry.seq for entry in entries})
        self._publisher.forget(done)
        self._publisher.offer(rows)
        if self.problem is not None:
            self.problem = None
            self.event("outbox_back", f"{self._path} can be written again")

    def _refill(self) -> None:
        rows = self._opened.backlog(self._cursor, PAGE)
        if len(rows) == PAGE:
            self._cursor = (rows[-1].series, rows[-1].seq)
        else:  # that was the end: begin again, but not in a tight loop
            self._cursor, self._refill_at = (0, 0), time.monotonic() + TICK_S
        self._publisher.refill(rows)

    def _prune(self) -> None:
        pruned = self._opened.prune(
            retention_s=self._settings.retention_h * 3600,
            max_results=self._settings.max_results,
            at_once=MAX_PRUNE,
        )
        if pruned.results + pruned.events < MAX_PRUNE:  # otherwise there is more
            self._pruned_at = time.monotonic()
        if pruned.lost:
            count = sum(loss.last - loss.first + 1 for loss in pruned.lost)
            self.event(
                "results_lost",
                f"{count} results were deleted before the broker had them: "
                f"outbox.max_results is {self._settings.max_results}",
                lost=[asdict(loss) for loss in pruned.lost],
            )

    def _refresh_ledger(self) -> None:
        self._ledger_at = time.monotonic() + LEDGER_S
        self.ledger = self._with_streams(self._opened.ledger())

    def _with_streams(self, kept: list[Ledger]) -> list[Ledger]:
        """The ledger with a line for each stream of this boot, also where nothing is kept."""
        there = {line.stream for line in kept if line.boot == self._boot}
        new = [
            Ledger(boot=self._boot, stream=s, first=last + 1, last=last, published_through=last)
            for s, last in self._committed.items()
            if s not in there and s != EVENTS
        ]
        return new + kept

    def _report_refused(self) -> None:
        """Say how many results found no room, once there is room again."""
        with self._changed:
            if not self._refused or self.problem is not None:
                return
            refused, self._refused = dict(self._refused), Counter()
        count = sum(refused.values())
        self.event(
            "results_lost",
            f"{count} results were dropped while the disk could not take them: "
            f"outbox.waiting is {self._settings.waiting}",
            dropped=refused,
        )

    @property
    def _opened(self) -> Outbox:
        assert self._outbox is not None  # noqa: S101 - _guard has opened it
        return self._outbox
