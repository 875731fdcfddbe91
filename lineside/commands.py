"""What a station is asked to do, and what it answers: two structs, encoded as JSON.

    …/command               ──▶  Command  ──▶  the station
    …/response/<requester>  ◀──  Response ◀──

A command's `id` is its sender's: the same id from the same requester is the same command, so it
is done once and the stored answer comes again. Pure.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from lineside.complaints import readable_json
from lineside.errors import MessageError
from lineside.topics import NAME_PATTERN

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Op = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9_]{0,63}$(?!\n)",
        extra={"expected": "the name of an op, such as replay,"},
    ),
]

MAX_COMMAND_BYTES: Final = 16 * 1024
"""A command longer than this is refused before it is parsed."""

MAX_LINE: Final = 240
"""Characters of a reason: what it quotes of the sender's is cut off."""


class Command(Struct, kw_only=True):
    """Something that a station is asked to do. Never retained."""

    schema: Literal["lineside.command/1"] = "lineside.command/1"
    id: Name
    """The sender's own name for this command: 1 to 64 of A-Z a-z 0-9 _ -. Sent again by the same
    requester, it is not done again: the answer comes again."""
    requester: Name
    """Who asks: the last level of the topic of the answer."""
    expires_s: Annotated[float, Meta(gt=0.0, le=3600.0)] = 30.0
    """Seconds from its arrival at the station within which it has to be begun; later it is
    refused. The time on its way is limited by MQTT 5's message expiry."""
    op: Op
    """What to do, such as `replay`."""
    args: dict[str, Any] = {}
    """With what: each op has its own, and refuses others."""


class Response(Struct, kw_only=True):
    """The answer to a command. MQTT 5's correlation data of the command comes with it."""

    schema: Literal["lineside.response/1"] = "lineside.response/1"
    site: Name
    station: Name
    boot: str
    """The start of the agent that did it, or refused it."""
    id: str | None
    """Of the command; null if that could not be read."""
    op: str | None
    """Of the command; null if that could not be read."""
    ok: bool
    """Whether it was done."""
    reason: str | None = None
    """Why not, in one line; null if it was."""
    details: dict[str, Any] = {}
    """What the op has to say."""


class Sender(Struct):
    """As much of a command as a refusal needs."""

    requester: Name
    id: Any = None
    op: Any = None


_COMMANDS: Final = msgspec.json.Decoder(Command)
_SENDERS: Final = msgspec.json.Decoder(Sender)
_ENCODER: Final = msgspec.json.Encoder()
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def encode(message: Command | Response) -> bytes:
    """The message as JSON, UTF-8."""
    return _ENCODER.encode(message)


def decode_command(payload: bytes) -> Command:
    """Read a command.

    Raises:
        MessageError: it is longer than MAX_COMMAND_BYTES, is no JSON, or is not what its schema
            says; in one line of MAX_LINE characters at most.
    """
    if len(payload) > MAX_COMMAND_BYTES:
        msg = f"command of {len(payload)} bytes is refused: at most {MAX_COMMAND_BYTES}"
        raise MessageError(msg)
    try:
        return _COMMANDS.decode(payload)
    except msgspec.ValidationError as error:
        msg = f"command is refused: {readable_json(error, payload, Command)}"
        raise MessageError(one_line(msg)) from error
    except _UNREADABLE as error:
        raise MessageError(one_line(f"command is refused: {error}")) from error


def read_sender(payload: bytes) -> Sender | None:
    """Who sent a command that `decode_command` refuses, if that much of it can be read.

    Its `id` and `op` are None where they are not what they must be.
    """
    if len(payload) > MAX_COMMAND_BYTES:
        return None
    try:
        sender = _SENDERS.decode(payload)
    except _UNREADABLE:
        return None
    if not isinstance(sender.id, str) or not re.fullmatch(NAME_PATTERN, sender.id):
        sender.id = None
    if not isinstance(sender.op, str) or len(sender.op) > MAX_LINE:
        sender.op = None
    return sender


def one_line(text: str) -> str:
    """`text` in one printable line of MAX_LINE characters at most."""
    line = "".join(c if c.isprintable() else " " for c in text[: MAX_LINE + 1])
    return line if len(line) <= MAX_LINE else line[: MAX_LINE - 1] + "…"
