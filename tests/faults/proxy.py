"""A TCP proxy that resets and stalls what goes through it, on an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from typing_extensions import Self

T = TypeVar("T")

_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s: close() sends RST and drops what waits


class Proxy:
    """Forwards connections to a port of this machine.

    Args:
        target: the port.

    Attributes:
        port: where to connect.
        connections: how many there were.
        resets: how many connections were reset.
        stalls: how often traffic was held back.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._open: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self.port = 0
        self.connections = 0
        self.resets = 0
        self.stalls = 0

    def reset(self) -> int:
        """Reset every connection; how many there were."""
        return self._do(self._reset())

    def stall(self) -> None:
        """Let nothing through, in both directions, until `flow`."""
        self.stalls += 1
        self._loop.call_soon_threadsafe(self._flows.clear)

    def flow(self) -> None:
        """Let everything through again."""
        self._loop.call_soon_threadsafe(self._flows.set)

    def shut(self) -> None:
        """Reset every connection, and each new one, until `open`."""
        self._closed = True
        self.reset()

    def open(self) -> None:
        """Take connections again."""
        self._closed = False

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _reset(self) -> int:
        tasks = list(self._open)
        for task in tasks:
            for writer in self._open.pop(task, ()):
                _abort(writer)
            task.cancel()
        self.resets += len(tasks)
        return len(tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._closed:
            _abort(writer)
            return
        try:
            upstream, out = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _abort(writer)
            return
        self.connections += 1
        self._open[task] = (writer, out)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.wait(
                [
                    asyncio.ensure_future(self._pump(reader, out)),
                    asyncio.ensure_future(self._pump(upstream, writer)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        self._open.pop(task, None)
        for end in (writer, out):
            end.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self._flows.wait()
                sink.write(data)
                await sink.drain()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _end(self) -> None:
        self._server.close()
        self._flows.set()
        await self._reset()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(self._listen())
        self.port = self._server.sockets[0].getsockname()[1]
        self.flow()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


def _abort(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    writer.transport.abort()
