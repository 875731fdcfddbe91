"""What commands were answered: the newest answers, in memory and soon on disk."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from lineside_agent.past import Answer

MAX_ANSWERS: Final = 10_000
"""Answers that are kept at most; then the oldest go."""


class Answers:
    """The newest answers to commands. Its methods may be called from any thread.

    Args:
        max_bytes: how much their payloads may be in all; the oldest go, and one that is longer
            than a quarter of that is not kept.

    Attributes:
        forgotten: answers up to this number are not kept any more.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], Answer] = {}
        self._unsaved: dict[int, Answer] = {}
        self._bytes = 0
        self._next = 1
        self.forgotten = 0

    def load(self, answers: Iterable[Answer]) -> None:
        """Take what is on disk, the oldest first. What is here already is newer and is saved."""
        with self._lock:
            mine = list(self._kept.values())
            self._kept, self._unsaved, self._bytes = {}, {}, 0
            for answer in answers:
                self._next = max(self._next, answer.number + 1)
                self._add(answer)
            for answer in mine:
                self._keep(answer.requester, answer.id, answer.payload)

    def get(self, requester: str, command: str) -> bytes | None:
        """What the command of this id was answered, if it is still known."""
        with self._lock:
            found = self._kept.get((requester, command))
            return None if found is None else found.payload

    def keep(self, requester: str, command: str, payload: bytes) -> None:
        """Keep an answer; one with the same id goes."""
        with self._lock:
            self._keep(requester, command, payload)

    @property
    def waiting(self) -> bool:
        """Whether an answer is not on disk yet."""
        return bool(self._unsaved)

    def unsaved(self, max_bytes: int, first: Iterable[tuple[str, str]] = ()) -> list[Answer]:
        """Answers that are not on disk, the oldest first, not much more than `max_bytes`.

        Args:
            max_bytes: of their payloads.
            first: requester and id of those that come before all others, whatever their size.
        """
        with self._lock:
            wanted = [self._kept[key] for key in first if key in self._kept]
            found = {a.number: a for a in wanted if a.number in self._unsaved}
            max_bytes -= sum(len(answer.payload) for answer in found.values())
            for answer in self._unsaved.values():
                if max_bytes <= 0:
                    break
                if answer.number not in found:
                    found[answer.number] = answer
                    max_bytes -= len(answer.payload)
        return list(found.values())

    def saved(self, answers: Iterable[Answer]) -> None:
        """They are on disk."""
        with self._lock:
            for answer in answers:
                self._unsaved.pop(answer.number, None)

    def _keep(self, requester: str, command: str, payload: bytes) -> None:
        if len(payload) > self._max_bytes // 4:
            return
        answer = Answer(self._next, requester, command, payload)
        self._next += 1
        self._unsaved[answer.number] = answer
        self._add(answer)

    def _add(self, answer: Answer) -> None:
        self._forget(self._kept.pop((answer.requester, answer.id), None))
        self._kept[answer.requester, answer.id] = answer
        self._bytes += len(answer.payload)
        while self._bytes > self._max_bytes or len(self._kept) > MAX_ANSWERS:
            oldest = self._kept.pop(next(iter(self._kept)))
            self._forget(oldest)
            self.forgotten = oldest.number

    def _forget(self, answer: Answer | None) -> None:
        if answer is not None:
            self._bytes -= len(answer.payload)
            self._unsaved.pop(answer.number, None)
