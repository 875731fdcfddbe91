"""What every trigger is."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from lineside.messages import Trigger as TriggerMessage


class Firing(Struct, frozen=True, kw_only=True):
    """A part is there. As JSON it is what the outbox's journal holds of it."""

    kind: str
    """Of the trigger, as in the settings."""
    mono_ns: int
    """When, in ns of the monotonic clock."""
    id: Annotated[str, Meta(max_length=128)] | None = None
    """What whoever triggered calls this."""
    part_id: Annotated[str, Meta(max_length=128)] | None = None
    """What the part is called."""
    context: dict[str, str] = {}
    """What is carried along, such as an order number."""

    @classmethod
    def now(
        cls,
        kind: str,
        *,
        id: str | None = None,  # noqa: A002 - the message's own word
        part_id: str | None = None,
        context: dict[str, str] | None = None,
    ) -> Firing:
        """A part that is there at this moment."""
        return cls(
            kind=kind,
            mono_ns=time.monotonic_ns(),
            id=id,
            part_id=part_id,
            context=context or {},
        )

    @property
    def message(self) -> TriggerMessage:
        """What a result says of it."""
        return TriggerMessage(kind=self.kind, id=self.id, mono_ns=self.mono_ns)

    def encode(self) -> bytes:
        """For the journal."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, journaled: bytes) -> Firing:
        """From the journal.

        Raises:
            msgspec.DecodeError: it is none.
        """
        return msgspec.json.decode(journaled, type=cls)


class Trigger(ABC):
    """Says when there is a part. `wait` is called by the stream's thread alone.

    A subclass must override `_wait`; one that others fire overrides `push` and `drain` too.

    Args:
        kind: what it is called in the settings.
        what: what follows the colon there.
        queue: how many parts may wait to be looked at.
    """

    def __init__(self, kind: str, what: str, *, queue: int) -> None:
        self.kind = kind
        self.what = what
        self.queue = queue

    def wait(self, timeout_s: float) -> tuple[Firing, int | None] | None:
        """The next part, and its number in the journal if it is in there.

        Args:
            timeout_s: how long to wait for it.

        Returns:
            None if there was none within the time.
        """
        return self._wait(timeout_s)

    def push(self, firing: Firing, journal: int | None) -> bool:  # noqa: ARG002 - for subclasses
        """A part is there; from any thread.

        Returns:
            False if too many wait already, or if this trigger can't be fired by others.
        """
        return False

    def drain(self) -> list[tuple[Firing, int | None]]:
        """The parts that wait and will not be looked at any more; `push` takes none from now on."""
        return []

    @abstractmethod
    def _wait(self, timeout_s: float) -> tuple[Firing, int | None] | None:
        """The next part within the time."""
