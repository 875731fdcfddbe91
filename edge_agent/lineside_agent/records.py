"""What goes into an outbox and comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final

from msgspec import Struct

from lineside_agent.past import Answer

EVENTS: Final = ""
"""The name of the stream that holds events."""

FIRST_GRANT: Final = 8
"""How many numbers a stream may give before its first commit."""


class State(IntEnum):
    """What became of a message."""

    PENDING = 0
    """To be published."""
    CONFIRMED = 1
    """The broker has it (MQTT 5), or it came back to us (3.1.1)."""
    UNCONFIRMED = 2
    """Over MQTT 3.1.1 it was acknowledged, and never came back to us."""


class Entry(Struct, frozen=True, gc=False):
    """A message to keep.

    Attributes:
        stream: the stream of a result; EVENTS for an event.
        seq: from 1, without a gap, within this boot and the stream.
        payload: the message as it is published.
        journal: the number of the accepted trigger that it answers.
    """

    stream: str
    seq: int
    payload: bytes
    journal: int | None = None


class Row(Struct, frozen=True, gc=False):
    """A message that is on disk.

    Attributes:
        id: its place in the outbox.
        series: which boot and stream, in the order in which they began.
        seq: its number there.
        stream: as in `Entry`.
        payload: as in `Entry`.
    """

    id: int
    series: int
    seq: int
    stream: str
    payload: bytes


class Aside(Struct, frozen=True, kw_only=True):
    """What is committed beside messages, in the same transaction.

    Attributes:
        accepted: triggers: number, stream and trigger of each.
        answers: to commands.
        forgotten: answers up to this number are deleted.
        granted: the highest numbers that streams may give until the next commit, where they
            change.
        told: losses up to this number are deleted, since an event among the entries names them.
        ended: boots that were cut off, of which events among the entries tell.
    """

    accepted: Sequence[tuple[int, str, bytes]] = ()
    answers: Sequence[Answer] = ()
    forgotten: int = 0
    granted: Mapping[str, int] = {}
    told: int = 0
    ended: Sequence[str] = ()
