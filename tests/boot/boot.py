"""A machine boots, and publishes a verdict: `make boot-test`, some five minutes.

Debian 12 for arm64 under qemu, with its own kernel and systemd, a camera (vivid), the agent as its
package installs it under its real unit, and a broker with mTLS on this machine, made by
`lineside deploy broker`. It wakes up in 2020 and reaches no time server. What it says of times is
of an emulated arm64: a Pi is quicker.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lineside.messages import Health, Result, Status
from tests.support.arm64 import Machine
from tests.support.booted import Booted, Image
from tests.support.broker import wait_for
from tests.support.command import lineside
from tests.support.listener import Listener
from tests.support.plant import PlantBroker
from tests.support.stationed import configuration

pytestmark = pytest.mark.timeout(600)

HOST = "10.0.2.2"
"""This machine's loopback interface, as the emulated one sees it."""

FIRST_VERDICT_S = 60.0
WATCHDOG_S = 60.0
RESIDENT_MB = 150

CAMERA = """\
source = "v4l2:/dev/video0"
[[stream]]
name = "top"
camera = "top"
model = "cells"
trigger = "interval:1"
"""

PARTITION = "/root/bootfs"
# What `lineside deploy card` does there, with a kernel that knows FAT.
WRITE = """\
from pathlib import Path
from lineside.files import new_file, write_file
with new_file(Path('/mnt/lineside.tar')) as part:
    part.write_bytes(bytes(10_000_000))
for text in (b'first', b'second'):
    write_file(Path('/mnt/lineside.sh'), text, 0o755)
"""


@dataclass
class Station:
    """A machine that runs, and what is heard of it."""

    machine: Booted
    listener: Listener

    def show(self, *names: str) -> dict[str, str]:
        """What systemd says of the agent's unit."""
        words = " ".join(f"--property={name}" for name in names)
        said = self.machine.run(f"systemctl show lineside.service {words}").stdout
        return dict(line.split("=", 1) for line in said.splitlines())

    def boots(self) -> list[str]:
        """Boots of the agent that came online, in order."""
        found = [one.boot for one in self.listener.of(Status) if one.state == "online"]
        return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def station(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    folder = tmp_path_factory.mktemp("boot")
    with PlantBroker(folder / "plant", HOST) as broker:
        identity = broker.station("ulm/press4")
        config = folder / "station.toml"
        config.write_text(configuration(broker, bundle_folder, CAMERA))
        package = folder / "package.tar"
        lineside(
            *("deploy", "pack", "--config", config, "--target", "debian-arm64", "--out", package)
        )

        def install(machine: Machine) -> None:
            (machine.root / "etc/lineside").mkdir()
            shutil.copy(identity, machine.root / "etc/lineside/station.pem")
            with tarfile.open(package) as archive:
                archive.extractall(machine.root / "root/package", filter="data")
            done = machine.run("/root/package/install.sh")
            assert done.returncode == 0, (done.stdout, done.stderr)
            shutil.rmtree(machine.root / "root/package")
            fat = ["mkfs.fat", "-C", str(machine.root / PARTITION.lstrip("/")), "20000"]
            subprocess.run(fat, check=True, stdout=subprocess.DEVNULL)

        image = Image(folder / "image", install)
        user = broker.settings(broker.user("observer"))
        with Listener(user) as listener, Booted(image) as machine:
            yield Station(machine, listener)


def test_the_first_verdict_comes_within_a_minute_of_power_on(station: Station) -> None:
    wait_for(lambda: station.listener.of(Result), 180, station.machine.console)
    took = time.monotonic() - station.machine.started
    print(f"first verdict {took:.1f} s after power-on")  # noqa: T201 - a figure for the log
    first = station.listener.of(Result)[0]
    assert (first.site, first.station, first.stream) == ("ulm", "press4", "top")
    assert first.verdict in {"ok", "ng", "review"}
    assert took <= FIRST_VERDICT_S


def test_the_release_has_proved_itself(station: Station) -> None:
    station.machine.wait()
    command = "python3 -IB /opt/lineside/current/device status"
    wait_for(lambda: json.loads(station.machine.run(command).stdout)["trial"] is None, 120)
    told = json.loads(station.machine.run(command).stdout)
    assert told["active"] == "active"
    assert told["status"]["state"] == "online"
    assert told["release"] == told["releases"][-1]


def test_its_clock_is_not_before_the_release(station: Station) -> None:
    said = station.machine.run("date +%s; journalctl -u lineside --no-pager | grep 'the clock'")
    now, noted = said.stdout.split("\n", 1)
    assert abs(int(now) - time.time()) < 3600
    assert "the clock was earlier than the release was made, and is set to that" in noted


def test_it_runs_shut_in_and_small(station: Station) -> None:
    shown = station.show("MainPID", "User", "NRestarts", "MemoryMax", "DevicePolicy")
    assert (shown["User"], shown["NRestarts"]) == ("lineside", "0")
    assert shown["DevicePolicy"] == "closed"
    assert int(shown["MemoryMax"]) < 1_000_000_000
    said = station.machine.run(f"grep VmRSS /proc/{shown['MainPID']}/status").stdout
    resident = int(said.split()[1]) / 1000
    print(f"agent: {resident:.0f} MB resident")  # noqa: T201
    assert 20 < resident <= RESIDENT_MB
    said = station.machine.run("systemd-analyze security lineside.service --no-pager").stdout
    exposure = float(said.splitlines()[-1].partition("service: ")[2].split()[0])
    print(f"exposure: {exposure}")  # noqa: T201
    assert exposure <= 2.0
    wait_for(lambda: station.listener.of(Health), 60)
    (xnnpack,) = station.listener.of(Health)[-1].xnnpack.values()
    assert xnnpack  # shut in as it is


def test_a_boot_partition_takes_what_a_card_holds(station: Station) -> None:
    def run(command: str) -> str:
        done = station.machine.run(command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    mount = f"mkdir -p /mnt; mount -t vfat -o loop {PARTITION} /mnt"
    run(mount)
    run(f'/opt/lineside/current/venv/bin/python -c "{WRITE}"')
    run(f"umount /mnt; {mount}")
    assert run("cd /mnt; stat --format '%n %s' *") == "lineside.sh 6\nlineside.tar 10000000\n"
    assert run("cat /mnt/lineside.sh") == "second"
    run("umount /mnt")


def test_one_that_stands_still_is_started_anew(station: Station) -> None:
    before = station.boots()
    pid = station.show("MainPID")["MainPID"]
    station.machine.run(f"kill -STOP {pid}")
    stopped = time.monotonic()
    wait_for(lambda: station.show("NRestarts")["NRestarts"] != "0", WATCHDOG_S + 60, "a restart")
    took = time.monotonic() - stopped
    print(f"started anew {took:.1f} s after it was stopped")  # noqa: T201
    assert took <= WATCHDOG_S + 5
    wait_for(lambda: len(station.boots()) > len(before), 120, "online again")
    again = station.boots()[-1]
    wait_for(lambda: any(one.boot == again for one in station.listener.of(Result)), 60)
