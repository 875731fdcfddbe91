"""A card with cloud-init, as Raspberry Pi OS 13 has it: a part of `make device-proof`.

Debian 13 of this machine's kind boots within this one, with its own systemd and cloud-init, which
finds on its boot partition what Raspberry Pi Imager and `lineside deploy card` have left there.
"""

from __future__ import annotations

import platform
import subprocess
import time
from pathlib import Path

import pytest

from lineside.messages import Result
from lineside_deploy.package.build import pack
from lineside_deploy.targets import Target
from tests.support.broker import wait_for
from tests.support.command import lineside
from tests.support.contained import Contained
from tests.support.debian import mirror
from tests.support.line import plain_pictures
from tests.support.program import program
from tests.support.stationed import PICTURES, plant_with_machine

pytestmark = pytest.mark.timeout(600)

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "libgomp1", "libstdc++6"),
    *("openssl", "cloud-init", "procps", "sudo", "passwd"),
)
SEED = """\
datasource_list: [NoCloud, None]
datasource:
  NoCloud:
    seedfrom: file:///boot/firmware/
network: {config: disabled}
"""
# Its wheels are of this machine's kind: only the name is that of the system.
TRIXIE = Target("rpi-trixie", "Debian 13", "3.13", platform.machine(), 41)


def trixie(root: Path) -> None:
    """Debian 13, installed."""
    command = [program("mmdebstrap", "mmdebstrap"), "--quiet", "--variant=minbase"]
    command += [
        f"--include={','.join(PACKAGES)}",
        "trixie",
        str(root),
        f"deb {mirror()} trixie main",
    ]
    subprocess.run(command, check=True, timeout=500)
    (root / "etc/cloud/cloud.cfg.d/99_boot.cfg").write_text(SEED)
    boot = root / "boot/firmware"
    boot.mkdir(parents=True)
    (boot / "cmdline.txt").write_text("console=tty1 rootwait\n")
    (boot / "config.txt").touch()
    (boot / "meta-data").write_text("instance-id: rpios-image\n")
    asked = "#cloud-config\nhostname: press4\nruncmd:\n- [touch, /etc/asked-for]\n"
    (boot / "user-data").write_text(asked)
    plain_pictures(root / PICTURES, 3)


def test_a_card_with_cloud_init(bundle_folder: Path, tmp_path: Path) -> None:
    with plant_with_machine(tmp_path / "plant", bundle_folder) as plant:
        plant.machine.pull_the_plug()
        plant.machine = machine = Contained(tmp_path / "trixie", trixie)
        identity = tmp_path / "press4.pem"
        plant.broker.command("station", "renew", "ulm/press4", "--out", identity)
        package = tmp_path / "card.tar"
        pack(plant.configure("card"), None, TRIXIE, package, print)
        boot = machine.root / "boot/firmware"
        lineside("deploy", "card", boot, package, "--identity", identity)
        machine.start()
        wait_for(lambda: "installing the wheels" in written(boot), 120, machine.console)
        machine.pull_the_plug()  # and again
        began = time.monotonic()
        with machine:
            wait_for(lambda: plant.listener.of(Result), 180, machine.console)
            print(f"first verdict {time.monotonic() - began:.1f} s after power-on")  # noqa: T201
            done = machine.run("cloud-init status --wait --long; hostname", timeout=200).stdout
            print(done)  # noqa: T201
            assert "status: done" in done
            assert "errors: []" in done
            assert done.endswith("\npress4\n")
            log = written(boot)
            print(log)  # noqa: T201
            assert log.rstrip().endswith("is good: online, and no model is refused")
            assert (machine.root / "etc/asked-for").exists()  # what the Imager was told
            left = {path.name for path in boot.iterdir()}
            assert not left & {"lineside.tar", "station.pem"}
        with machine:  # and again, without the card doing anything
            plant.publishes()
        assert written(boot) == log


def written(boot: Path) -> str:
    """What the card says; empty: it was not begun."""
    log = boot / "lineside.log"
    return log.read_text() if log.exists() else ""
