"""Commands that a station must refuse, of every kind, made from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from lineside.mqtt import Incoming
from tests.support.requests import TOPICS, command, incoming

HUGE = b'{"requester":"hmi","id":"' + b"x" * 10_000_000 + b'"}'
WRONG: list[Any] = [
    None,
    True,
    -1,
    1.5,
    "",
    "a/b",
    "+",
    "#",
    "\n",
    "x" * 100,
    [],
    [[]],
    {},
    {"a": 1},
]


@dataclass
class Malformed:
    """Something that comes in on the command topic.

    Attributes:
        message: it.
        requester: who can be answered; None where that can't be read.
        text: what the refusal says.
    """

    message: Incoming
    requester: str | None
    text: str


def _good(rng: random.Random, **fields: Any) -> bytes:  # noqa: ANN401 - of any kind
    number = f"{rng.getrandbits(60):x}"
    return command(**({"id": number, "args": {"text": "hi"}} | fields))


def _changed(rng: random.Random, **changes: Any) -> bytes:  # noqa: ANN401 - of any kind
    return json.dumps(json.loads(_good(rng)) | changes).encode()


def _noise(rng: random.Random) -> Malformed:
    payload = rng.choice([b"\xff", b"{", b"hello", b""]) + rng.randbytes(1 + rng.randrange(200))
    return Malformed(incoming(payload), None, "command is refused: ")


def _noise_with_topic(rng: random.Random) -> Malformed:
    message = incoming(b"}" + rng.randbytes(20), response_topic=TOPICS.response("plc"))
    return Malformed(message, "plc", "malformed")


def _cut(rng: random.Random) -> Malformed:
    payload = _good(rng)
    return Malformed(incoming(payload[: rng.randrange(1, len(payload))]), None, "truncated")


def _wrong_type(rng: random.Random) -> Malformed:
    field = rng.choice(["id", "op", "expires_s", "args"])
    fits = {"expires_s": (1.5,), "args": ({}, {"a": 1})}.get(field, ())
    wrong = rng.choice([value for value in WRONG if value not in fits])
    return Malformed(incoming(_changed(rng, **{field: wrong})), "hmi", f"{field}: ")


def _wrong_requester(rng: random.Random) -> Malformed:
    message = incoming(_changed(rng, requester=rng.choice(WRONG)))
    return Malformed(message, None, "requester: ")


def _missing(rng: random.Random) -> Malformed:
    field = rng.choice(["id", "op"])
    raw = json.loads(_good(rng))
    del raw[field]
    return Malformed(incoming(json.dumps(raw).encode()), "hmi", f"{field!r} is missing")


def _huge(_rng: random.Random) -> Malformed:
    message = incoming(HUGE, response_topic=TOPICS.response("hmi"))
    return Malformed(message, "hmi", f"command of {len(HUGE)} bytes is refused: at most 16384")


def _deep(rng: random.Random) -> Malformed:
    depth = rng.randrange(4000, 7000)
    nested = rng.choice([b"[" * depth + b"]" * depth, b'{"a":' * (depth // 3) + b"1"])
    payload = b'{"id":"d","requester":"hmi","op":"echo","args":{"text":' + nested + b"}}"
    try:
        msgspec.json.decode(payload)
    except (RecursionError, msgspec.DecodeError):
        return Malformed(incoming(payload), None, "command is refused: ")
    # From Python 3.13 on, C may go so deep: then it is like any other argument of a wrong type.
    return Malformed(incoming(payload), "hmi", "args of echo are refused")


def _shallow(rng: random.Random) -> Malformed:
    """Nested, but not so deep that it could not be read."""
    depth = rng.randrange(2, 300)
    nested = json.loads("[" * depth + "]" * depth)
    return Malformed(incoming(_good(rng, args={"text": nested})), "hmi", "args of echo are refused")


def _schema(rng: random.Random) -> Malformed:
    schema = rng.choice(["lineside.command/2", "lineside.result/1", "x" * 5000, 7])
    return Malformed(incoming(_changed(rng, schema=schema)), "hmi", "command is refused: ")


def _op(rng: random.Random) -> Malformed:
    message = incoming(_good(rng, op=rng.choice(["reboot", "eval", "x" * 64])))
    return Malformed(message, "hmi", "unknown op")


def _args(rng: random.Random) -> Malformed:
    args = rng.choice([{}, {"text": 7}, {"text": "hi", "more": 1}, {"texte": "hi"}])
    return Malformed(incoming(_good(rng, args=args)), "hmi", "args of echo are refused")


def _expired(rng: random.Random) -> Malformed:
    message = incoming(_good(rng, expires_s=rng.uniform(0.1, 30)), age_s=31)
    return Malformed(message, "hmi", "expired")


def _retained(rng: random.Random) -> Malformed:
    return Malformed(incoming(_good(rng), retained=True), "hmi", "retained")


def _elsewhere(rng: random.Random) -> Malformed:
    topic = rng.choice(["a", "lineside/ulm/press4/result/top", TOPICS.response("other"), "x" * 999])
    return Malformed(incoming(_good(rng), response_topic=topic), "hmi", "response topic")


KINDS: list[Callable[[random.Random], Malformed]] = [
    _noise,
    _noise_with_topic,
    _cut,
    _wrong_type,
    _wrong_requester,
    _missing,
    _huge,
    _deep,
    _shallow,
    _schema,
    _op,
    _args,
    _expired,
    _retained,
    _elsewhere,
]


def malformed(count: int, seed: int = 0) -> Iterator[Malformed]:
    """So many of them, each kind as often as the others."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    for number in range(count):
        yield KINDS[number % len(KINDS)](rng)
