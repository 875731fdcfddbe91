"""A plant in small: a broker, proxies before it, a disk, cameras, and the agent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from typing_extensions import Self

from lineside_agent.capture.line import Wish, ask
from tests.faults.proxy import Proxy
from tests.support import models
from tests.support.broker import Mosquitto, wait_for
from tests.support.bundles import crash, edit_model, with_model
from tests.support.disk import tiny_disk

ROOT: Final = Path(__file__).parents[2]

MARK: Final = "LINESIDE_FAULTS"
"""In the environment of every process of a plant, so that what is left of them can be found."""

FAKETIME: Final = (
    "/usr/lib/*-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
)

RESERVE_MIB: Final = 2
"""Size of the disk that fills up."""

DEATHS: Final = 5
"""An agent that ended so often by itself is not started again."""

STATION: Final = """
health_s = 1
[station]
site = "ulm"
name = "press4"
[mqtt]
url = "mqtt://127.0.0.1:{port}"
[[model]]
name = "tiny"
bundle = "{folder}/bundles/good"
bundles = "{folder}/bundles"
[outbox]
path = "{disk}/outbox.sqlite"
{outbox}
"""

CAMERA: Final = """
[[camera]]
name = "{name}"
source = "line:{folder}/{name}"
rate = {rate}
[[stream]]
name = "{name}"
camera = "{name}"
model = "tiny"
trigger = "{trigger}"
queue = 64
"""


def faketime() -> Path | None:
    """The library that fakes a process's clock; None where it is not installed."""
    found = (path for pattern in FAKETIME for path in Path("/").glob(pattern[1:]))
    return next(found, None)


@dataclass
class Wanted:
    """What a plant is made of.

    Attributes:
        streams: names of cameras, and of their streams.
        trigger: of the streams.
        triggers: of those streams that have another one.
        fill: puts a camera's pictures into its folder; three plain ones if it is not given.
        rate: frames a second of each camera.
        outbox: settings of the outbox, as TOML.
        mode: of `tests.faults.runner`.
        tiny_disk: whether the outbox is on a disk of 2 MiB.
        clock: whether the agent's clock can be set.
        broker: lines of mosquitto.conf.
        files: of the broker, such as an ACL.
    """

    streams: Sequence[str] = ("top", "side")
    trigger: str = "command"
    triggers: Mapping[str, str] = field(default_factory=dict)
    fill: Callable[[str, Path], None] | None = None
    rate: int = 200
    outbox: str = ""
    mode: str = "plain"
    tiny_disk: bool = False
    clock: bool = False
    broker: Sequence[str] = ()
    files: dict[str, str] = field(default_factory=dict)


class Plant:
    """All of it, running while it is entered.

    Args:
        folder: for everything, but for what is on the tiny disk.
        wanted: what it is made of.

    Attributes:
        line: the proxy before the agent.
        far: the proxy before the subscriber that repairs.
        starts: how often the agent was started.
        killed_ns: when it was killed, on the monotonic clock.
        died: how it ended without being told to.
    """

    def __init__(self, folder: Path, wanted: Wanted | None = None) -> None:
        self.folder = folder
        self.wanted = wanted or Wanted()
        self.disk = folder / ("disk" if self.wanted.tiny_disk else "state")
        self.starts = 0
        self.killed_ns: list[int] = []
        self.died: list[str] = []
        self._mark = str(uuid.uuid4())
        self._clock = folder / "clock"
        self._stack = contextlib.ExitStack()
        self._agent: subprocess.Popen[bytes] | None = None
        # Not 0, for no limit: then mosquitto 2.0.11 drops a client whose message it refuses.
        lines = ["max_queued_messages 1000000", "max_inflight_messages 200", *self.wanted.broker]
        files = self.wanted.files
        keeps = [*lines, "persistence true", f"persistence_location {folder}/broker/"]
        keeps += ["autosave_interval 1"]
        self._forgetful = Mosquitto(folder / "broker", *lines, files=files)
        self._conf = {False: self._broker_conf()}
        Mosquitto(folder / "broker", *keeps, files=files, port=self._forgetful.port)
        self._conf[True] = self._broker_conf()
        self.broker = self._forgetful

    def _broker_conf(self) -> str:
        return (self.folder / "broker" / "mosquitto.conf").read_text()

    # The agent.

    def start_agent(self) -> None:
        """Start it, as systemd would."""
        self.starts += 1
        library = faketime() if self.wanted.clock else None
        env = os.environ | {"NO_COLOR": "1", MARK: self._mark}
        env["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        if library is not None:
            env |= {
                "LD_PRELOAD": str(library),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        config = str(self.folder / "station.toml")
        with (self.folder / "agent.log").open("ab") as log:
            self._agent = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.runner", self.wanted.mode, config],
                stdout=log,
                stderr=log,
                env=env,
                cwd=self.folder,
            )

    def kill_agent(self) -> None:
        """kill -9, and start it at once."""
        assert self._agent is not None
        self.look()
        self.killed_ns.append(time.monotonic_ns())
        self._agent.kill()
        self._agent.wait(10)
        self.start_agent()

    def look(self) -> None:
        """Note whether the agent has ended by itself; start it again then.

        Raises:
            AssertionError: it has too often.
        """
        if self._agent is not None and self._agent.poll() is not None:
            tail = self.log[-300:].replace("\n", " | ")
            self.died.append(f"exit code {self._agent.returncode}: {tail}")
            assert len(self.died) < DEATHS, f"the agent ended by itself {DEATHS} times: {tail}"
            self.start_agent()

    def stop_agent(self) -> int:
        """SIGTERM; its exit code."""
        assert self._agent is not None
        self._agent.send_signal(signal.SIGTERM)
        return self._agent.wait(30)

    @property
    def log(self) -> str:
        """What the agent logged in all its boots."""
        path = self.folder / "agent.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # The broker.

    def kill_broker(self) -> None:
        """kill -9."""
        self.broker.kill()

    def start_broker(self, *, keeps: bool) -> None:
        """Start it again, as one that keeps what it has on its disk, or as one that does not."""
        (self.folder / "broker" / "mosquitto.conf").write_text(self._conf[keeps])
        self.broker.start()

    # The disk, the clock, the cameras.

    def fill_disk(self) -> None:
        """A foreign file takes all that is left."""
        with (
            contextlib.suppress(OSError),
            (self.disk / "foreign").open("ab", buffering=0) as file,
        ):
            while True:
                file.write(bytes(4096))

    def free_disk(self) -> None:
        """The foreign file is gone."""
        (self.disk / "foreign").unlink(missing_ok=True)

    @property
    def disk_full(self) -> bool:
        """Whether the foreign file is there."""
        return (self.disk / "foreign").exists()

    def set_clock(self, offset: str) -> None:
        """The agent's clock goes off by so much, such as `+1y`; this machine's stays."""
        beside = self._clock.with_suffix(".new")
        beside.write_text(f"{offset}\n")
        beside.replace(self._clock)

    def ask_camera(self, name: str, wish: Wish) -> None:
        """A camera behaves as is wished from now on."""
        ask(self.folder / name, wish)

    def ask_cameras(self, wish: Wish) -> None:
        """All cameras behave as is wished from now on."""
        for name in self.wanted.streams:
            self.ask_camera(name, wish)

    # What is left when all is over.

    def leftovers(self) -> list[str]:
        """Processes of ours that are still there."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{MARK}={self._mark}".encode() in (path / "environ").read_bytes():
                    command = (path / "cmdline").read_bytes().replace(b"\0", b" ")
                    found.append(f"process {path.name}: {command.decode(errors='replace')}")
        return found

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            if self.wanted.tiny_disk:
                stack.enter_context(tiny_disk(self.disk, kib=RESERVE_MIB * 1024))
            else:
                self.disk.mkdir()
            self._make_models()
            for name in self.wanted.streams:
                self._make_camera(name)
            self.start_broker(keeps=False)
            stack.callback(self.broker.kill)
            self.line = stack.enter_context(Proxy(self.broker.port))
            self.far = stack.enter_context(Proxy(self.broker.port))
            self._write_station()
            self.set_clock("+0")
            stack.callback(self._end_agent)
            self.start_agent()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def _end_agent(self) -> None:
        if self._agent is not None and self._agent.poll() is None:
            self._agent.kill()
            self._agent.wait(10)
        wait_for(lambda: not self.leftovers(), 20, "the end of the agent's children")

    def _make_models(self) -> None:
        bundles = self.folder / "bundles"
        models.plain(bundles / "good")
        models.plain(bundles / "other", version="1.1.0")
        sound = models.plain(self.folder / "sound", version="1.2.0")
        crashing = edit_model(sound.files["model.tflite"], crash)
        with_model(self.folder / "sound", bundles / "crashing", crashing)

    def _make_camera(self, name: str) -> None:
        folder = self.folder / name
        (folder / ".line").mkdir(parents=True)
        if self.wanted.fill is not None:
            self.wanted.fill(name, folder)
            return
        shades = np.random.default_rng(0)
        for number, grey in enumerate((20, 90, 200)):
            picture = np.clip(shades.normal(grey, 12, (48, 64, 3)), 0, 255).astype(np.uint8)
            picture = cv2.GaussianBlur(picture, (0, 0), 0.8)
            cv2.imwrite(str(folder / f"{number}.png"), picture)

    def _write_station(self) -> None:
        wanted = self.wanted
        text = STATION.format(
            port=self.line.port, folder=self.folder, disk=self.disk, outbox=wanted.outbox
        )
        for name in wanted.streams:
            trigger = wanted.triggers.get(name, wanted.trigger)
            text += CAMERA.format(name=name, folder=self.folder, rate=wanted.rate, trigger=trigger)
        (self.folder / "station.toml").write_text(text)
