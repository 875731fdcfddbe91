"""The thread that owns the outbox, so that nobody else ever waits for the disk.

    put() ──▶ Waiting (memory, bounded) ──commit──▶ disk ──▶ Publisher ──▶ broker
                                            ▲                    │
                                            └──── done ◀─────────┘

Commits are at least `commit_ms` apart, and what came meanwhile shares one; after a pause the
first result is committed at once. While the disk can't be written, results wait in memory; when
there is no more room, new ones are refused before they get a number, so that numbers have no
gap, and are counted and reported. What a full disk still takes, `lineside_agent.room` says.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lineside.errors import StorageError
from lineside.messages import Result
from lineside.settings import OutboxSettings, StationSettings
from lineside_agent import reports
from lineside_agent.answers import Answers
from lineside_agent.commits import Committer
from lineside_agent.custody import BusyError, CorruptError, DiskFullError
from lineside_agent.housekeeping import Housekeeping
from lineside_agent.opening import Opening
from lineside_agent.outbox import Outbox
from lineside_agent.publisher import PAGE, Publisher
from lineside_agent.questions import Questions
from lineside_agent.reports import Report
from lineside_agent.room import Room
from lineside_agent.schedule import LEDGER_S, RETRY_S, TICK_S, Needs, Schedule
from lineside_agent.waiting import Waiting

log = logging.getLogger(__name__)
T = TypeVar("T")


class Keeper:
    """Keeps results and events, and hands them to the publisher once they are on disk.

    Args:
        settings: of the outbox.
        station: whose it is.
        boot: the UUID of this start of the agent.
        publisher: who publishes.
        streams: what the ledger lists from the start.

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
        self._path = Path(settings.path)
        self._room = Room(self._path, settings.max_mb)
        self._opening = Opening(self._path, boot, tuple(streams), self._room)
        self._housekeeping = Housekeeping(settings, self._room, publisher)
        self._answers = Answers(min(4_000_000, self._room.file // 8))
        self._waiting = Waiting(settings.waiting)
        self._committer = Committer(
            self._waiting, self._answers, self._housekeeping, self._room, publisher, streams
        )
        self._questions = Questions()
        self._outbox: Outbox | None = None
        self._cursor = (0, 0)
        self._schedule = Schedule(settings.commit_ms / 1000)
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self.problem: str | None = None
        self.turns = 0
        self.ledger = reports.ledger([], boot, self._committer.committed)

    # What others call, from any thread.

    def start(self) -> None:
        """Open the outbox and begin.

        Raises:
            BusyError: it is used by another agent, or by a newer version. Any other trouble is
                a `problem` that may pass.
        """
        try:
            self._open()
        except BusyError:
            raise
        except StorageError as error:
            self._trouble(error)
        self._thread.start()

    def put(self, result: Result, *, wait: bool, journal: int | None = None) -> bool:
        """Give a result its number and keep it.

        Args:
            result: its `seq` is set here.
            wait: whether to wait for room where there is none. A live camera does not.
            journal: the number of the accepted trigger that it answers: it has its room, and is
                answered once the result is on disk.

        Returns:
            Whether it is kept; otherwise it is counted and reported.

        Raises:
            MessageError: it is longer than `lineside_agent.waiting.MAX_MESSAGE_BYTES`.
        """
        return self._waiting.put(result, wait=wait, journal=journal)

    def accept(
        self,
        stream: str,
        trigger: bytes,
        *,
        answer: tuple[str, str, bytes] | None = None,
        then: Callable[[], None] | None = None,
    ) -> int | None:
        """Accept a trigger: after a crash it is `unanswered`, until there is a result for it.

        Args:
            stream: who is to answer it.
            trigger: what it is, as JSON.
            answer: requester, id and response of the command that brought it: kept in the same
                transaction.
            then: called on the keeper's thread once it is on disk; later than usual where the
                disk fails meanwhile. It must neither wait nor raise.

        Returns:
            The number to give to `put`; None if it is not accepted, since there is no room for
            its result or the disk can't be written.

        Raises:
            MessageError: it is longer than `lineside_agent.waiting.MAX_MESSAGE_BYTES`.
        """
        if self.problem is not None or self._outbox is None or self._waiting.ending:
            return None
        return self._waiting.accept(stream, trigger, answer, then)

    @property
    def unanswered(self) -> list[tuple[int, str, bytes]]:
        """The accepted triggers of earlier boots without a result: number, stream, trigger."""
        return self._waiting.unanswered

    def get_answer(self, requester: str, command: str) -> bytes | None:
        """The response to a command that was answered before, if it is still kept."""
        return self._answers.get(requester, command)

    def keep_answer(self, requester: str, command: str, payload: bytes) -> None:
        """Keep the response to a command: in memory at once, on disk with the next commit."""
        self._answers.keep(requester, command, payload)
        self.wake()

    def event(self, kind: str, message: str, **details: Any) -> int:  # noqa: ANN401 - JSON of any kind
        """Report that something happened.

        Args:
            kind: such as `camera_lost`.
            message: one sentence for a person.
            details: what a program may want to know, as JSON.

        Returns:
            Its number, 0 if there was no room.
        """
        log.log(logging.INFO if kind in reports.GOOD_NEWS else logging.WARNING, "%s", message)
        report = Report(kind, message, details)
        return self._waiting.event(reports.payload(report, self._station, self._boot))

    def ask(self, work: Callable[[Outbox], T], then: Callable[[T | StorageError], None]) -> None:
        """Read a little from the outbox, on the keeper's thread, once live results are done with.

        Args:
            work: reads, and takes a few milliseconds at most. It changes nothing.
            then: gets what `work` returned, or why there is nothing: the outbox can't be read,
                too many questions wait already, or the keeper has ended. It is called once, on
                the keeper's thread or, where the question is refused, before this returns.
        """
        self._questions.ask(work, then)
        self.wake()

    @property
    def pending(self) -> int:
        """How many messages the broker has not confirmed yet, on disk and in memory."""
        waiting = len(self._waiting)  # first: what is committed meanwhile counts twice, not never
        outbox = self._outbox
        on_disk = outbox.pending - self._publisher.done_count if outbox is not None else 0
        return waiting + max(0, on_disk)

    @property
    def kept(self) -> int:
        """How many results are on disk, published or not."""
        outbox = self._outbox
        return outbox.kept if outbox is not None else 0

    @property
    def lost(self) -> int:
        """How many results of this and earlier boots went for want of room, not published."""
        return self._housekeeping.lost

    @property
    def bytes(self) -> int:
        """What the outbox's files use of the disk."""
        return self._room.used

    @property
    def waiting(self) -> int:
        """How many messages are not on disk yet."""
        return len(self._waiting)

    def wake(self) -> None:
        """There is something to do now."""
        with self._waiting.changed:
            self._waiting.changed.notify_all()

    def stop(self) -> bool:
        """Commit what waits, note what is confirmed, and close the file.

        Returns:
            Whether everything is on disk.
        """
        self._waiting.ending = True
        self.wake()
        if self._thread.ident is not None:
            self._thread.join(30.0)
        return not self._waiting

    # On the keeper's thread, but for the first opening:

    def _run(self) -> None:
        while not self._waiting.ending:
            self.turns += 1
            with self._waiting.changed:
                pause = min(self._due().values()) - time.monotonic()
                if pause > 0:
                    self._waiting.changed.wait(pause)
            try:
                self._turn()
            except Exception as error:  # without this thread nothing would be kept any more
                log.exception("the keeper failed in an unforeseen way")
                self._trouble(StorageError(repr(error)))
                time.sleep(RETRY_S)
        self._guard(self._commit if self.problem is None else self._retry)
        self._guard(self._report_lost)
        while self._waiting and self.problem is None:
            self._guard(self._commit)
        self._waiting.ended = True
        self._questions.end(self._outbox or StorageError("the outbox is closed"))
        self._guard(self._refresh_ledger)
        if self._outbox is not None:
            try:
                self._outbox.close(clean=not self._waiting)
            except StorageError as error:
                log.error("%s", error)  # noqa: TRY400 - one line for a person

    def _due(self) -> dict[str, float]:
        """When there is what to do, on the monotonic clock."""
        done = self._publisher.done_count
        outbox = self._outbox if self.problem is None else None
        needs = Needs(
            asked=bool(self._questions),
            failed=self.problem is not None,
            urgent=self._waiting.urgent,
            waits=bool(self._waiting or self._answers.waiting or done >= PAGE // 2),
            done=done > 0,
            backlog=outbox is not None and self._publisher.wants_backlog(outbox.pending),
            room=outbox is not None,
            pressing=outbox is not None and self._housekeeping.pressing(outbox),
        )
        return self._schedule.due(needs)

    def _turn(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        due = {name for name, at in self._due().items() if at <= now}
        if "tick" in due:
            self._schedule.ticked_at = now
            self._publisher.tick()
            if now >= self._schedule.ledger_at:
                self._guard(self._refresh_ledger)
                self._guard(self._report_lost)
        write = self._commit if self.problem is None else self._retry
        for name, work in (("commit", write), ("refill", self._refill), ("prune", self._prune)):
            if name in due:
                self._guard(work)
        if "ask" in due:
            closed = StorageError(self.problem or f"{self._path} is not open")
            self._questions.answer_one(self._outbox or closed)

    def _guard(self, work: Callable[[], None]) -> None:
        """Do something with the disk, and live with it when that fails."""
        try:
            if self._outbox is None:
                self._open()
            work()
        except CorruptError as error:
            self._reopen(error)
        except StorageError as error:
            self._trouble(error)

    def _trouble(self, error: StorageError) -> None:
        self._schedule.retry_at = time.monotonic() + RETRY_S
        if isinstance(error, DiskFullError):
            self._room.release()
        if self.problem is None:
            self.event("outbox_failed", f"results wait in memory: {error}")
        self.problem = str(error)

    def _open(self) -> None:
        outbox, said = self._opening.open()
        self._waiting.begin(outbox.past.unanswered)
        self._answers.load(outbox.past.answers)
        self._outbox = outbox
        for report in said:
            self._report(report)
        for boot, streams in outbox.past.cut_off.items():
            event = self._report(reports.cut_off(boot, streams, self._settings))
            self._committer.tells(event, boot)

    def _reopen(self, error: CorruptError) -> None:
        """The file was damaged while it was in use: move it aside and go on with a new one."""
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            # What is being published keeps its id, and the new file does not give it again.
            self._opening.first_id = outbox.next_id
            with contextlib.suppress(StorageError):
                outbox.close(clean=False)
        self._cursor = (0, 0)
        self._publisher.orphan()
        self._committer.begin()
        try:
            self._report(self._opening.put_aside(error))
        except StorageError as failed:
            self._trouble(failed)

    def _retry(self) -> None:
        """Try a disk that failed; without its reserve only what is small, or fits into the file."""
        self._schedule.retry_at = time.monotonic() + RETRY_S
        if self._room.restore():
            self._commit()
        else:
            self._committer.write(self._opened, spare=True)
            self._prune()

    def _commit(self) -> None:
        """Write what waits; what makes it fail is a problem until this has worked again."""
        begun = time.monotonic()
        self._committer.write(self._opened)
        self._schedule.committed_at = begun
        if self.problem is not None:
            self.problem = None
            self.event("outbox_back", f"{self._path} can be written again")

    def _refill(self) -> None:
        rows = self._opened.backlog(self._cursor, PAGE)
        if len(rows) == PAGE:
            self._cursor = (rows[-1].series, rows[-1].seq)
        else:  # that was the end: begin again, but not in a tight loop
            self._cursor, self._schedule.refill_at = (0, 0), time.monotonic() + TICK_S
        self._publisher.refill(rows)

    def _prune(self) -> None:
        self._housekeeping.prune(self._opened)
        if self.problem is None:
            self._room.restore()
        self._schedule.pruned_at = time.monotonic()

    def _refresh_ledger(self) -> None:
        self._schedule.ledger_at = time.monotonic() + LEDGER_S
        self.ledger = reports.ledger(self._opened.ledger(), self._boot, self._committer.committed)

    def _report_lost(self) -> None:
        """Say what had to go, and how many results found no room, once there is room again."""
        self._committer.tell_losses(
            self._opened, lambda losses: self._report(reports.lost(losses, self._settings))
        )
        refused = self._waiting.take_refused() if self.problem is None else {}
        if refused and not self._report(reports.refused(refused, self._settings)):
            self._waiting.give_back(refused)

    def _report(self, report: Report) -> int:
        return self.event(report.kind, report.message, **report.details)

    @property
    def _opened(self) -> Outbox:
        assert self._outbox is not None  # noqa: S101 - _guard has opened it
        return self._outbox
