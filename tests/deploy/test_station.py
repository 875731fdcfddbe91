"""A station from an empty machine on: pushed to, taken back, backed up, replaced. Real systemd."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from lineside.messages import Status
from tests.support.broker import wait_for
from tests.support.bundles import edit_manifest
from tests.support.command import lineside
from tests.support.contained import Contained
from tests.support.line import plain_pictures
from tests.support.stationed import PICTURES, Plant, plant_with_machine

pytestmark = [pytest.mark.timeout(240), pytest.mark.broker]


@pytest.fixture(scope="module")
def plant(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    with plant_with_machine(tmp_path_factory.mktemp("station"), bundle_folder) as plant:
        yield plant


@pytest.fixture(scope="module")
def first(plant: Plant) -> Path:
    """A package that is pushed onto the empty machine, where a first push was cut."""
    home = plant.machine.root / "opt/lineside"
    home.mkdir(parents=True)
    cut = {"release": "c0ffee", "before": None, "wait_s": 180.0}  # just before its switch
    (home / "trial.json").write_text(json.dumps(cut))
    package = plant.pack("first")
    said, _ = plant.push(package)
    assert said.splitlines()[-1].endswith(" is good: online, and no model is refused")
    return package


def test_it_comes_online_and_publishes(plant: Plant, first: Path) -> None:
    assert first.exists()
    now = plant.status()
    assert (now["active"], now["trial"], now["releases"]) == ("active", None, [now["release"]])
    assert now["status"]["state"] == "online"
    config = plant.machine.run("stat -c '%U %G %a' /opt/lineside/current/station.toml").stdout
    assert config == "root lineside 640\n"  # a camera's address may hold a password
    plant.publishes()


def test_later_is_for_a_machine_where_none_runs(plant: Plant, first: Path) -> None:
    folder = plant.machine.root / "root/package"
    with tarfile.open(first) as archive:
        archive.extractall(folder, filter="data")
    done = plant.machine.run("/root/package/install.sh --later")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: a station runs here: install it now, without --later\n"


def test_again_changes_nothing(plant: Plant, first: Path) -> None:
    before, boot = plant.status()["release"], plant.boot
    said, _ = plant.push(first)
    assert said.splitlines()[-1] == f"release {before} is the current one"
    assert plant.boot == boot


def test_two_pushes_at_once(plant: Plant, first: Path) -> None:
    plant.machine.run("flock /run/lineside-push.lock sleep 20 >/dev/null 2>&1 &")
    _, error = plant.push(first, ok=False)
    assert error == "error: device: another push is under way here: wait for its end\n"
    plant.machine.run("pkill sleep")


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
    _, error = plant.push(plant.pack("bad", bad), ok=False)
    assert error.startswith("error: device: release ")
    assert "model cells does not run" in error
    assert "a bundle is not used: " in error
    assert error.endswith(f"; {before} runs again\n")
    now = plant.status()
    assert (now["release"], now["releases"], now["trial"]) == (before, [before], None)
    plant.publishes()


def test_one_that_cannot_start_gives_way(plant: Plant, first: Path) -> None:
    assert first.exists()
    before = plant.status()["release"]
    # Its outbox is in a folder that is not there: systemd starts nothing.
    package = plant.pack("nowhere", more='[outbox]\npath = "/srv/gone/outbox.sqlite"\n')
    _, error = plant.push(package, "--wait", 12, ok=False)
    assert "after 12 s its status has not reached the broker" in error
    assert "Failed to set up mount namespacing: " in error
    assert error.endswith(f"; {before} runs again\n")
    plant.publishes()


def test_what_the_broker_does_not_let_in_is_said(plant: Plant, first: Path) -> None:
    assert first.exists()
    plant.machine.run("mv /etc/lineside/station.pem /etc/lineside/gone.pem")
    _, error = plant.push(
        plant.pack("silent", more="[outbox]\ndrain_s = 1.0\n"), "--wait", 10, ok=False
    )
    plant.machine.run("mv /etc/lineside/gone.pem /etc/lineside/station.pem")
    assert "/etc/lineside/station.pem can't be read" in error
    plant.publishes()


def test_another_stations_package_is_not_sent(plant: Plant, first: Path) -> None:
    other = as_if_for(first, "debian-amd64", station="press5")
    _, error = plant.push(other, ok=False)
    assert error == (
        "error: device: this device is ulm/press4, the package is of ulm/press5: name the device "
        "of that, or uninstall this one first\n"
    )


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
    again = lineside("deploy", "rollback", *told, ok=False)  # not to what was gone back from
    assert again.stderr == "error: device: there is no release to go back to\n"


def test_after_a_power_cut_it_is_there_again(plant: Plant, first: Path) -> None:
    assert first.exists()
    boot = plant.boot
    plant.machine.pull_the_plug()
    wait_for(lambda: plant.listener.of(Status)[-1].state == "offline")  # its last will
    plant.machine.switch_on()
    plant.publishes(not_boot=boot)


def test_a_switch_that_is_killed_is_decided(plant: Plant, first: Path) -> None:
    assert first.exists()
    package = plant.pack("killed", more="# killed\n")
    wait = "until [ -e /opt/lineside/trial.json ]; do sleep 0.02; done"
    with ThreadPoolExecutor(1) as apart:
        kill = f"{wait}; systemctl kill --signal=KILL lineside-switch"
        killed = apart.submit(plant.machine.run, kill)
        said, _ = plant.push(package)
        assert killed.result().returncode == 0
    assert said.splitlines()[-1].endswith(" is good: online, and no model is refused")
    assert said.splitlines()[-2] == "a release is being tried: waiting until that is decided"
    plant.publishes()


def test_one_that_stands_still_runs_after_a_push(plant: Plant, first: Path) -> None:
    boot = plant.boot
    plant.push(first)
    plant.machine.run("systemctl stop lineside")
    said, _ = plant.push(first)
    assert said.endswith(" is the current one\n")
    plant.publishes(not_boot=boot)


@pytest.mark.parametrize(
    "reader",
    [
        "setsid sleep 100",  # reads nothing
        "while systemctl is-active -q lineside; do sleep 0.1; done; pkill -f 'device backup'",
    ],
)
def test_a_backup_does_not_keep_the_agent_from_its_work(
    plant: Plant, first: Path, reader: str
) -> None:
    assert first.exists()
    boot = plant.boot
    more = "head -c 9000000 /dev/urandom >/var/lib/lineside/more"
    command = "/usr/bin/python3 -IB /opt/lineside/current/device backup"
    plant.machine.run(f"{more}; ({command} | {{ {reader}; }}) >/dev/null 2>&1 &")
    plant.publishes(not_boot=boot)
    plant.machine.run("pkill sleep; rm /var/lib/lineside/more")


def test_a_new_machine_takes_its_place(plant: Plant, first: Path) -> None:
    words = plant.folder / "passphrase"
    words.write_text("correct horse battery\n")
    backup = plant.folder / "press4.backup"
    boot = plant.boot
    told = ("--ssh-config", plant.machine.config, "device", "--passphrase-file", words)
    lineside("deploy", "backup", *told, "--out", backup)
    plant.publishes(not_boot=boot)  # it was stopped, and started again
    old = plant.boot
    with plant.replaced(Contained(plant.folder / "new")) as machine:
        machine.switch_on()
        told = ("--ssh-config", machine.config, "device", "--passphrase-file", words)
        done = lineside("deploy", "restore", backup, first, *told)
        assert done.stdout.splitlines()[-1].endswith(" is good: online, and no model is refused")
        plant.publishes()
        kept = {entry["boot"] for entry in plant.status()["status"]["ledger"]}
        assert plant.boot != boot
        assert boot in kept  # what the old machine had can still be asked for
        assert old not in kept  # but what it gave after its backup can't
        done = lineside("deploy", "restore", backup, first, *told, ok=False)
        assert done.stderr == (
            "error: device: /var/lib/lineside holds a station already: was it put there just now? "
            "then push its package; else uninstall that, or remove the folder\n"
        )
        machine.run("/usr/bin/python3 -IB /opt/lineside/current/device uninstall --yes")
        left = "ls -d /opt/lineside /var/lib/lineside /etc/lineside /run/lineside"
        assert machine.run(left).stdout == ""


def test_a_card_is_put_in_and_the_power_switched_on(plant: Plant) -> None:
    machine = Contained(plant.folder / "card")
    boot = machine.root / "boot/firmware"
    boot.mkdir(parents=True)
    plain_pictures(machine.root / PICTURES, 3)
    (boot / "cmdline.txt").write_text("console=tty1 rootwait\n")
    (boot / "config.txt").touch()
    # What Raspberry Pi Imager leaves there, and how it has it run.
    (boot / "firstrun.sh").write_text(
        "echo press4 >/etc/asked-for\nrm -f /boot/firmware/firstrun.sh\n"
    )
    identity = plant.folder / "card.pem"
    plant.broker.command("station", "renew", "ulm/press4", "--out", identity)
    package = as_if_for(plant.pack("card", more="# on a card\n"), "rpi-bookworm")
    lineside("deploy", "card", boot, package, "--identity", identity)

    def words() -> list[str]:
        """The kernel's command line, but that we are who switches it on again."""
        line = (boot / "cmdline.txt").read_text()
        return [word for word in line.split() if word.startswith("systemd.")]

    assert "systemd.run_success_action=reboot" in words()
    off = [word.replace("=reboot", "=poweroff") for word in words()]
    with plant.replaced(machine):
        machine.start(*off)
        log = boot / "lineside.log"
        wait_for(lambda: log.exists() and "installing the wheels" in log.read_text(), 60)
        machine.pull_the_plug()
        assert words()  # it is done again
        assert not (machine.root / "etc/asked-for").exists()
        machine.run_out(*off)
        assert words() == [], (boot / "lineside.log").read_text()
        assert (machine.root / "etc/asked-for").read_text() == "press4\n"
        left = {path.name for path in boot.iterdir()}
        assert left == {"cmdline.txt", "config.txt", "lineside.log", "lineside.sh"}
        machine.switch_on()
        wait_for(lambda: plant.boot, 60, what=plant.status)
        plant.publishes()
        wait_for(lambda: plant.status()["trial"] is None, 60)
        assert plant.status()["status"]["state"] == "online"


def as_if_for(package: Path, target: str, station: str = "press4") -> Path:
    """A package that says it is for another: its wheels are of this machine's kind."""
    out = package.with_name(f"{target}-{station}.tar")
    with tarfile.open(package) as given, tarfile.open(out, "w") as made:
        for entry in given:
            data = given.extractfile(entry)
            if entry.name == "package.json" and data is not None:
                told = json.dumps(json.load(data) | {"target": target, "station": station}).encode()
                entry.size, data = len(told), BytesIO(told)
            made.addfile(entry, data)
    return out
