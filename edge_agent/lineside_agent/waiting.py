"""What is not on disk yet: results, events and accepted triggers in memory, bounded.

Numbers are given here, in the order in which results come. One that finds no room is refused
before it gets a number, so that numbers have no gap, and is counted.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from lineside.errors import MessageError
from lineside.messages import Result, encode
from lineside_agent.records import EVENTS, FIRST_GRANT, Entry

MAX_COMMIT: Final = 2000
"""Messages in one commit at most."""

MAX_EVENTS: Final = 100
"""Events that wait at most: they have room of their own, since they tell what is wrong."""

MAX_MESSAGE_BYTES: Final = 64 * 1024
"""A message longer than this is not kept: brokers of small devices drop such connections."""

LOOK_S: Final = 0.25
"""Seconds between looks at whether to stop, for who waits for room."""


class Accepted(Struct, frozen=True):
    """A trigger on its way to the journal.

    Attributes:
        number: its journal number.
        stream: whose it is.
        trigger: what it is, as JSON.
        answer: requester, id and response of the command that brought it.
        then: called once it is on disk.
    """

    number: int
    stream: str
    trigger: bytes
    answer: tuple[str, str, bytes] | None = None
    then: Callable[[], None] | None = None


class Waiting:
    """The memory in front of the disk. Its methods may be called from any thread.

    Args:
        limit: results that wait, and accepted triggers without a result, in all.

    Attributes:
        changed: notified when there is something to write, or room again; it is the lock too.
        ending: nobody waits for room any more.
        urgent: a commit is due now: there is more than one can take, or more numbers were given
            than the file knows of.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._results: deque[Entry] = deque()
        self._events: deque[Entry] = deque()
        self._accepted: list[Accepted] = []
        self._open: dict[int, tuple[str, bytes]] = {}
        self._earlier: set[int] = set()
        self._journal = 1
        self._last: dict[str, int] = {}
        self._granted: dict[str, int] = {}
        self._refused: Counter[str] = Counter()
        self.changed = threading.Condition()
        self.ending = False
        self.ended = False
        self.urgent = False

    def __len__(self) -> int:
        """How many messages wait."""
        return len(self._results) + len(self._events)

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._results or self._events or self._accepted)

    def put(self, result: Result, *, wait: bool, journal: int | None) -> bool:
        """Give a result its number and keep it; see `Keeper.put`."""
        with self.changed:
            if self.ended:  # nobody would write it: it has no number, and is counted
                self._refused[result.stream] += 1
                return False
            reserved = journal in self._open
            while not (reserved or self._has_room(result.stream, wait=wait)):
                if not wait or self.ending:
                    self._refused[result.stream] += 1
                    return False
                self.changed.wait(LOOK_S)
            last = self._last.get(result.stream, 0)
            result.seq = last + 1
            payload = _limited(encode(result))
            self._last[result.stream] = last + 1
            if journal is not None:
                self._open.pop(journal, None)
                self._earlier.discard(journal)
            self._results.append(Entry(result.stream, last + 1, payload, journal))
            self._wake(urgent=last + 1 >= self._granted.get(result.stream, FIRST_GRANT))
            return True

    def _has_room(self, stream: str, *, wait: bool) -> bool:
        """Whether a result may come; who can wait gives no more than the file knows of."""
        if len(self._results) + len(self._open) >= self._limit:
            return False
        return not wait or self._last.get(stream, 0) < self._granted.get(stream, FIRST_GRANT)

    def event(self, payload: bytes) -> int:
        """Keep an event; its number, or 0 where there is no room."""
        _limited(payload)
        with self.changed:
            if len(self._events) >= MAX_EVENTS:
                return 0
            self._last[EVENTS] = self._last.get(EVENTS, 0) + 1
            self._events.append(Entry(EVENTS, self._last[EVENTS], payload))
            self._wake(urgent=False)
            return self._last[EVENTS]

    def accept(
        self,
        stream: str,
        trigger: bytes,
        answer: tuple[str, str, bytes] | None,
        then: Callable[[], None] | None,
    ) -> int | None:
        """Keep a trigger and room for its result; its journal number, None without room."""
        _limited(trigger)
        with self.changed:
            if len(self._results) + len(self._open) >= self._limit:
                return None
            number, self._journal = self._journal, self._journal + 1
            self._open[number] = (stream, trigger)
            self._accepted.append(Accepted(number, stream, trigger, answer, then))
            self._wake(urgent=False)
            return number

    def _wake(self, *, urgent: bool) -> None:
        first = len(self._results) + len(self._events) + len(self._accepted) == 1
        urgent = urgent or len(self._results) >= MAX_COMMIT
        if first or (urgent and not self.urgent):
            self.urgent = self.urgent or urgent
            self.changed.notify_all()

    # What the keeper's thread calls.

    def begin(self, unanswered: Iterable[tuple[int, str, bytes]]) -> None:
        """A file was opened: the accepted triggers of earlier boots that have no result.

        Those of this boot that have none are journaled again, since the file may be a new one.
        """
        with self.changed:
            mine = {n: open_ for n, open_ in self._open.items() if n not in self._earlier}
            self._granted = {}
            for number, stream, trigger in unanswered:
                if number not in mine:
                    self._open[number] = (stream, trigger)
                    self._earlier.add(number)
                    self._journal = max(self._journal, number + 1)
            listed = {accepted.number for accepted in self._accepted}
            again = [Accepted(n, *open_) for n, open_ in mine.items() if n not in listed]
            self._accepted[:0] = again

    @property
    def unanswered(self) -> list[tuple[int, str, bytes]]:
        """The accepted triggers of earlier boots that have no result yet."""
        with self.changed:
            return [(number, *self._open[number]) for number in sorted(self._earlier)]

    def take(self, size: int) -> tuple[list[Entry], list[Accepted]]:
        """What the next commit writes; it stays here until `settle`.

        Args:
            size: the bytes of the payloads at most, but for one message.
        """
        taken: list[Entry] = []
        with self.changed:
            self.urgent = False
            for queue in (self._events, self._results):
                for entry in queue:
                    size -= len(entry.payload)
                    if taken and (size < 0 or len(taken) >= MAX_COMMIT):
                        self.urgent = True
                        break
                    taken.append(entry)
            return taken, list(self._accepted)

    def grants(self, entries: Sequence[Entry]) -> dict[str, int]:
        """The highest numbers that streams may give until the next commit, where they change.

        It is twice what this commit has and what waits behind it, and some. So it bounds what
        is lost when the boot is cut off: a commit is due when it is reached.
        """
        counts = Counter(entry.stream for entry in entries)
        last = {entry.stream: entry.seq for entry in entries}
        changed = {}
        with self.changed:
            for stream, given in self._last.items():
                granted = self._granted.get(stream, FIRST_GRANT)
                if stream == EVENTS or (stream not in last and given <= granted):
                    continue
                waits = given - last.get(stream, granted)
                step = 2 * (counts[stream] + waits) + FIRST_GRANT
                if not given + step // 2 <= granted <= given + 2 * step:
                    changed[stream] = given + step
        return changed

    def settle(
        self, entries: Sequence[Entry], accepted: Sequence[Accepted], granted: Mapping[str, int]
    ) -> None:
        """What was taken is on disk."""
        with self.changed:
            for entry in entries:
                (self._events if entry.stream == EVENTS else self._results).popleft()
            del self._accepted[: len(accepted)]
            self._granted.update(granted)
            self.changed.notify_all()

    def take_refused(self) -> dict[str, int]:
        """How many results of each stream found no room since the last call."""
        with self.changed:
            refused, self._refused = dict(self._refused), Counter()
            return refused

    def give_back(self, refused: Mapping[str, int]) -> None:
        """What was taken could not be said: it is still to be."""
        with self.changed:
            self._refused.update(refused)


def _limited(payload: bytes) -> bytes:
    if len(payload) > MAX_MESSAGE_BYTES:
        msg = f"a message of {len(payload)} bytes is not kept: at most {MAX_MESSAGE_BYTES}"
        raise MessageError(msg)
    return payload
