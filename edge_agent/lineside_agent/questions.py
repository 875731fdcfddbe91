"""What others ask the outbox: answered on the keeper's thread, one at a time."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from lineside.errors import StorageError
from lineside_agent.outbox import Outbox

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_ASKED: Final = 100
"""Questions that wait at most."""


class Questions:
    """Questions that wait, MAX_ASKED at most. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: deque[Callable[[Outbox | StorageError], None]] = deque()
        self._ended = False

    def __bool__(self) -> bool:
        """Whether any waits."""
        return bool(self._asked)

    def ask(self, work: Callable[[Outbox], T], then: Callable[[T | StorageError], None]) -> None:
        """See `Keeper.ask`."""

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

        with self._lock:
            refused = self._ended or len(self._asked) >= MAX_ASKED
            if not refused:
                self._asked.append(answer)
        if refused:
            answer(StorageError("the outbox is busy or stops: ask again later"))

    def answer_one(self, outbox: Outbox | StorageError) -> None:
        """Answer the oldest, if there is one."""
        with self._lock:
            answer = self._asked.popleft() if self._asked else None
        if answer is not None:
            answer(outbox)

    def end(self, outbox: Outbox | StorageError) -> None:
        """Answer all, and take no more."""
        with self._lock:
            self._ended = True
        while self._asked:
            self.answer_one(outbox)
