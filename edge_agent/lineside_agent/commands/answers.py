"""What was answered, so that a command that comes again is not done again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from lineside_agent.answers import MAX_ANSWERS
from lineside_agent.keeper import Keeper


class Answers(Protocol):
    """Keeps answers. Both calls come from any thread and wait for nothing."""

    def get(self, requester: str, id: str) -> bytes | None:  # noqa: A002 - the message's own word
        """What `requester` was answered to its command `id`."""

    def keep(self, requester: str, id: str, payload: bytes) -> None:  # noqa: A002 - as above
        """Keep an answer; from now on `get` gives it."""


class MemoryAnswers:
    """The fake, for tests and for trying things out: it forgets when the process ends."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def get(self, requester: str, id: str) -> bytes | None:  # noqa: A002 - as in Answers
        """As `Answers.get`."""
        return self._kept.get((requester, id))

    def keep(self, requester: str, id: str, payload: bytes) -> None:  # noqa: A002 - as in Answers
        """As `Answers.keep`."""
        self._kept[requester, id] = payload
        if len(self._kept) > MAX_ANSWERS:
            self._kept.popitem(last=False)


class KeptAnswers:
    """Answers that a keeper keeps on disk.

    Args:
        keeper: of the agent.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def get(self, requester: str, id: str) -> bytes | None:  # noqa: A002 - as in Answers
        """As `Answers.get`."""
        return self._keeper.get_answer(requester, id)

    def keep(self, requester: str, id: str, payload: bytes) -> None:  # noqa: A002 - as in Answers
        """As `Answers.keep`; it is on disk with the next commit."""
        self._keeper.keep_answer(requester, id, payload)
