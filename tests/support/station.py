"""A station to test with: a configuration, and the agent in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from typing_extensions import Self

CONFIG = """
health_s = 1
[station]
site = "ulm"
name = "press4"
[mqtt]
url = "{url}"
{mqtt}
[[model]]
name = "cells"
bundle = "{bundle}"
[[camera]]
name = "top"
source = "{source}"
{camera}
[outbox]
{outbox}
"""


def write_config(
    folder: Path,
    *,
    url: str,
    bundle: Path,
    source: str,
    mqtt: str = "",
    camera: str = "",
    outbox: str = "",
) -> Path:
    """A station.toml in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "station.toml"
    text = CONFIG.format(
        url=url, bundle=bundle, source=source, mqtt=mqtt, camera=camera, outbox=outbox
    )
    path.write_text(text)
    return path


class AgentProcess:
    """`lineside agent run CONFIG`, ended at the latest when it is left."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._log = config.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, timeout: float = 60) -> int:
        """The exit code."""
        assert self.process is not None
        code = self.process.wait(timeout)
        assert "Traceback" not in self.log, self.log
        return code

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lineside", "agent", "run", str(self._config)],
                stdout=log,
                stderr=log,
                env=os.environ | {"NO_COLOR": "1"},
            )
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
