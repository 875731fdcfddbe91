"""What is in memory goes to disk, and from there to the publisher: one transaction at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from lineside_agent.answers import Answers
from lineside_agent.housekeeping import Housekeeping
from lineside_agent.outbox import Outbox
from lineside_agent.publisher import Publisher
from lineside_agent.records import EVENTS, Aside, Entry, State
from lineside_agent.retention import Loss
from lineside_agent.room import Room
from lineside_agent.waiting import Accepted, Waiting

MAX_LOSSES: Final = 200
"""Ranges of lost results that one event names at most."""


class Committer:
    """Writes what waits. It is used on the keeper's thread alone.

    Args:
        waiting: what is not on disk yet.
        answers: to commands.
        housekeeping: makes room.
        room: how much one transaction may hold.
        publisher: gets what is on disk, and says what became of it.
        streams: what is known from the start.

    Attributes:
        committed: the last number of each stream that is on disk.
    """

    def __init__(
        self,
        waiting: Waiting,
        answers: Answers,
        housekeeping: Housekeeping,
        room: Room,
        publisher: Publisher,
        streams: Sequence[str],
    ) -> None:
        self._waiting = waiting
        self._answers = answers
        self._housekeeping = housekeeping
        self._room = room
        self._publisher = publisher
        self._loss_event = 0
        self._cut_off: dict[int, str] = {}
        self.committed = dict.fromkeys(streams, 0)

    def write(self, outbox: Outbox, *, spare: bool = False) -> None:
        """One transaction, and more where there is more to note than one may hold.

        Args:
            outbox: where to.
            spare: whether to use no more of the disk than what is small needs: results go only
                as far as they fit into the file as it is.

        Raises:
            StorageError: nothing of it is written: messages and what became of older ones wait
                and accepted triggers wait for the next time.
        """
        entries, accepted = self._waiting.take(self._room.transaction)
        done = self._publisher.take_done()
        part = done[: self._room.wal_pages]
        size = sum(len(entry.payload) for entry in entries)
        try:
            if not spare:
                self._housekeeping.fit(outbox, len(entries), size)
            elif not self._housekeeping.fits(outbox, len(entries), size):
                entries = [entry for entry in entries if entry.stream == EVENTS]
            aside = self._aside(entries, accepted)
            rows = outbox.commit(entries, part, aside)
        except BaseException:
            # Accepted triggers wait, too: their parts are looked at already, so to refuse them now
            # would give whoever sends them again a second result.
            self._publisher.give_back(done)
            raise
        self._waiting.settle(entries, accepted, aside.granted)
        self._answers.saved(aside.answers)
        if aside.told:
            self._housekeeping.told = 0
        for number in [n for n, boot in self._cut_off.items() if boot in aside.ended]:
            del self._cut_off[number]
        self.committed.update({e.stream: e.seq for e in entries if e.stream != EVENTS})
        self._publisher.forget(part)
        self._publisher.offer(rows)
        for trigger in accepted:
            if trigger.then is not None:
                trigger.then()
        self._note(outbox, done[len(part) :])

    def tell_losses(self, outbox: Outbox, report: Callable[[list[Loss]], int]) -> None:
        """Have an event name what had to go, one at a time: what follows shares the next one.

        Args:
            outbox: which.
            report: makes the event; its number, or 0 where there is no room for it.
        """
        if self._housekeeping.told or outbox.waits(EVENTS, self._loss_event):
            return
        told, losses = outbox.losses(MAX_LOSSES)
        if losses:
            # Once the event is on disk, what it names is no loss to be told any more.
            self._loss_event = report(losses)
            self._housekeeping.told = told if self._loss_event else 0

    def begin(self) -> None:
        """The file is a new one: what is being told was noted in the old one."""
        self._loss_event = self._housekeeping.told = 0
        self._cut_off.clear()

    def tells(self, event: int, boot: str) -> None:
        """An event that waits tells how a boot was cut off: once it is on disk, no other has to."""
        if event:
            self._cut_off[event] = boot

    def _note(self, outbox: Outbox, done: list[tuple[int, State]]) -> None:
        """Note what became of messages, as many at once as a transaction may hold."""
        for start in range(0, len(done), self._room.wal_pages):
            part = done[start : start + self._room.wal_pages]
            try:
                outbox.commit((), part)
            except BaseException:
                self._publisher.give_back(done[start:])
                raise
            self._publisher.forget(part)

    def _aside(self, entries: Sequence[Entry], accepted: Sequence[Accepted]) -> Aside:
        for trigger in accepted:
            if trigger.answer is not None:
                self._answers.keep(*trigger.answer)
        events = max((entry.seq for entry in entries if entry.stream == EVENTS), default=0)
        return Aside(
            accepted=[(trigger.number, trigger.stream, trigger.trigger) for trigger in accepted],
            # The answer to a trigger goes with it: a kill behind this commit must not make it new.
            answers=self._answers.unsaved(
                self._room.transaction, first=[t.answer[:2] for t in accepted if t.answer]
            ),
            forgotten=self._answers.forgotten,
            granted=self._waiting.grants(entries),
            told=self._housekeeping.told if events >= self._loss_event else 0,
            ended=[boot for event, boot in self._cut_off.items() if event <= events],
        )
