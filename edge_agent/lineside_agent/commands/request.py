"""What an op is given: a command to do, and a way to answer it, from any thread, once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from lineside.commands import Command, Response, encode, one_line
from lineside.complaints import readable
from lineside.errors import MessageError
from lineside.messages import MAX_MESSAGE_BYTES

log = logging.getLogger(__name__)

EXPIRED: Final = "expired before it could be begun: send it anew, under a new id"
"""Why a command that waited too long is not done."""

T = TypeVar("T", bound=Struct)


class Args(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an op's own struct of arguments inherits: an unknown one is refused."""


@dataclass(frozen=True, slots=True)
class Request:
    """A command that came.

    Attributes:
        command: what is asked.
        mono_ns: when it came, in ns of the monotonic clock.
    """

    command: Command
    mono_ns: int

    @property
    def expired(self) -> bool:
        """Whether its time to be begun is over."""
        return time.monotonic_ns() - self.mono_ns > self.command.expires_s * 1e9

    def read(self, struct: type[T]) -> T:
        """Its arguments, checked.

        Raises:
            MessageError: they are not what `struct` says.
        """
        try:
            return msgspec.convert(self.command.args, struct)
        except msgspec.ValidationError as error:
            args = self.command.args
            msg = f"args of {self.command.op} are refused: {readable(str(error), args, struct)}"
            raise MessageError(msg) from error
        except RecursionError as error:
            msg = f"args of {self.command.op} are refused: {error}"
            raise MessageError(msg) from error


class _State(Enum):
    BEGUN = "begun"
    WAITING = "waiting"
    ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a command.

    Attributes:
        response: as it was said.
        payload: as it is sent.
        kept: whether it is stored already, together with what it promises.
    """

    response: Response
    payload: bytes
    kept: bool = False


class Reply:
    """The answer to one command. An op gives it once, at once or later, from any thread.

    An op that can't begin at once calls `wait` before it returns, and `begin` when its turn
    comes: in between, the desk refuses the command when its time is over.

    Args:
        response: the answer so far: whose it is and to what.
        request: what is answered.
        done: called once with what became of it.
    """

    def __init__(
        self, response: Response, request: Request, done: Callable[[Answered], None]
    ) -> None:
        self._response = response
        self._request = request
        self._done = done
        self._lock = threading.Lock()
        self._state = _State.BEGUN

    @property
    def waiting(self) -> bool:
        """Whether it has not been begun."""
        return self._state is _State.WAITING

    def wait(self) -> None:
        """It is begun later."""
        with self._lock:
            if self._state is _State.BEGUN:
                self._state = _State.WAITING

    def begin(self) -> bool:
        """It is begun now; False if it was refused, because its time is over."""
        self.expire()
        with self._lock:
            if self._state is _State.ANSWERED:
                return False
            self._state = _State.BEGUN
            return True

    def ok(self, **details: Any) -> None:  # noqa: ANN401 - JSON of any kind
        """It was done.

        Args:
            details: what there is to say of it, as JSON.
        """
        self._finish(self._draft(ok=True, details=details))

    def refuse(self, reason: str, **details: Any) -> None:  # noqa: ANN401 - JSON of any kind
        """It was not done.

        Args:
            reason: why not, in one line that names the way out.
            details: what there is to say of it, as JSON.
        """
        self._finish(self._draft(ok=False, reason=reason, details=details))

    def draft(self, **details: Any) -> Answered:  # noqa: ANN401 - JSON of any kind
        """The answer that it was done, not given yet: to be stored with what it promises."""
        drafted = self._draft(ok=True, details=details)
        return Answered(drafted.response, drafted.payload, kept=True)

    def give(self, drafted: Answered) -> None:
        """Give an answer that was drafted, and stored."""
        self._finish(drafted)

    def expire(self) -> None:
        """Refuse it if it still waits to be begun and its time is over."""
        with self._lock:
            if self._state is not _State.WAITING or not self._request.expired:
                return
            self._state = _State.ANSWERED
        self._done(self._draft(ok=False, reason=EXPIRED))

    def _draft(
        self, *, ok: bool, reason: str | None = None, details: dict[str, Any] | None = None
    ) -> Answered:
        response = msgspec.structs.replace(
            self._response,
            ok=ok,
            reason=one_line(reason) if reason is not None else None,
            details=details or {},
        )
        try:
            payload = encode(response)
        except (TypeError, ValueError, RecursionError):
            log.exception("the answer to %s is no JSON", response.op)
            return self._draft(ok=False, reason="the station failed to say what came of it")
        if len(payload) > MAX_MESSAGE_BYTES:
            reason = f"the answer has {len(payload)} bytes, more than {MAX_MESSAGE_BYTES}"
            return self._draft(ok=False, reason=f"{reason}: ask for less")
        return Answered(response, payload)

    def _finish(self, answered: Answered) -> None:
        with self._lock:
            if self._state is _State.ANSWERED:
                log.error("%s was answered twice", self._response.op)
                return
            self._state = _State.ANSWERED
        self._done(answered)


Op = Callable[[Request, Reply], None]
"""Does a command. Called on the MQTT thread, so it waits for nothing; any of lineside's errors
that it raises is the answer."""
