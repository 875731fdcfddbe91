"""A real broker to test with: mosquitto on a free loopback port, ended by its process id."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from typing_extensions import Self

STOOD_STILL_S: Final = 1.0
"""Seconds between two looks that count as waiting, at most."""


def free_port() -> int:
    """A TCP port that nothing listens on just now.

    Not one that the kernel would give: before somebody listens there, it may become the local end
    of anybody's connection.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_768)  # below Linux' ip_local_port_range
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


class Mosquitto:
    """One broker. It keeps its port when it is killed and started again.

    Args:
        folder: where its configuration, log and files go.
        lines: of mosquitto.conf, beside the listener; anonymous clients are allowed unless they
            say otherwise.
        files: name -> content of files in the folder, such as an ACL.
    """

    def __init__(
        self, folder: Path, *lines: str, files: dict[str, str] | None = None, port: int = 0
    ) -> None:
        path = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if path is None:
            if os.environ.get("CI"):
                pytest.fail("mosquitto is not installed: apt-get install mosquitto")
            pytest.skip("mosquitto is not installed: apt-get install mosquitto")
        self._path = path
        self.folder = folder
        self.port = port or free_port()
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (files or {}).items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)
        has = {line.split()[0] for line in lines}
        defaults = ["persistence false", "log_type all", f"log_dest file {folder / 'log'}"]
        if os.geteuid() == 0:
            defaults.append("user root")  # otherwise it can't read its files as another user
        if "allow_anonymous" not in has:
            defaults.append("allow_anonymous true")
        text = "\n".join([*defaults, f"listener {self.port} 127.0.0.1", *lines])
        (folder / "mosquitto.conf").write_text(text + "\n")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> Self:
        """Start it and wait until it listens."""
        self.process = subprocess.Popen(
            [self._path, "-c", str(self.folder / "mosquitto.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return self
            time.sleep(0.02)
        raise AssertionError(self.log)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it, by default without a word to its clients."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(10)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.kill(signal.SIGTERM)


@contextlib.contextmanager
def rude_server() -> Iterator[int]:
    """Something that accepts connections and drops them at once; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    server.accept()[0].close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            ended.set()
            thread.join()


def wait_for(condition: object, timeout: float = 30.0, what: object = "condition") -> None:
    """Wait until `condition()` is true.

    Args:
        condition: called every few milliseconds.
        timeout: seconds. A pause in which the machine stood still does not count: whoever is
            waited for stood still, too.
        what: what is waited for; where it can be called, it is asked at the end, and says more.
    """
    assert callable(condition)
    waited, looked_at = 0.0, time.monotonic()
    while not condition():
        now = time.monotonic()
        waited += min(now - looked_at, STOOD_STILL_S)
        looked_at = now
        if waited > timeout:
            said = what() if callable(what) else what
            msg = f"{said} did not come true within {timeout:g} s"
            raise AssertionError(msg)
        time.sleep(0.01)
