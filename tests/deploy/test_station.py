"""A station from an empty machine on: pushed to, taken back, backed up, replaced. Real systemd."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lineside.messages import Result, Status
from tests.support.broker import wait_for
from tests.support.bundles import edit_manifest
from tests.support.command import lineside
from tests.support.contained import Contained
from tests.support.line import plain_pictures
from tests.support.listener import Listener
from tests.support.plant import PlantBroker

pytestmark = [pytest.mark.timeout(240), pytest.mark.broker]

PICTURES = "var/lib/lineside/line"
CONFIGURATION = """
health_s = 1
[station]
site = "ulm"
name = "press4"
[mqtt]
url = "mqtts://127.0.0.1:{port}"
ca_file = "{ca}"
cert_file = "station.pem"
key_file = "station.pem"
[[model]]
name = "cells"
bundle = "{bundle}"
[[camera]]
name = "top"
source = "line:/{pictures}"
rate = 5.0
"""


@dataclass
class Plant:
    """A broker, somebody who hears everything, and a machine that is to be a station."""

    folder: Path
    broker: PlantBroker
    listener: Listener
    machine: Contained
    bundle: Path

    def pack(self, name: str, bundle: Path | None = None, more: str = "") -> Path:
        """A package for the machine."""
        config = self.folder / f"{name}.toml"
        told = {"port": self.broker.port, "ca": self.broker.folder / "authority/ca.pem"}
        config.write_text(
            CONFIGURATION.format(**told, bundle=bundle or self.bundle, pictures=PICTURES) + more
        )
        out = self.folder / f"{name}.tar"
        target = ("--target", "debian-amd64", "--out", out)
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


@pytest.fixture(scope="module")
def plant(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("station")
    machine = Contained(folder / "machine")
    plain_pictures(machine.root / PICTURES, 3)
    with PlantBroker(folder / "plant") as broker:
        observer = broker.settings(broker.user("observer"))
        with Listener(observer) as listener, machine:
            told = ("--ssh-config", machine.config, "ulm/press4", "device")
            broker.command("station", "new", *told)
            yield Plant(folder, broker, listener, machine, bundle_folder)


@pytest.fixture(scope="module")
def first(plant: Plant) -> Path:
    """A package that is pushed onto the empty machine."""
    package = plant.pack("first")
    said, _ = plant.push(package)
    assert said.splitlines()[-1].endswith(" is good: online, with all its models")
    return package


def test_it_comes_online_and_publishes(plant: Plant, first: Path) -> None:
    assert first.exists()
    now = plant.status()
    assert (now["active"], now["trial"], now["releases"]) == ("active", None, [now["release"]])
    assert now["status"]["state"] == "online"
    plant.publishes()


def test_again_changes_nothing(plant: Plant, first: Path) -> None:
    before, boot = plant.status()["release"], plant.boot
    said, _ = plant.push(first)
    assert said.splitlines()[-1] == f"release {before} is the current one"
    assert plant.boot == boot


def test_a_release_with_a_bundle_that_fails_gives_way(
    plant: Plant, first: Path, tmp_path: Path
) -> None:
    assert first.exists()
    before = plant.status()["release"]
    bad = tmp_path / "bad"
    shutil.copytree(plant.bundle, bad)

    def lie(manifest: dict[str, Any]) -> None:
        for golden in manifest["golden"]:
            golden["outputs"] = [outputs[::-1] for outputs in golden["outputs"]]

    edit_manifest(bad, lie)
    _, error = plant.push(plant.pack("bad", bad), "--wait", 15, ok=False)
    assert error.startswith("error: device: release ")
    assert "model cells does not run" in error
    assert error.endswith(f" within 15 s; {before} runs again\n")
    now = plant.status()
    assert (now["release"], now["releases"], now["trial"]) == (before, [before], None)
    plant.publishes()


def test_one_that_cannot_start_gives_way(plant: Plant, first: Path) -> None:
    assert first.exists()
    before = plant.status()["release"]
    # Its outbox is in a folder that is not there: systemd starts nothing.
    package = plant.pack("nowhere", more='[outbox]\npath = "/srv/gone/outbox.sqlite"\n')
    _, error = plant.push(package, "--wait", 12, ok=False)
    assert "its status did not reach the broker within 12 s" in error
    assert error.endswith(f"; {before} runs again\n")
    plant.publishes()


def test_back_and_forth(plant: Plant, first: Path) -> None:
    assert first.exists()
    before = plant.status()["release"]
    plant.push(plant.pack("second", more="# another\n"))
    second = plant.status()["release"]
    assert second != before
    told, boot = ("--ssh-config", plant.machine.config, "device"), plant.boot
    done = lineside("deploy", "rollback", *told)
    assert done.stdout == f"{before} runs, and {second} no more\n"
    assert plant.status()["release"] == before
    plant.publishes(not_boot=boot)


def test_after_a_power_cut_it_is_there_again(plant: Plant, first: Path) -> None:
    assert first.exists()
    boot = plant.boot
    plant.machine.pull_the_plug()
    wait_for(lambda: plant.listener.of(Status)[-1].state == "offline")  # its last will
    plant.machine.switch_on()
    plant.publishes(not_boot=boot)
