"""Telling systemd how the service is doing.

The protocol is one datagram to the socket that $NOTIFY_SOCKET names, lines of KEY=VALUE in it:
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html, which offers it for being
written anew. The packages that do no more are not kept up, and those that are kept up bind
libsystemd, which would have to be built on the device.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping
from typing import Final

from typing_extensions import Self

log = logging.getLogger(__name__)

MAX_STATUS_CHARS: Final = 200
"""A longer status is cut."""


class Notifier:
    """What systemd is told. Without systemd nothing is sent, and nothing fails.

    No method waits: where systemd does not take a message at once, it is dropped.

    Args:
        address: of systemd's datagram socket: a path, or `@NAME` in the abstract namespace;
            empty for none.
        watchdog_s: seconds that systemd waits from one `alive` to the next before it ends the
            service; 0 where it does not watch.
    """

    def __init__(self, address: str = "", *, watchdog_s: float = 0.0) -> None:
        # Other kinds, such as vsock: in a virtual machine, are no business of a service's.
        known = address.startswith(("/", "@"))
        self._address = address.replace("@", "\0", 1) if address.startswith("@") else address
        self._there = known and len(address) > 1
        self.watchdog_s = watchdog_s if self._there else 0.0

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] | None = None) -> Self:
        """Take what systemd has put into the environment, out of it.

        The processes that are started later don't find it there, and so can't speak for us.

        Args:
            environ: instead of this process's.
        """
        env = os.environ if environ is None else environ
        address = env.pop("NOTIFY_SOCKET", "")
        microseconds = env.pop("WATCHDOG_USEC", "")
        meant = env.pop("WATCHDOG_PID", "")
        ours = meant in {"", str(os.getpid())}
        watchdog_s = int(microseconds) / 1e6 if ours and microseconds.isdecimal() else 0.0
        return cls(address, watchdog_s=watchdog_s)

    def ready(self, status: str) -> bool:
        """The service has started; from now on the watchdog counts."""
        return self._send("READY=1", _status(status))

    def status(self, text: str) -> bool:
        """One line for whoever asks `systemctl status`."""
        return self._send(_status(text))

    def alive(self) -> bool:
        """The service gets on with its work: feed the watchdog. Whether that was sent."""
        return self._send("WATCHDOG=1")

    def stopping(self, why: str) -> bool:
        """The service is about to end because it wants to; the watchdog no longer counts."""
        return self._send("STOPPING=1", _status(why))

    def _send(self, *lines: str) -> bool:
        if not self._there:
            return False
        flags = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            # A new socket each time: systemd's may be another one after it was updated.
            with socket.socket(socket.AF_UNIX, flags) as sock:
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.debug("systemd was not told %s: %s", lines[0], error)
            return False
        return True


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())[:MAX_STATUS_CHARS]}"
