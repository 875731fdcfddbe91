"""What we ask of TCP for the sake of small messages that are in a hurry. Linux has all of it.

Options are set by a direct call of setsockopt(2). To take a cork off is to send, which takes the
kernel some time; Python's own `setsockopt` keeps all other threads from running meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import paho.mqtt.client as paho

_VALUES: Final = (ctypes.c_int(0), ctypes.c_int(1))
_INT_BYTES: Final = ctypes.sizeof(ctypes.c_int)


def no_delay(sock: paho.SocketLike) -> None:
    """A verdict is a small packet that nothing should hold back."""
    _set(sock, "TCP_NODELAY", on=True)


def quick_ack(sock: paho.SocketLike) -> None:
    """Tell the other side at once that we have what we have just read.

    A broker that gathers small packets (mosquitto, as it comes) holds its next PUBACK back until
    then, for up to 40 ms. The kernel forgets this soon: say it after each read.
    """
    _set(sock, "TCP_QUICKACK", on=True)


@contextlib.contextmanager
def full_segments(sock: paho.SocketLike, *, burst: bool) -> Iterator[None]:
    """What is sent inside goes out in full segments; the last one at the end, without a delay.

    Args:
        sock: the connection.
        burst: whether there is more than one message to send; otherwise nothing is done.
    """
    if not burst:
        yield
        return
    _set(sock, "TCP_CORK", on=True)
    try:
        yield
    finally:
        _set(sock, "TCP_CORK", on=False)


def _set(sock: paho.SocketLike, name: str, *, on: bool) -> None:
    """Switch one option; a socket that is closed has none, and where it is unknown, so be it."""
    option, call, fd = getattr(socket, name, None), _setsockopt(), sock.fileno()
    if option is not None and call is not None and fd >= 0:
        call(fd, socket.IPPROTO_TCP, option, ctypes.byref(_VALUES[on]), _INT_BYTES)


@cache
def _setsockopt() -> Callable[..., int] | None:
    try:
        function: Callable[..., int] = ctypes.CDLL(None).setsockopt
    except (AttributeError, OSError, TypeError):  # TypeError: on Windows
        return None
    return function
