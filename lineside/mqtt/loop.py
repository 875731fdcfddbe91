"""Waiting for the network and for our own threads at once, and doing what there is to do."""

from __future__ import annotations

import selectors
import ssl
import time
from typing import TYPE_CHECKING, Final

from lineside.mqtt.bell import Bell

if TYPE_CHECKING:
    import paho.mqtt.client as paho

TICK_S: Final = 0.5
"""Seconds from one look at paho's timers (keepalive) to the next."""


class Loop:
    """One connection's socket and the bell, waited for together; close it when it ends.

    Args:
        client: the paho client that has the connection.
        sock: its socket.
        bell: what other threads wake us with.
    """

    def __init__(self, client: paho.Client, sock: paho.SocketLike, bell: Bell) -> None:
        self._client = client
        self._sock = sock
        self._selector = selectors.DefaultSelector()
        self._selector.register(sock, selectors.EVENT_READ)
        self._selector.register(bell, selectors.EVENT_READ)
        self._writing = False
        self._tick_at = time.monotonic() + TICK_S

    def turn(self) -> bool:
        """Wait for the network, a wake-up or the next tick; read, write, keep alive.

        Returns:
            Whether something was read.

        Raises:
            BrokerError: paho's callback raised it: the connection is refused.
        """
        client = self._client
        if client.want_write() != self._writing:
            self._writing = not self._writing
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._writing else 0)
            self._selector.modify(self._sock, events)
        # Bytes that TLS has decrypted already don't show in select.
        read = False
        pending = self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0
        for key, events in self._selector.select(0 if pending else TICK_S):
            if isinstance(key.fileobj, Bell):
                key.fileobj.heard()
            else:
                if events & selectors.EVENT_READ:
                    client.loop_read()
                    read = True
                if events & selectors.EVENT_WRITE:
                    client.loop_write()
        if pending:
            client.loop_read()
            read = True
        if time.monotonic() >= self._tick_at:
            client.loop_misc()
            self._tick_at = time.monotonic() + TICK_S
        return read

    def close(self) -> None:
        """Let go of the selector; socket and bell stay as they are."""
        self._selector.close()
