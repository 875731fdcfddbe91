"""Answers on their way to the broker, so few at a time that results never wait behind them."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from lineside.errors import BrokerError
from lineside.mqtt import Delivery, Outgoing

log = logging.getLogger(__name__)

IN_FLIGHT: Final = 4
"""Answers that the MQTT client is given at a time."""

MAX_WAITING: Final = 1000
"""Answers, and as many refusals, that wait at most."""

MAX_BYTES: Final = 4 * 1024 * 1024
"""Bytes of answers, and as many of refusals, that wait at most."""


class _Line:
    """A bounded line of messages."""

    def __init__(self) -> None:
        self._messages: deque[Letter] = deque()
        self._bytes = 0

    def put(self, letter: Letter) -> bool:
        size = self._bytes + len(letter.payload)
        if len(self._messages) >= MAX_WAITING or size > MAX_BYTES:
            return False
        self._messages.append(letter)
        self._bytes = size
        return True

    def pop(self) -> Letter | None:
        if not self._messages:
            return None
        letter = self._messages.popleft()
        self._bytes -= len(letter.payload)
        return letter


class Letter(msgspec.Struct, frozen=True):
    """A response, and where it goes."""

    topic: str
    payload: bytes
    correlation: bytes | None


class Mailbox:
    """Sends first answers first, then what can wait. Its methods are called from any thread.

    Args:
        send: gives a message to the client, such as `MqttClient.publish`.

    Attributes:
        lost: answers and refusals that were not sent: too many waited, or the broker refused.
    """

    def __init__(self, send: Callable[[Outgoing], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._answers, self._others = _Line(), _Line()
        self._on_way = 0
        self.lost = 0

    def answer(self, letter: Letter) -> None:
        """Send the answer of an op."""
        self._put(self._answers, letter)

    def later(self, letter: Letter) -> None:
        """Send a refusal of what the desk does not let through, or an answer once more."""
        self._put(self._others, letter)

    def _put(self, line: _Line, letter: Letter) -> None:
        with self._lock:
            if not line.put(letter):
                self.lost += 1
        self._pump()

    def _pump(self) -> None:
        while True:
            with self._lock:
                if self._on_way >= IN_FLIGHT:
                    return
                letter = self._answers.pop() or self._others.pop()
                if letter is None:
                    return
                self._on_way += 1
            try:
                self._send(
                    Outgoing(
                        letter.topic,
                        letter.payload,
                        on_done=self._sent,
                        correlation=letter.correlation,
                    )
                )
            except BrokerError as error:
                self._note(Delivery(ok=False, reason=str(error)))

    def _sent(self, delivery: Delivery) -> None:
        self._note(delivery)
        self._pump()

    def _note(self, delivery: Delivery) -> None:
        with self._lock:
            self._on_way -= 1
            if not delivery.ok:
                self.lost += 1
        if not delivery.ok:
            log.warning("an answer was not sent: %s", delivery.reason)
