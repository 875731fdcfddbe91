"""A package for arm64, installed where there is no network, on an emulated arm64 machine."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.arm64 import Machine
from tests.support.command import lineside
from tests.support.configuration import CONFIGURATION

pytestmark = pytest.mark.timeout(400)

PACKAGE_MB = 120
ROOT_MB = 450

GOLDEN = """
import sys
from pathlib import Path
from lineside.bundle import open_bundle
from lineside.inspector import Inspector
from lineside.runtime.golden import run_golden
inspector = Inspector(open_bundle(Path(sys.argv[1])))
print(inspector.engine.xnnpack, inspector.bundle.manifest.model.scheme)
for one in run_golden(inspector):
    print(one.passed, one.steps)
"""


@dataclass
class Installed:
    machine: Machine
    package: Path
    before: set[str]
    grown_mb: float
    said: str

    def station(self, *words: str, code: int = 0) -> str:
        """What `lineside-station` says; its errors too."""
        done = self.machine.run("/usr/bin/python3", "-IB", "/opt/lineside/current/device", *words)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout + done.stderr


def files(root: Path) -> set[str]:
    """Names of all that is there, but what Python and the account's tools keep for themselves."""
    skipped = ("__pycache__", "proc/", "sys/", "dev/", "run/", "tmp/", "root/")
    backups = ("etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/.pwd.lock")
    found = (path for path in root.rglob("*") if path.is_symlink() or path.is_file())
    names = (str(path.relative_to(root)) for path in found)
    return {
        name
        for name in names
        if name not in backups and "/__pycache__" not in name and not name.startswith(skipped)
    }


@pytest.fixture(scope="module")
def installed(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("arm64")
    machine = Machine(folder / "root")
    before = files(machine.root)
    config = folder / "station.toml"
    config.write_text(CONFIGURATION)
    out = folder / "package.tar"
    lineside(
        *("deploy", "pack", "--config", config, "--bundle", bundle_folder),
        *("--target", "rpi-bookworm", "--out", out),
    )
    with tarfile.open(out) as archive:
        archive.extractall(machine.root / "root" / "package", filter="data")
    done = machine.run("/root/package/install.sh")
    assert done.returncode == 0, (done.stdout, done.stderr)
    grown = sum(
        path.stat().st_blocks * 512
        for name in ("opt", "var/lib/lineside", "etc/lineside")
        for path in (machine.root / name).rglob("*")
        if path.is_file() and not path.is_symlink()
    )
    return Installed(machine, out, before, grown / 1e6, done.stdout)


def test_it_is_small(installed: Installed) -> None:
    assert installed.package.stat().st_size / 1e6 <= PACKAGE_MB
    assert 50 < installed.grown_mb <= ROOT_MB


def test_it_says_what_is_in_it(installed: Installed) -> None:
    folder = installed.machine.root / "root" / "package"
    package = json.loads((folder / "package.json").read_bytes())
    found = (package["target"], package["python"], package["machine"])
    assert found == ("rpi-bookworm", "3.11", "aarch64")
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert set(package["files"]) == there - {"package.json"}
    wheels = {name for name in there if name.startswith("wheels/")}
    assert any(name.startswith("wheels/pip-") for name in wheels)
    bom = json.loads((folder / "bom.json").read_bytes())
    kinds = [part["type"] for part in bom["components"]]
    assert kinds.count("library") == len(wheels) - 1  # all but lineside itself, whose bill it is
    assert kinds.count("machine-learning-model") == 1


def test_golden_images_are_those_of_this_machine_in_every_step(installed: Installed) -> None:
    python = "/opt/lineside/current/venv/bin/python"
    bundle = "/opt/lineside/current/bundles/cells"
    done = installed.machine.run(python, "-c", GOLDEN, bundle)
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == "True static_wi8_ai8"
    assert len(rest) >= 4
    assert set(rest) == {"True 0.0"}


def test_the_agent_finds_all_but_the_camera_that_is_not_there(installed: Installed) -> None:
    done = installed.machine.run(
        "/opt/lineside/current/venv/bin/lineside",
        *("agent", "check", "/opt/lineside/current/station.toml", "--no-broker"),
    )
    found = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines()}
    assert found == {"settings": "ok", "model": "ok", "camera": "WRONG", "outbox": "ok"}


def test_again_changes_nothing(installed: Installed) -> None:
    release = installed.machine.root / "opt/lineside/current"
    first = (release / "complete").stat().st_mtime_ns
    done = installed.machine.run("/root/package/install.sh")
    assert done.returncode == 0, done.stderr
    assert "is there already" in done.stdout
    assert (release / "complete").stat().st_mtime_ns == first


def test_a_damaged_package_is_refused(installed: Installed) -> None:
    config = installed.machine.root / "root/package/release/station.toml"
    whole = config.read_bytes()
    try:
        config.write_bytes(whole.replace(b"press4", b"press5"))
        done = installed.machine.run("/root/package/install.sh")
    finally:
        config.write_bytes(whole)
    assert done.returncode == 2
    assert done.stderr == (
        "error: the package is damaged: release/station.toml has another hash than package.json "
        "says; send it again\n"
    )


def test_at_last_nothing_is_left(installed: Installed) -> None:
    assert "uninstall --yes" in installed.station("uninstall", code=2)
    installed.station("uninstall", "--yes")
    assert files(installed.machine.root) - installed.before == set()
    for name in ("opt/lineside", "var/lib/lineside", "etc/lineside"):
        assert not (installed.machine.root / name).exists()
    for name in ("passwd", "group"):
        assert "lineside" not in (installed.machine.root / "etc" / name).read_text()


def test_as_a_debian_package(installed: Installed) -> None:
    machine = installed.machine
    path = machine.root / "root" / "station.deb"
    done = lineside("deploy", "deb", installed.package, "--out", path)
    assert done.stdout.startswith(f"Package: {path} (")

    def dpkg(*words: str) -> str:
        # Nothing of this root was installed by dpkg, so it knows of no python3.
        done = machine.run("/usr/bin/dpkg", "--force-depends", *words)
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-1000:]
        return done.stdout

    (machine.root / "etc/lineside").mkdir()
    (machine.root / "etc/lineside/station.pem").write_text("key")
    assert "is complete\n" in dpkg("--install", "/root/station.deb")
    release = (machine.root / "opt/lineside/current").readlink()
    assert (machine.root / "opt/lineside" / release / "complete").exists()
    dpkg("--remove", "lineside-station")
    assert not (machine.root / "opt/lineside").exists()
    assert (machine.root / "etc/lineside/station.pem").read_text() == "key"
    dpkg("--purge", "lineside-station")
    assert not (machine.root / "etc/lineside").exists()
    left = files(machine.root) - installed.before
    dpkgs = ("var/lib/dpkg/", "var/log/dpkg.log")
    assert {name for name in left if not name.startswith(dpkgs)} == set()
    for name in ("passwd", "group"):
        assert "lineside" not in (machine.root / "etc" / name).read_text()
