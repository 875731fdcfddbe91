"""A plant with a machine that is to be a station: a broker with mTLS, a listener, systemd."""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lineside.messages import Result
from tests.support.broker import wait_for
from tests.support.command import lineside
from tests.support.contained import Contained
from tests.support.line import plain_pictures
from tests.support.listener import Listener
from tests.support.plant import PlantBroker

PICTURES: Final = "var/lib/lineside/line"
TARGETS: Final = {"x86_64": "debian-amd64", "aarch64": "debian-arm64"}
_CONFIGURATION: Final = """
health_s = 1
[station]
site = "ulm"
name = "press4"
[mqtt]
url = "mqtts://{host}:{port}"
ca_file = "{ca}"
cert_file = "station.pem"
key_file = "station.pem"
[[model]]
name = "cells"
bundle = "{bundle}"
[[camera]]
name = "top"
"""


def configuration(broker: PlantBroker, bundle: Path, camera: str) -> str:
    """A configuration of ulm/press4, as it is on the workstation.

    Args:
        broker: where it publishes.
        bundle: the model of its only camera.
        camera: the rest of the camera's table, and what follows it.
    """
    told = {"port": broker.port, "ca": broker.folder / "authority/ca.pem", "bundle": bundle}
    return _CONFIGURATION.format(host=broker.host, **told) + camera


@dataclass
class Plant:
    """A broker, somebody who hears everything, and a machine that is to be a station."""

    folder: Path
    broker: PlantBroker
    listener: Listener
    machine: Contained
    bundle: Path

    def configure(self, name: str, bundle: Path | None = None, more: str = "") -> Path:
        """A configuration of ulm/press4, as it is on the workstation."""
        config = self.folder / f"{name}.toml"
        camera = f'source = "line:/{PICTURES}"\nrate = 5.0\n{more}'
        config.write_text(configuration(self.broker, bundle or self.bundle, camera))
        return config

    def pack(self, name: str, bundle: Path | None = None, more: str = "") -> Path:
        """A package for the machine."""
        config = self.configure(name, bundle, more)
        out = self.folder / f"{name}.tar"
        target = ("--target", TARGETS[platform.machine()], "--out", out)
        lineside("deploy", "pack", "--config", config, *target)
        return out

    def push(self, package: Path, *words: object, ok: bool = True) -> tuple[str, str]:
        """What the person sees, and what the error is."""
        told = ("--ssh-config", self.machine.config, "device", package, *words)
        done = lineside("deploy", "push", *told, ok=ok)
        return done.stdout, done.stderr

    def status(self) -> dict[str, Any]:
        """What the station says of itself."""
        said = self.machine.run("/usr/bin/python3 -IB /opt/lineside/current/device status")
        found: dict[str, Any] = json.loads(said.stdout)
        return found

    @property
    def boot(self) -> str:
        """The agent's, once the broker has its status; empty: not yet."""
        return str((self.status()["status"] or {"boot": ""})["boot"])

    @contextlib.contextmanager
    def replaced(self, machine: Contained) -> Iterator[Contained]:
        """Another machine in the place of this one, which is switched off until that goes."""
        ours, self.machine = self.machine, machine
        ours.pull_the_plug()
        try:
            yield machine
        finally:
            machine.pull_the_plug()
            self.machine = ours
            ours.switch_on()

    def publishes(self, not_boot: str = "") -> None:
        """Wait until the agent that runs has given another result.

        Args:
            not_boot: of an agent that may run yet, and is to end.
        """
        heard = len(self.listener.of(Result))

        def heard_of_it() -> bool:
            boot = self.boot
            found = self.listener.of(Result)[heard:]
            return boot != not_boot and any(one.boot == boot for one in found)

        wait_for(heard_of_it, what=self.status)


@contextlib.contextmanager
def plant_with_machine(folder: Path, bundle: Path) -> Iterator[Plant]:
    """The machine is empty, but for a virtual line and the identity of ulm/press4."""
    machine = Contained(folder / "machine")
    plain_pictures(machine.root / PICTURES, 3)
    with PlantBroker(folder / "plant") as broker:
        observer = broker.settings(broker.user("observer"))
        with Listener(observer) as listener, machine:
            told = ("--ssh-config", machine.config, "ulm/press4", "device")
            broker.command("station", "new", *told)
            yield Plant(folder, broker, listener, machine, bundle)
