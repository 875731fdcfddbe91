"""What can be asked of a station: the ops of its desk, done on its streams."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import msgspec

from lineside.decision import no_read
from lineside.errors import InputError, LinesideError, MessageError
from lineside.image import Frame
from lineside.messages import Limits
from lineside_agent.assemble import Times, assemble
from lineside_agent.clock import clock_synced
from lineside_agent.commands.ops import Kept
from lineside_agent.keeper import Keeper
from lineside_agent.stream import Stream
from lineside_agent.triggers import Firing

log = logging.getLogger(__name__)

SNAPSHOT_S: Final = 2.0
"""Seconds that a frame may take to come for a snapshot."""


class Controls:
    """What commands do to streams. May be used from any thread, but for `settle`.

    Args:
        streams: of the station.
        keeper: keeps accepted triggers.
    """

    def __init__(self, streams: list[Stream], keeper: Keeper) -> None:
        self._streams = {stream.name: stream for stream in streams}
        self._keeper = keeper

    def settle(self) -> None:
        """Answer the triggers of earlier boots that were accepted and never answered.

        The part has passed: each is a `no_read` with the reason `cut_off`. Call it after the
        keeper's start, and again now and then: the outbox may be opened late.
        """
        for journal, stream, journaled in self._keeper.unanswered:
            try:
                firing = Firing.decode(journaled)
            except msgspec.DecodeError:  # of a newer version
                firing = Firing.now("unknown")
            known = self._streams.get(stream)
            if known is not None:
                known.answer(firing, "cut_off", journal, past=True)
            else:
                self._answer_unknown(stream, firing, journal)

    def _answer_unknown(self, name: str, firing: Firing, journal: int) -> None:
        """The stream is not configured any more: its trigger is answered all the same."""
        some = next(iter(self._streams.values()))
        context = replace(some.context, stream=name, camera="", roi=None, models=())
        times = Times(firing.mono_ns, firing.mono_ns, firing.mono_ns)
        result = assemble(
            context,
            n=1,
            firing=firing,
            shot=None,
            answer=no_read("cut_off"),
            times=times,
            clock_synced=clock_synced(),
            source=some.source,
        )
        self._keeper.put(result, wait=False, journal=journal)

    def fire(self, stream: str, firing: Firing, answer: Kept, then: Callable[[], None]) -> None:
        """As `lineside_agent.commands.ops.Fires`.

        The stream looks at once; who asked is answered when the trigger is on disk.
        """
        found = self._stream(stream)
        found.check_fires()
        journal = self._keeper.accept(stream, firing.encode(), answer=answer, then=then)
        if journal is None:  # nothing was done, so the same command may come again
            why = self._keeper.problem or "too many parts wait for the disk, or the station stops"
            msg = f"the trigger can't be kept just now: {why}; send it again"
            raise MessageError(msg)
        try:
            found.fire(firing, journal)
        except LinesideError:  # it is in the journal, so the next boot answers it at the latest
            log.exception("stream %s: a trigger could not be handed over", stream)

    def pause(self, stream: str, paused: bool) -> None:  # noqa: FBT001 - as the op calls it
        """Have a stream look at nothing, or go on.

        Raises:
            InputError: there is no such stream.
        """
        self._stream(stream).paused = paused

    def set_limits(
        self, stream: str, review: float | None, ng: float | None
    ) -> tuple[float | None, float | None]:
        """Use other limits on a stream, until its model changes or the agent starts again.

        Returns:
            Review and ng as they were before.

        Raises:
            InputError: there is no such stream.
        """
        before: Limits = self._stream(stream).set_limits(review, ng)
        return before.review, before.ng

    def newest(self, stream: str) -> Frame | None:
        """A copy of the newest frame of a stream; waits for it.

        Raises:
            InputError: there is no such stream.
        """
        return self._stream(stream).snapshot(SNAPSHOT_S)

    def _stream(self, name: str) -> Stream:
        found = self._streams.get(name)
        if found is None:
            msg = f"there is no stream {name!r}, there is {', '.join(self._streams)}"
            raise InputError(msg)
        return found
