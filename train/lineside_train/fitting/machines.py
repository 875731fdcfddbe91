"""The machines that share a training: one, unless it was asked for more."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any


class Alone:
    """One machine, and what several would have to agree on.

    A subclass overrides everything. What is collective must be called by all machines alike, in
    the same order, from the main thread: one that doesn't keeps the others waiting.

    Attributes:
        count: how many machines there are.
        index: which of them this is, counted from 0; the first one reads and writes the files.
    """

    count = 1
    index = 0

    def rows(self, total: int) -> slice:
        """Which rows of a batch are this machine's.

        Args:
            total: rows of the whole batch.

        Raises:
            TrainError: they can't be divided.
        """
        return slice(0, total)

    def scope(self) -> AbstractContextManager[None]:
        """What Keras makes inside is shared by all machines, and so is what it trains."""
        return contextlib.nullcontext()

    def spread(self, network: Any) -> Any:  # noqa: ANN401 - Keras has no types
        """The network to train on all machines, with the first one's variables. Collective.

        Args:
            network: of this machine alone.
        """
        return network

    def first(self, data: bytes) -> bytes:
        """The first machine's `data`. Collective."""
        return data

    def everyone(self, data: bytes) -> list[bytes]:
        """Each machine's `data`, a few numbers, in the order of the machines. Collective."""
        return [data]

    def any(self, found: bool) -> bool:  # noqa: FBT001 - the only thing that is said
        """Whether any machine has found something. Collective."""
        return found

    def leave(self) -> None:
        """There is nothing left to do together. Collective."""


ALONE = Alone()
