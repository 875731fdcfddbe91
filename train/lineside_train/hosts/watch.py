"""The process that watches over the training, on each machine.

The first host's connects to all others'. They exchange what must be the same, then say every few
seconds that they are still there. Whoever is gone ends all.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from lineside_train.hosts.facts import difference
from lineside_train.hosts.link import SEND_S, Beat, Ended, Facts, Go, Hello, Link, Message
from lineside_train.hosts.options import Roster

TICK_S: Final = 0.25
BEAT_S: Final = 2.0
CONNECT_S: Final = 2.0

SILENCE_S: Final = 30.0
"""Seconds without a word after which a host is given up."""

GRACE_S: Final = 5.0
"""Seconds to end by itself, for a training that ends because another one does."""


class Over(Exception):  # noqa: N818 - no error: it ends the loop
    """The training is over.

    Attributes:
        code: what this process exits with.
        line: what a person is told; empty: nothing, since the training has told them.
        told: what the other hosts are told, if it is not the same.
    """

    def __init__(self, code: int, line: str = "", told: str | None = None) -> None:
        super().__init__(line)
        self.code = code
        self.line = line
        self.told = line if told is None else told


@dataclass
class _Peer:
    """Another host.

    Attributes:
        link: None: not there yet, or done.
        heard: when it last said something, on the monotonic clock.
        facts: what it is about to do.
        done: whether nothing is expected of it any more.
    """

    link: Link | None = None
    heard: float = 0.0
    facts: dict[str, Any] | None = None
    done: bool = False


class Watch:
    """Watches over the training of this machine, and over the other machines' watches.

    Args:
        roster: who takes part.
        child: to the process that trains.
        pid: of that process.
        noise: what native code wrote there last.
        silence_s: seconds without a word after which a host is given up.

    Attributes:
        pid: as above.
        terminated: once set, it ends at once.
    """

    def __init__(
        self,
        roster: Roster,
        child: Link,
        pid: int,
        noise: Callable[[], str],
        silence_s: float = SILENCE_S,
    ) -> None:
        self.pid = pid
        self.terminated = False
        self._roster = roster
        self._leads = roster.index == 0
        self._us = roster.name(roster.index)
        self._child = child
        self._child_there = True
        self._child_heard = False
        self._listener: socket.socket | None = None
        self._noise = noise
        self._silence_s = silence_s
        others = range(1, len(roster.addresses)) if self._leads else [0]
        self._peers = {index: _Peer() for index in others}
        self._facts: dict[str, Any] | None = None
        self._began = False
        self._leaving: tuple[float, Over] | None = None
        self._selector = selectors.DefaultSelector()

    def run(self) -> Over:
        """Watch until it is over; the training has ended then, and the others are told."""
        try:
            self._open()
            self._loop()
        except Over as over:
            self._end(over)
            return over

    def _loop(self) -> NoReturn:
        started = beaten = time.monotonic()
        while True:
            for key, _ in self._selector.select(TICK_S):
                key.data()
            self._reap()
            now = time.monotonic()
            if self._leaving is not None and now >= self._leaving[0]:
                raise self._leaving[1]
            self._gather(now - started)
            if now - beaten >= BEAT_S:
                beaten = now
                self._tell(Beat())
            for index, peer in self._peers.items():
                if peer.link is not None and now - peer.heard > self._silence_s:
                    self._lost(index, f"nothing was heard of it for {self._silence_s:g} s")

    # Who takes part

    def _open(self) -> None:
        """Open the port where the first host comes to; there, try the one that JAX will open."""
        self._selector.register(self._child, selectors.EVENT_READ, self._hear_child)
        host, port = self._roster.address(self._roster.index)
        try:
            listener = listen(host, port)
        except OSError as error:
            why = os.strerror(error.errno or 0)  # Python's own text holds the address again
            what = f"port {port} of --hosts can't be used: {why}"
            raise Over(1, what, f"{self._us}: {what}") from error
        if self._leads:
            listener.close()
        else:
            self._listener = listener
            self._selector.register(listener, selectors.EVENT_READ, lambda: self._greet(listener))

    def _gather(self, waited_s: float) -> None:
        """Find who isn't there yet; begin once all have said what they are about to do."""
        if self._began:
            return
        missing = [i for i, peer in self._peers.items() if peer.link is None]
        if not missing:
            if self._leads and self._facts is not None:
                self._compare(self._facts)
            return
        if waited_s > self._roster.wait_s:
            names = " and ".join(self._roster.name(index) for index in missing)
            line = (
                f"{names} did not come up within {self._roster.wait_s:g} s: start the same "
                "command there, with its own --host-index, and see that the port is open"
            )
            raise Over(1, line)
        if self._leads:
            self._connect(missing[int(waited_s / TICK_S) % len(missing)])

    def _connect(self, index: int) -> None:
        with contextlib.suppress(OSError):
            found = socket.create_connection(self._roster.address(index), timeout=CONNECT_S)
            link = Link(found)
            link.send(Hello(list(self._roster.addresses), index))
            self._join(index, link)

    def _greet(self, listener: socket.socket) -> None:
        """Somebody came to the port: the first host, or anybody."""
        link = Link(listener.accept()[0])
        try:
            hello = link.wait(SEND_S)[0]
        except OSError:
            link.close()
            return
        if not isinstance(hello, Hello):
            link.close()
            return
        ours = (list(self._roster.addresses), self._roster.index)
        if (hello.hosts, hello.index) != ours:
            line = (
                f"--hosts and --host-index don't agree: {','.join(hello.hosts)} and {hello.index} "
                f"on {self._roster.name(0)}, {','.join(ours[0])} and {ours[1]} on {self._us}"
            )
            with contextlib.suppress(OSError):
                link.send(Ended(1, line))
            link.close()
            raise Over(1, line)
        self._selector.unregister(listener)
        listener.close()
        self._join(0, link)
        if self._facts is not None:
            self._tell(Facts(self._facts))

    def _join(self, index: int, link: Link) -> None:
        self._peers[index].link = link
        self._peers[index].heard = time.monotonic()
        self._selector.register(link, selectors.EVENT_READ, lambda: self._hear(index))

    def _part(self, peer: _Peer) -> None:
        if peer.link is not None:
            self._selector.unregister(peer.link)
            peer.link.close()
        peer.link, peer.done = None, True

    def _compare(self, ours: dict[str, Any]) -> None:
        for index, peer in self._peers.items():
            if peer.facts is None:
                return
            line = difference(ours, peer.facts, self._roster.name(0), self._roster.name(index))
            if line is not None:
                raise Over(1, line)
        self._tell(Go())
        self._begin()

    def _begin(self) -> None:
        self._began = True
        with contextlib.suppress(OSError):
            self._child.send(Go())

    # What is said

    def _tell(self, message: Message) -> None:
        for index, peer in self._peers.items():
            if peer.link is not None:
                try:
                    peer.link.send(message)
                except OSError as error:
                    self._lost(index, str(error.strerror or error))

    def _hear(self, index: int) -> None:
        peer = self._peers[index]
        if peer.link is None:
            return
        try:
            messages = peer.link.receive()
        except OSError as error:
            self._lost(index, str(error.strerror or error))
            return
        peer.heard = time.monotonic()
        for message in messages:
            if isinstance(message, Facts):
                peer.facts = message.values
            elif isinstance(message, Go):
                self._begin()
            elif isinstance(message, Ended):
                self._part(peer)
                if message.code:
                    self._leave(self._because(index, message))

    def _hear_child(self) -> None:
        try:
            messages = self._child.receive()
        except OSError:
            self._selector.unregister(self._child)
            self._child_heard = True
            return
        for message in messages:
            # The first host's facts stay here; the others send theirs to it.
            if isinstance(message, Facts):
                self._facts = message.values
                if not self._leads:
                    self._tell(message)
            elif isinstance(message, Ended):
                self._tell(message)
                for peer in self._peers.values():
                    self._part(peer)
                if message.code:
                    # It says why, but could wait for the others as it ends.
                    self._leave(Over(message.code))

    # How it ends

    def _reap(self) -> None:
        """See whether the training has ended."""
        if self.terminated:
            raise Over(128 + signal.SIGTERM, "", f"{self._us} was told to end (SIGTERM)")
        pid, status = os.waitpid(self.pid, os.WNOHANG) if self._child_there else (0, 0)
        if pid == 0:
            return
        self._child_there = False
        while not self._child_heard:
            self._hear_child()
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            raise Over(code)
        killed = f"the training was ended by signal {-code} ({signal.Signals(-code).name})"
        why = "" if code == -signal.SIGKILL else f": {self._noise()}"
        way_out = self._way_out()
        over = Over(128 - code, killed + why + way_out, f"{self._us}: {killed}{way_out}")
        if self._leaving is not None:
            raise self._leaving[1]
        if code == -signal.SIGABRT and any(peer.link for peer in self._peers.values()):
            # So JAX ends a process that has lost another one: who it is will soon be known.
            self._leaving = (time.monotonic() + self._silence_s, over)
        else:
            raise over

    def _leave(self, over: Over) -> None:
        """End, but let the training end by itself before: it may have something to say."""
        if not (self._child_there and self._began):
            raise over
        if self._leaving is None:
            self._leaving = (time.monotonic() + GRACE_S, over)

    def _lost(self, index: int, why: str) -> None:
        """Another host is gone: it is over, unless that is known already."""
        self._part(self._peers[index])
        if self._leaving is None or not self._child_there:
            raise Over(1, f"{self._roster.name(index)} is gone: {why}{self._way_out()}")

    def _because(self, index: int, message: Ended) -> Over:
        """What another host's end means here."""
        if message.line:
            return Over(1, message.line)
        name = self._roster.name(index)
        line = f"{name} ended with exit code {message.code}: it says there why"
        return Over(130 if message.code == 130 else 1, line)

    def _way_out(self) -> str:
        return "; start all hosts again with --resume to go on" if self._began else ""

    def _end(self, over: Over) -> None:
        if self._child_there:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        for peer in self._peers.values():
            if peer.link is not None:
                with contextlib.suppress(OSError):
                    peer.link.send(Ended(over.code, over.told))
            self._part(peer)
        if self._listener is not None:
            self._listener.close()
        self._child.close()
        self._selector.close()


def is_loopback(host: str) -> bool:
    """Whether a host's name means this machine alone."""
    return host in {"localhost", "127.0.0.1"}


def listen(host: str, port: int) -> socket.socket:
    """Listen at a port of this machine: of all its interfaces, or of the loopback one alone.

    Raises:
        OSError: it is in use, or not allowed.
    """
    if is_loopback(host):
        return socket.create_server(("127.0.0.1", port))
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))
