"""The border to the network: what comes in as a command is checked, done once, and answered.

    …/command ──▶ size, retained, JSON, schema, who, response topic
                    │ refused ─────────────────────────────────────────▶ …/response/<requester>
                    ▼
                  known id? ── yes ──▶ the stored answer ──────────────▶ …/response/<requester>
                    │ no
                    ▼
                  op, time, quota ──▶ op(request, reply) ──▶ stored ───▶ …/response/<requester>

Nothing that comes in can stop it, make it wait or grow: all it holds is bounded.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from lineside.commands import (
    Command,
    Response,
    Sender,
    decode_command,
    encode,
    one_line,
    read_sender,
)
from lineside.complaints import meant
from lineside.errors import LinesideError, MessageError
from lineside.mqtt import Incoming, Outgoing
from lineside.settings import StationSettings
from lineside.topics import NAME_PATTERN, Topics
from lineside_agent.commands.answers import Answers
from lineside_agent.commands.audit import Audit
from lineside_agent.commands.mailbox import Letter, Mailbox
from lineside_agent.commands.quota import RATE_HZ, Quota
from lineside_agent.commands.request import EXPIRED, Answered, Op, Reply, Request

log = logging.getLogger(__name__)

OUTCOMES: Final = ("received", "accepted", "done", "refused", "repeated", "failed")
"""What is counted of commands."""

MAX_OPEN: Final = 64
"""Commands that are begun or wait, and are not answered yet, at most."""

MAX_OPEN_EACH: Final = 16
"""The same for one requester."""

MAX_ASKERS: Final = 4
"""Different correlations under which one command is asked while it is done, at most."""

KEPT_BYTES: Final = 16 * 1024
"""An answer longer than this, such as a picture, is kept in memory only."""

RECENT: Final = 8
"""Longer answers that are kept in memory."""

ROUTINE: Final = frozenset({"trigger"})
"""Ops that the audit log leaves out where they are done: they are the production itself, each
has its result, and they would push out what matters."""

Key = tuple[str, str]
"""Requester and id."""


@dataclass(eq=False)
class _Open:
    """A command that is not answered yet.

    Attributes:
        reply: what its op answers with.
        correlations: of those who wait for the answer.
    """

    reply: Reply
    correlations: list[bytes | None] = field(default_factory=list)


class Desk:
    """Takes commands and answers them.

    Args:
        topics: of the station.
        station: whose it is.
        boot: the UUID of this start of the agent.
        ops: what can be asked.
        send: gives a message to the client, such as `MqttClient.publish`.
        answers: keeps what was answered.
        audit: notes what was asked and what came of it.

    Attributes:
        counts: commands `received`, `accepted` by their ops, `done`, `refused` (by desk or op),
            `repeated`, and `failed` where the desk itself made a mistake; all begin at 0.
    """

    def __init__(
        self,
        topics: Topics,
        station: StationSettings,
        boot: str,
        ops: Mapping[str, Op],
        *,
        send: Callable[[Outgoing], None],
        answers: Answers,
        audit: Audit,
    ) -> None:
        self._topics = topics
        self._station = station
        self._boot = boot
        self._ops = dict(ops)
        self._mailbox = Mailbox(send)
        self._answers = answers
        self._audit = audit
        self._quota = Quota()
        self._lock = threading.Lock()
        self._open: dict[Key, _Open] = {}
        self._recent: OrderedDict[Key, bytes] = OrderedDict()
        self.counts: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))

    @property
    def unsent(self) -> int:
        """Answers and refusals that were not sent: too many at once, or the broker refused."""
        return self._mailbox.lost

    def on_message(self, message: Incoming) -> None:
        """A message came on the command topic. On the MQTT thread: never waits, never raises."""
        if not message.payload:  # it clears what was retained, and asks for nothing
            return
        try:
            self._count("received")
            self._take(message)
        except Exception:
            self._count("failed")
            log.exception("a command could not be dealt with")

    def tick(self) -> None:
        """Refuse what has waited longer than its time. On the main thread, a few times a second."""
        with self._lock:
            waiting = [entry.reply for entry in self._open.values() if entry.reply.waiting]
        for reply in waiting:
            reply.expire()

    def _take(self, message: Incoming) -> None:
        try:
            command = self._read(message)
        except MessageError as error:
            sender = read_sender(message.payload) or self._named(message.response_topic)
            self._refuse(sender, message, str(error))
            return
        if self._repeated(command, message):
            return
        sender = Sender(command.requester, command.id, command.op)
        request = Request(command, message.mono_ns)
        op = self._ops.get(command.op)
        if op is None:
            hint = meant(command.op, self._ops) or f": one of {', '.join(self._ops)} is expected"
            self._refuse(sender, message, f"unknown op {command.op!r}{hint}")
        elif request.expired:
            self._refuse(sender, message, EXPIRED)
        elif not self._quota.take(command.requester):
            line = f"too many commands: at most {RATE_HZ:g} a second; send it again later"
            self._refuse(sender, message, line)
        elif (busy := self._busy(command.requester)) is not None:
            self._refuse(sender, message, busy)
        else:
            self._do(op, request, message)

    def _read(self, message: Incoming) -> Command:
        """The command.

        Raises:
            MessageError: it is none that may come so.
        """
        if message.retained:
            msg = "command is refused: it was retained, and may be old; publish it without retain"
            raise MessageError(msg)
        command = decode_command(message.payload)
        own = self._topics.response(command.requester)
        if message.response_topic not in {None, own}:
            msg = f"response topic {message.response_topic!r} is refused: only {own} is answered on"
            raise MessageError(msg)
        return command

    def _named(self, response_topic: str | None) -> Sender | None:
        """Who sent what can't be read, if the response topic says so."""
        head = self._topics.response("")
        if response_topic is None or not response_topic.startswith(head):
            return None
        name = response_topic[len(head) :]
        return Sender(name) if re.fullmatch(NAME_PATTERN, name) else None

    def _repeated(self, command: Command, message: Incoming) -> bool:
        """Whether this command came before; then it is answered as it was."""
        key = (command.requester, command.id)
        with self._lock:
            entry = self._open.get(key)
            if entry is not None:
                correlations = entry.correlations
                if message.correlation not in correlations and len(correlations) < MAX_ASKERS:
                    correlations.append(message.correlation)
            payload = self._recent.get(key)
        if entry is None:
            payload = payload or self._answers.get(*key)
            if payload is None:
                return False
            topic = self._topics.response(command.requester)
            self._mailbox.later(Letter(topic, payload, message.correlation))
        self._count("repeated")
        self._note("repeated", Sender(command.requester, command.id, command.op), refused=True)
        return True

    def _busy(self, requester: str) -> str | None:
        with self._lock:
            each = sum(name == requester for name, _ in self._open)
            if len(self._open) < MAX_OPEN and each < MAX_OPEN_EACH:
                return None
        return "too many commands are not done yet; send it again later"

    def _do(self, op: Op, request: Request, message: Incoming) -> None:
        command = request.command
        key = (command.requester, command.id)
        sender = Sender(command.requester, command.id, command.op)
        reply = Reply(
            self._response(command.id, command.op), request, partial(self._answered, request)
        )
        with self._lock:
            self._open[key] = _Open(reply, [message.correlation])
        try:
            op(request, reply)
        except MessageError as error:  # nothing was done, so there is nothing to keep
            with self._lock:
                entry = self._open.pop(key, None)
            if entry is not None:
                self._refuse(sender, message, str(error))
            return
        except LinesideError as error:
            reply.refuse(str(error))
        except Exception as error:
            log.exception("op %s failed", command.op)
            reply.refuse(f"the station failed to do it ({type(error).__name__}): see its log")
        self._count("accepted")
        with self._lock:  # so that it is noted before its outcome, or not at all
            if key in self._open and command.op not in ROUTINE:
                self._note("accepted", sender, args=command.args)

    def _answered(self, request: Request, answered: Answered) -> None:
        """An op gave its answer. On any thread."""
        command, response = request.command, answered.response
        key = (command.requester, command.id)
        if not answered.kept:
            self._keep(key, answered)
        with self._lock:
            correlations = self._open.pop(key).correlations
            self.counts["done" if response.ok else "refused"] += 1
        if not response.ok or command.op not in ROUTINE:
            sender = Sender(command.requester, command.id, command.op)
            self._note(
                "answered", sender, ok=response.ok, reason=response.reason, args=command.args
            )
        topic = self._topics.response(command.requester)
        for correlation in correlations:
            self._mailbox.answer(Letter(topic, answered.payload, correlation))

    def _keep(self, key: Key, answered: Answered) -> None:
        """Keep an answer for when its command comes again."""
        payload = answered.payload
        if len(payload) > KEPT_BYTES:
            with self._lock:
                self._recent[key] = payload
                if len(self._recent) > RECENT:
                    self._recent.popitem(last=False)
            size = len(payload)
            line = f"done already, and its answer of {size} bytes is not kept: send a new id"
            old = answered.response
            payload = encode(self._response(old.id, old.op, line))
        try:
            self._answers.keep(*key, payload)
        except LinesideError as error:
            log.warning("an answer is not kept: %s", error)

    def _refuse(self, sender: Sender | None, message: Incoming, reason: str) -> None:
        """Refuse what does not become a command; nothing of it is kept."""
        self._count("refused")
        line = one_line(reason)
        self._note("refused", sender, refused=True, reason=line, bytes=len(message.payload))
        if sender is not None:
            response = self._response(sender.id, sender.op, line)
            topic = self._topics.response(sender.requester)
            self._mailbox.later(Letter(topic, encode(response), message.correlation))

    def _response(self, number: str | None, op: str | None, reason: str | None = None) -> Response:
        return Response(
            site=self._station.site,
            station=self._station.name,
            boot=self._boot,
            id=number,
            op=op,
            ok=False,
            reason=reason,
        )

    def _note(
        self,
        step: str,
        sender: Sender | None,
        *,
        refused: bool = False,
        **fields: Any,  # noqa: ANN401 - JSON of any kind
    ) -> None:
        who = sender or Sender("")
        self._audit.record(
            "command",
            refused=refused,
            step=step,
            requester=who.requester or None,
            id=who.id,
            op=who.op,
            **fields,
        )

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1
