"""A TCP relay between a client and its broker: it can hold answers back, and cut the line."""

from __future__ import annotations

import contextlib
import socket
import threading

from typing_extensions import Self


class Relay:
    """Forwards connections to a port of this machine.

    Attributes:
        port: where to connect.
        sent: all that clients sent.
        connections: how many there were.
        closed: whether new connections are dropped at once.
        answers: cleared, what the broker sends is held back.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._all: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._ended = False
        self.port: int = self._server.getsockname()[1]
        self.sent = bytearray()
        self.connections = 0
        self.closed = False
        self.answers = threading.Event()
        self.answers.set()

    def cut(self) -> None:
        """End all connections, without a word."""
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _spawn(self, *args: object, target: object) -> None:
        assert callable(target)
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if self.closed:
                client.close()
                continue
            self.connections += 1
            try:
                broker = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            self._open += (client, broker)
            self._all += (client, broker)
            self._spawn(client, broker, target=self._forth)
            self._spawn(broker, client, target=self._back)

    def _forth(self, client: socket.socket, broker: socket.socket) -> None:
        self._pump(client, broker, self.sent.extend)

    def _back(self, broker: socket.socket, client: socket.socket) -> None:
        self._pump(broker, client, lambda _: self.answers.wait())

    def _pump(self, source: socket.socket, sink: socket.socket, first: object) -> None:
        assert callable(first)
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                first(data)
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._spawn(target=self._accept)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._ended = True
        self.answers.set()
        self.cut()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(5)
        for sock in self._all:
            sock.close()
