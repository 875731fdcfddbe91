"""The ops that change how a station works: pause, resume, trigger, set_limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Protocol

from msgspec import Meta, field

from lineside.commands import Name
from lineside.errors import MessageError
from lineside.messages import Score
from lineside_agent.commands.audit import Audit
from lineside_agent.commands.request import Args, Op, Reply, Request
from lineside_agent.triggers import Firing

Text = Annotated[str, Meta(max_length=128)]

Kept = tuple[str, str, bytes]
"""Requester, id and payload of an answer that is stored."""

Limits = tuple[float | None, float | None]
"""Review and ng; a limit that is None is not used."""


class StreamArgs(Args, frozen=True, kw_only=True):
    """Of `pause`, `resume` and `snapshot`."""

    stream: Name


class TriggerArgs(Args, frozen=True, kw_only=True):
    """Of `trigger`."""

    stream: Name
    part_id: Text | None = None
    """What the part is called, such as a serial number."""
    context: Annotated[dict[Text, Text], Meta(max_length=16)] = field(default_factory=dict)
    """What is carried along, such as an order number."""


class LimitsArgs(Args, frozen=True, kw_only=True):
    """Of `set_limits`. A limit that is null is not used."""

    stream: Name
    review: Score | None
    ng: Score | None


class Fires(Protocol):
    """Triggers a stream."""

    def __call__(self, stream: str, firing: Firing, answer: Kept, then: Callable[[], None]) -> None:
        """A part is there.

        Args:
            stream: where.
            firing: what is known of the part.
            answer: requester, id and payload of the answer, to be stored in the same transaction
                as the trigger.
            then: called once both are on disk, unless an error is raised.

        Raises:
            InputError: there is no such stream, or commands don't trigger it.
            MessageError: there is no room for it just now.
        """


def pause_op(set_paused: Callable[[str, bool], None], *, paused: bool) -> Op:
    """`pause` or `resume`: a paused stream gives no results, and triggers become `no_read`.

    Args:
        set_paused: takes the stream and whether it pauses; raises InputError for an unknown one.
        paused: which of the two.
    """

    def op(request: Request, reply: Reply) -> None:
        args = request.read(StreamArgs)
        set_paused(args.stream, paused)
        reply.ok(stream=args.stream, paused=paused)

    return op


def trigger_op(fire: Fires) -> Op:
    """`trigger`: a part is there. It is answered once the trigger is on disk."""

    def op(request: Request, reply: Reply) -> None:
        args = request.read(TriggerArgs)
        command = request.command
        firing = Firing(
            kind="command",
            mono_ns=request.mono_ns,
            id=command.id,
            part_id=args.part_id,
            context=args.context,
        )
        drafted = reply.draft(stream=args.stream)

        kept = (command.requester, command.id, drafted.payload)
        fire(args.stream, firing, kept, lambda: reply.give(drafted))

    return op


def limits_op(
    set_limits: Callable[[str, float | None, float | None], Limits],
    audit: Audit,
    tell: Callable[..., object],
) -> Op:
    """`set_limits`: other limits than the bundle's, until the agent is started again.

    Args:
        set_limits: takes the stream, review and ng, and returns what was in force before; raises
            InputError for an unknown stream.
        audit: notes it.
        tell: reports it as an event: `lineside_agent.keeper.Keeper.event`.
    """

    def op(request: Request, reply: Reply) -> None:
        args = request.read(LimitsArgs)
        if args.review is not None and args.ng is not None and args.review > args.ng:
            msg = f"limits are refused: review is {args.review:g}, above ng, which is {args.ng:g}"
            raise MessageError(msg)
        before = set_limits(args.stream, args.review, args.ng)
        after = (args.review, args.ng)
        command = request.command
        audit.record(
            "limits",
            requester=command.requester,
            id=command.id,
            stream=args.stream,
            before=before,
            after=after,
        )
        changed = {"before": _named(before), "after": _named(after)}
        tell(
            "limits_changed",
            f"stream {args.stream}: {command.requester} has set the limits to review "
            f"{args.review}, ng {args.ng}",
            stream=args.stream,
            by=command.requester,
            **changed,
        )
        reply.ok(stream=args.stream, **changed)

    return op


def _named(limits: Limits) -> dict[str, float | None]:
    return {"review": limits[0], "ng": limits[1]}
