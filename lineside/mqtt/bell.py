"""Waking a thread that waits for the network."""

from __future__ import annotations

import contextlib
import socket


class Bell:
    """Rung by any thread, heard by the one that has it in its selector."""

    def __init__(self) -> None:
        self._ear, self._hand = socket.socketpair()
        self._ear.settimeout(0)
        self._hand.settimeout(0)
        self._rung = False

    def fileno(self) -> int:
        """What a selector waits for."""
        return self._ear.fileno()

    def ring(self) -> None:
        """Wake the thread up; rung twice before it is heard, it costs nothing."""
        if not self._rung:
            self._rung = True
            with contextlib.suppress(OSError):  # closed: nobody listens any more
                self._hand.send(b"\0")

    def heard(self) -> None:
        """Be ready to be rung again. Look for what there is to do after this, not before."""
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(4096)
        self._rung = False

    def close(self) -> None:
        """Let go of it."""
        self._ear.close()
        self._hand.close()
