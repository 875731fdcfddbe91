"""Messages between the processes of a training: JSON over sockets, each after its length."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

MAX_BYTES: Final = 16 * 2**20
"""Of one message: what must be the same names each label, of which there may be many."""

SEND_S: Final = 10.0
"""Seconds that a peer may take to make room for a message."""

_LENGTH: Final = struct.Struct(">I")


class Hello(Struct, frozen=True, tag=True):
    """The first message of a connection, from the first host: whom it takes it for."""

    hosts: list[str]
    index: int


class Facts(Struct, frozen=True, tag=True):
    """What a host is about to train on, and how."""

    values: dict[str, Any]


class Go(Struct, frozen=True, tag=True):
    """All hosts are there and are about to do the same: begin."""


class Beat(Struct, frozen=True, tag=True):
    """Still there."""


class Ended(Struct, frozen=True, tag=True):
    """Over, for the one who says so."""

    code: int
    """Its exit code."""
    line: str = ""
    """What to tell a person; empty: it told them itself."""


Message = Hello | Facts | Go | Beat | Ended

_DECODER: Final = msgspec.json.Decoder(Message)


class Link:
    """One end of a connection.

    Args:
        peer: connected; the link owns it from now on.
    """

    def __init__(self, peer: socket.socket) -> None:
        peer.settimeout(SEND_S)
        self._peer = peer
        self._received = bytearray()

    def fileno(self) -> int:
        """For selectors."""
        return self._peer.fileno()

    def close(self) -> None:
        """Close it."""
        self._peer.close()

    def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            OSError: the peer is gone, or takes nothing.
        """
        data = msgspec.json.encode(message)
        self._peer.sendall(_LENGTH.pack(len(data)) + data)

    def receive(self) -> list[Message]:
        """What has come; waits for bytes, not for whole messages.

        Raises:
            OSError: the peer is gone.
            ConnectionError: it sent something that is no message.
        """
        data = self._peer.recv(65_536)
        if not data:
            msg = "its connection was closed"
            raise ConnectionError(msg)
        self._received += data
        return list(self._messages())

    def wait(self, timeout_s: float | None = None) -> list[Message]:
        """The next messages.

        Args:
            timeout_s: seconds that each part of them may take; None: any time.

        Raises:
            OSError: the peer is gone, or too slow.
        """
        self._peer.settimeout(timeout_s)
        messages: list[Message] = []
        while not messages:
            messages = self.receive()
        self._peer.settimeout(SEND_S)
        return messages

    def _messages(self) -> Iterator[Message]:
        while len(self._received) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._received)
            if length > MAX_BYTES:
                msg = f"it sent {length} bytes at once, which is no message of lineside"
                raise ConnectionError(msg)
            end = _LENGTH.size + length
            if len(self._received) < end:
                return
            data = bytes(self._received[_LENGTH.size : end])
            del self._received[:end]
            try:
                yield _DECODER.decode(data)
            except msgspec.DecodeError as error:
                msg = f"it sent what is no message of lineside ({error})"
                raise ConnectionError(msg) from error
