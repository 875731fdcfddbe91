"""The op `replay`: results again, as they were, for the one who asked.

    {"stream": "top", "boot": "0198f1c2-…", "ranges": [[3, 9], [12, 12]]}

A page at a time is read by the keeper and given to the publisher, which sends it behind all
that is live. One replay runs at a time, others wait for their turn.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Final, Protocol

from msgspec import Meta

from lineside.commands import Name
from lineside.errors import MessageError, StorageError
from lineside.topics import Topics
from lineside_agent.commands.request import Args, Reply, Request
from lineside_agent.outbox import Outbox

log = logging.getLogger(__name__)

PAGE: Final = 200
"""Results read and sent at once; a page of the longest results has 13 MB."""

MAX_RESULTS: Final = 100_000
"""Results that one command may ask for."""

MAX_GONE: Final = 1000
"""Ranges of missing results that one answer lists at most; then the replay ends there."""

Seq = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Rows = list[tuple[int, bytes]]


class ReplayArgs(Args, frozen=True, kw_only=True):
    """What to send again."""

    stream: Name
    boot: Annotated[str, Meta(min_length=1, max_length=64)]
    ranges: Annotated[list[tuple[Seq, Seq]], Meta(min_length=1, max_length=100)]
    """First and last sequence number of each."""


class Asks(Protocol):
    """Reads from the outbox: `lineside_agent.keeper.Keeper.ask`."""

    def __call__(
        self, work: Callable[[Outbox], Rows], then: Callable[[Rows | StorageError], None]
    ) -> None:
        """Call `then` with what `work` returned, or why it could not, once and soon."""


class Sends(Protocol):
    """Sends them: `lineside_agent.publisher.Publisher.replay`."""

    def __call__(self, topic: str, payloads: Sequence[bytes], then: Callable[[int], None]) -> bool:
        """Call `then` with how many the broker has, once; False: another replay is on its way."""


@dataclass(eq=False)
class _Job:
    """A replay that was asked for."""

    args: ReplayArgs
    requester: str
    reply: Reply
    left: deque[tuple[int, int]]
    sent: int = 0
    gone: list[tuple[int, int]] = field(default_factory=list)


class Replays:
    """Does replays, one after the other. Its methods are called from any thread.

    Args:
        topics: of the station.
        ask: reads from the outbox.
        send: sends a page.
    """

    def __init__(self, topics: Topics, ask: Asks, send: Sends) -> None:
        self._topics = topics
        self._ask = ask
        self._send = send
        self._lock = threading.Lock()
        self._waiting: deque[_Job] = deque()
        self._running = False

    def __call__(self, request: Request, reply: Reply) -> None:
        """The op.

        Raises:
            MessageError: the arguments are refused.
        """
        args = request.read(ReplayArgs)
        count = 0
        for first, last in args.ranges:
            if last < first:
                msg = f"range [{first}, {last}] is refused: its last number is below its first"
                raise MessageError(msg)
            count += last - first + 1
        if count > MAX_RESULTS:
            msg = f"{count} results are too many for one replay: ask for at most {MAX_RESULTS}"
            raise MessageError(msg)
        reply.wait()
        job = _Job(args, request.command.requester, reply, deque(args.ranges))
        with self._lock:
            self._waiting.append(job)
            if self._running:
                return
            self._running = True
        self._start()

    def _start(self) -> None:
        """Begin the next one whose time is not over."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._running = False
                    return
                job = self._waiting.popleft()
            if job.reply.begin():
                self._read(job)
                return

    def _read(self, job: _Job) -> None:
        """Read the next page, or say that there is none."""
        if not job.left or len(job.gone) >= MAX_GONE:
            job.reply.ok(sent=job.sent, gone=job.gone[:MAX_GONE])
            self._start()
            return
        first, last = job.left[0]
        boot, stream = job.args.boot, job.args.stream
        self._ask(
            lambda outbox: outbox.results(boot, stream, first, last, PAGE),
            partial(self._found, job),
        )

    def _found(self, job: _Job, rows: Rows | StorageError) -> None:
        """A page was read: send it."""
        if isinstance(rows, StorageError):
            self._fail(job, f"results can't be read: {rows}")
            return
        first, last = job.left.popleft()
        for number, _ in rows:
            if number > first:
                job.gone.append((first, number - 1))
            first = number + 1
        if len(rows) == PAGE and first <= last:
            job.left.appendleft((first, last))
        elif first <= last:
            job.gone.append((first, last))
        if not rows:
            self._read(job)
            return
        topic = self._topics.replay(job.requester, job.args.stream)
        payloads = [payload for _, payload in rows]
        if not self._send(topic, payloads, partial(self._sent, job, len(rows))):
            self._fail(job, "another replay is on its way: ask again later")

    def _sent(self, job: _Job, expected: int, sent: int) -> None:
        """The page is on its way's end."""
        job.sent += sent
        if sent < expected:
            self._fail(job, f"the broker refuses {self._topics.replay(job.requester, '…')}")
            return
        self._read(job)

    def _fail(self, job: _Job, reason: str) -> None:
        job.reply.refuse(reason, sent=job.sent)
        self._start()
