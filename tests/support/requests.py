"""Commands as they come in, and what the desk says to them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lineside.commands import Command, Response, encode
from lineside.errors import BrokerError
from lineside.messages import decode
from lineside.mqtt import Delivery, Incoming, Outgoing
from lineside.settings import StationSettings
from lineside.topics import Topics
from lineside_agent.commands import Answers, Audit, Desk, MemoryAnswers, Op

BOOT = "0198f1c2-0000-4000-8000-000000000001"
STATION = StationSettings(site="ulm", name="press4")
TOPICS = Topics("ulm", "press4")


def command(op: str = "echo", **fields: Any) -> bytes:  # noqa: ANN401 - of any kind
    """A command as it is sent; args are given as `args`."""
    given = {"id": "c-1", "requester": "hmi"} | fields
    return encode(Command(op=op, **given))


def read_response(payload: bytes) -> Response:
    """An answer as it was sent."""
    response = decode("response", payload)
    assert isinstance(response, Response)
    return response


def incoming(
    payload: bytes,
    *,
    retained: bool = False,
    age_s: float = 0.0,
    response_topic: str | None = None,
    correlation: bytes | None = None,
) -> Incoming:
    """A message on the command topic."""
    arrived = time.monotonic_ns() - int(age_s * 1e9)
    return Incoming(TOPICS.command(), payload, retained, arrived, response_topic, correlation)


class Outside:
    """A broker that takes everything at once.

    Attributes:
        sent: what it was given.
        holding: whether it keeps its acknowledgements back.
        full: whether the client takes nothing more.
    """

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.holding = self.full = False

    def publish(self, message: Outgoing) -> None:
        """As `MqttClient.publish`."""
        if self.full:
            msg = "10000 messages wait already"
            raise BrokerError(msg)
        self.sent.append(message)
        if not self.holding:
            self.acknowledge(message)

    def acknowledge(self, message: Outgoing) -> None:
        """Say that the broker has it."""
        assert message.on_done is not None
        message.on_done(Delivery(ok=True, reason="Success"))

    @property
    def responses(self) -> list[Response]:
        """What was answered."""
        return [read_response(message.payload) for message in self.sent]


class Counter:
    """A desk with everything around it in memory, but for the audit log.

    Attributes:
        desk: the desk.
        outside: what it sends.
        audit: its audit log, which is not written before `audit.start`.
    """

    def __init__(
        self,
        folder: Path,
        ops: Mapping[str, Op],
        *,
        answers: Answers | None = None,
        audit: Audit | None = None,
    ) -> None:
        self.outside = Outside()
        self.audit = audit or Audit(folder / "audit.jsonl", BOOT)
        self.desk = Desk(
            TOPICS,
            STATION,
            BOOT,
            ops,
            send=self.outside.publish,
            answers=answers or MemoryAnswers(),
            audit=self.audit,
        )

    def ask(self, payload: bytes, **options: Any) -> Response:  # noqa: ANN401 - of `incoming`
        """What is said to a command at once."""
        before = len(self.outside.sent)
        self.desk.on_message(incoming(payload, **options))
        (answer,) = self.outside.responses[before:]
        return answer
