"""Pushes that are cut: what is cut, when, and what the station is afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from lineside_deploy.package.contents import PackageFile, file_record, release_name
from tests.faults.proxy import Proxy
from tests.support.stationed import Plant

KINDS: Final = ("client killed", "connection reset", "device's side killed", "disk full", "power")
SETTLED_S: Final = 60.0
"""Seconds until whatever goes on at the device by itself must have ended."""


@dataclass(frozen=True)
class Cut:
    """A push that was cut.

    Attributes:
        kind: how.
        at_s: seconds after it began.
        rc: what the person's command ended with; None: it was killed.
        new: whether the new release runs; otherwise the one before does.
        said: the person's command's error; empty: none.
        wrong: what is wrong with the station now; empty: nothing.
    """

    kind: str
    at_s: float
    rc: int | None
    new: bool
    said: str
    wrong: str


def another(package: Path, out: Path, number: int) -> str:
    """The same package with one line more in its configuration: another release.

    Returns:
        Its name.
    """
    with tarfile.open(package) as given:
        info = json.loads(_read(given, "package.json"))
        config = _read(given, "release/station.toml") + f"# {number}\n".encode()
        info["files"]["release/station.toml"] = _record(config)
        files = {name: PackageFile(**record) for name, record in info["files"].items()}
        info["release"] = release_name(files)
        changed = {"package.json": json.dumps(info).encode(), "release/station.toml": config}
        with tarfile.open(out, "w") as made:
            for entry in given:
                data = changed.get(entry.name)
                if data is None:
                    made.addfile(entry, given.extractfile(entry))
                else:
                    entry.size = len(data)
                    made.addfile(entry, BytesIO(data))
    return str(info["release"])


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    data = archive.extractfile(name)
    assert data is not None
    return data.read()


def _record(data: bytes) -> dict[str, Any]:
    found = file_record(data)
    return {"sha256": found.sha256, "size": found.size}


class Pushing:
    """A station, and pushes onto it that are cut.

    Args:
        plant: whose machine runs a release already.
        package: of that.
        disk: the file system that the machine is on: it can be filled.
        seed: of when and how.
    """

    def __init__(self, plant: Plant, package: Path, disk: Path, seed: int) -> None:
        self._plant, self._package, self._disk = plant, package, disk
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        self._number = 0
        self._errors = plant.folder / "errors"

    def whole(self) -> float:
        """A push that is not cut; seconds that it takes.

        Raises:
            AssertionError: it fails: what it says.
        """
        began = time.monotonic()
        with self._pushed(self._plant.machine.config) as process:
            assert process.wait(300) == 0, self._error()
        return time.monotonic() - began

    def is_taken(self) -> str:
        """Whether the station still takes a push; otherwise what that says."""
        try:
            self.whole()
        except AssertionError as error:
            return f"no push is taken any more: {error}"
        return ""

    def cut(self, kind: str, longest_s: float) -> Cut:
        """Cut a push at a random moment.

        Args:
            kind: one of KINDS.
            longest_s: the latest moment.
        """
        plant, at = self._plant, self._random.uniform(0.0, longest_s)
        before = plant.status()["release"]
        with contextlib.ExitStack() as stack:
            config = plant.machine.config
            proxy = stack.enter_context(Proxy(plant.machine.port))
            if kind == "connection reset":
                config = self._through(proxy.port)
            process = stack.enter_context(self._pushed(config))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(at)
            tidy = self._strike(kind, process, proxy)
            try:
                rc: int | None = process.wait(240)
            finally:
                tidy()
        wrong = self._judged(before)
        now = plant.status()["release"] if not wrong else before
        killed = kind == "client killed" and rc is not None and rc < 0
        return Cut(kind, at, None if killed else rc, now != before, self._error(), wrong)

    def _error(self) -> str:
        lines = self._errors.read_text().splitlines()
        return lines[-1].removeprefix("error: ") if lines else ""

    @contextlib.contextmanager
    def _pushed(self, config: Path) -> Iterator[subprocess.Popen[bytes]]:
        self._number += 1
        package = self._package.with_name("another.tar")
        self._release = another(self._package, package, self._number)
        words = ["deploy", "push", "--ssh-config", str(config), "--wait", "30", "device"]
        errors = self._errors.open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "lineside", *words, str(package)],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            errors.close()

    def _through(self, port: int) -> Path:
        text = self._plant.machine.config.read_text()
        config = self._plant.folder / "ssh-through"
        own = f"Port {self._plant.machine.port}\n"
        known = f"HostKeyAlias [127.0.0.1]:{self._plant.machine.port}\n"
        config.write_text(text.replace(own, f"Port {port}\n  {known}"))
        return config

    def _strike(
        self, kind: str, process: subprocess.Popen[bytes], proxy: Proxy
    ) -> Callable[[], object]:
        """Do it.

        Returns:
            What ends it, where it lasts.
        """
        if kind == "client killed":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        elif kind == "connection reset":
            proxy.reset()
        elif kind == "device's side killed":
            # All that the push has started there, but not what systemd has.
            self._plant.machine.run("pkill -KILL -f '[/]var/tmp/lineside-push'")
        elif kind == "disk full":
            return self._fill()
        else:
            self._plant.machine.pull_the_plug()
            return self._plant.machine.switch_on
        return lambda: None

    def _fill(self) -> Callable[[], object]:
        filler = self._disk / "filler"
        with filler.open("wb") as file:
            free = os.statvfs(self._disk).f_bavail * os.statvfs(self._disk).f_frsize
            with contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, max(1, free - 4096))
        return lambda: filler.unlink(missing_ok=True)

    def _judged(self, before: str) -> str:
        """What is wrong with the station, once all that goes on there has ended."""
        plant = self._plant
        deadline = time.monotonic() + SETTLED_S
        while time.monotonic() < deadline:
            busy = plant.machine.run("pgrep -f '[/]var/tmp/lineside-push'").stdout
            if not busy and plant.status()["trial"] is None:
                break
            time.sleep(0.2)
        else:
            return "a push goes on for ever, or a trial is not decided"
        now = plant.status()
        if now["release"] not in {before, self._release}:
            return f"{now['release']} runs: neither the one before nor the new one"
        if now["release"] not in now["releases"]:
            return f"{now['release']} runs, and is not complete"
        try:
            plant.publishes()
        except AssertionError as error:
            return f"it publishes nothing: {error}"
        return ""
