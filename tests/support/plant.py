"""A plant's broker, made by `lineside deploy broker`, kept running as systemd keeps it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

from typing_extensions import Self

from lineside.settings import MqttSettings
from tests.support.broker import free_port
from tests.support.command import lineside
from tests.support.program import program


class PlantBroker:
    """Mosquitto, as it is configured there; started anew whenever it ends.

    Args:
        folder: of the plant.
        host: under which it is reached, too.
    """

    def __init__(self, folder: Path, host: str = "localhost") -> None:
        self.folder, self.host, self.port = folder, host, free_port()
        account = "root" if os.geteuid() == 0 else "mosquitto"
        words = ("--host", "127.0.0.1", "--host", host, "--bind", "127.0.0.1", "--port", self.port)
        lineside("deploy", "broker", folder, *words, "--account", account)
        self._mosquitto = program("mosquitto", "mosquitto")
        self._ended = False
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._keep_running)
        self._thread.start()
        self.wait()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._ended = True
        self.kill()
        self._thread.join()

    def _keep_running(self) -> None:
        while not self._ended:
            with (self.folder / "log").open("ab") as log:
                command = [self._mosquitto, "-c", str(self.folder / "broker/mosquitto.conf")]
                self._process = subprocess.Popen(command, stderr=log)
            self._process.wait()

    def kill(self) -> None:
        """End it, without a word to anybody."""
        if self._process is not None:
            self._process.kill()

    def wait(self) -> None:
        """Until it listens."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)
        raise AssertionError((self.folder / "log").read_text())

    def command(self, *words: object, ok: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of `lineside deploy` for this plant."""
        return lineside("deploy", *words, "--plant", self.folder, ok=ok)

    def station(self, name: str) -> Path:
        """The identity of a new station."""
        path = self.folder.parent / f"{name.replace('/', '-')}.pem"
        path.unlink(missing_ok=True)
        self.command("station", "new", name, "--out", path)
        return path

    def user(self, name: str, *words: str) -> Path:
        """The identity of a new user."""
        path = self.folder.parent / f"user-{name}.pem"
        self.command("user", "new", name, "--out", path, *words)
        return path

    def settings(self, identity: Path | None) -> MqttSettings:
        """How one connects who has that identity."""
        return MqttSettings(
            url=f"mqtts://127.0.0.1:{self.port}",
            ca_file=str(self.folder / "authority/ca.pem"),
            cert_file=str(identity or ""),
            key_file=str(identity or ""),
        )
