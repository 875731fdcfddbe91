"""From a package to a release that runs."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from lineside_device.facts import facts
from lineside_device.home import Home
from lineside_device.host import check_host
from lineside_device.package import FILE, Package
from lineside_device.system import System, run

KEEP = 3
"""Releases that stay, the current one among them."""


def install(package: Package, home: Home, system: System, say: Callable[[str], None]) -> None:
    """Make a release of a package, complete or not at all. What runs is not touched.

    Args:
        package: what was sent.
        home: of the releases.
        system: for the account and the folders.
        say: tells a person.

    Raises:
        RefusedError: the machine is not one that the package is for, or a step failed.
    """
    with home.deciding():
        home.clear()
    found = facts(str(home.folder))
    check_host(found, package.info, package.size, booted=system.booted)
    system.account()
    system.folders()
    if home.is_complete(package.release):
        say(f"release {package.release} is there already")
        return
    folder = home.begin(package.release)
    for entry in (package.folder / "release").iterdir():
        if entry.is_dir():
            shutil.copytree(entry, folder / entry.name)
        else:
            shutil.copy(entry, folder)
    shutil.copytree(package.folder / "device", folder / "device")
    shutil.copy(package.folder / FILE, folder)
    system.own(folder / "station.toml")  # a camera's address may hold a password
    say("installing the wheels")
    _install_wheels(package.folder, folder / "venv")
    home.complete(package.release)
    say(f"release {package.release} is complete")


def _install_wheels(package: Path, environment: Path) -> None:
    """An environment of the system's Python, which sees the system's own modules (picamera2)."""
    words = ["--without-pip", "--system-site-packages", str(environment)]
    run(sys.executable, "-m", "venv", *words)
    (pip,) = (package / "wheels").glob("pip-*.whl")
    python = str(environment / "bin" / "python")
    environ = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(pip)}
    command = [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-cache-dir", "--require-hashes"]
    command += ["--find-links", str(package / "wheels")]
    command += ["--requirement", str(package / "requirements.txt")]
    run(*command, environ=environ)
