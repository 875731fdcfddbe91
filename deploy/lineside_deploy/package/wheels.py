"""Wheels: lineside itself, and what its agent needs, for the Python of a device."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path, PurePosixPath
from typing import Final

from lineside.errors import DeployError, StorageError
from lineside.extras import require
from lineside_deploy.targets import Target

PINNED: Final = Path(__file__).parent.parent / "requirements.txt"
"""What an agent needs, of all systems, with hashes: `make requirements` writes it."""


def pinned_for(target: Target, text: str) -> list[str]:
    """The pinned requirements that a system needs, without their conditions.

    pip judges conditions by the Python that it runs in, whatever system it downloads for.

    Args:
        target: the system.
        text: as `uv pip compile --universal --generate-hashes` writes it.

    Returns:
        Lines of a requirements file: `name==version --hash=…`.
    """
    markers = require("packaging.markers", extra="deploy")
    requirements = require("packaging.requirements", extra="deploy")
    system = markers.default_environment() | {
        "platform_machine": target.machine,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
        "python_version": target.python,
        "python_full_version": f"{target.python}.0",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        wanted, *hashes = line.split("--hash=")
        if not wanted.strip():
            continue
        requirement = requirements.Requirement(wanted)
        if requirement.marker is None or requirement.marker.evaluate(system):
            name = f"{requirement.name}{requirement.specifier}"
            found.append(" ".join([name, *(f"--hash={one.strip()}" for one in hashes)]))
    return found


def fetch_wheels(target: Target, folder: Path) -> None:
    """Download all pinned wheels for a system; pip checks each against its hash.

    Raises:
        DeployError: pip is not there, or found no such wheel, or no network.
    """
    lines = pinned_for(target, PINNED.read_text(encoding="utf-8"))
    wanted = folder / "wanted.txt"
    wanted.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ["download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--implementation", "cp", "--python-version", target.python]
    for tag in target.platforms():
        command += ["--platform", tag]
    _pip(*command, "--requirement", str(wanted), "--dest", str(folder))
    wanted.unlink()


def own_wheel(folder: Path) -> Path:
    """The wheel of lineside itself: built from the checkout that runs, or put together again.

    An installed wheel is pure Python, and pip has kept the list of its files.

    Raises:
        DeployError: pip can't build the checkout.
        StorageError: the disk is full or can't be written.
    """
    installed = distribution("lineside")
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        checkout = origin["url"].removeprefix("file://")
        words = ["wheel", "--no-deps", "--wheel-dir", str(folder), checkout]
        # Where it is here, what builds it need not be downloaded.
        _pip(*words, *(["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []))
        return next(folder.glob("lineside-*.whl"))
    path = folder / f"lineside-{installed.version}-py3-none-any.whl"
    try:
        put_together(installed, path)
    except OSError as error:
        msg = f"{path} can't be written: {error.strerror or error}"
        raise StorageError(msg) from error
    return path


def put_together(installed: Distribution, path: Path) -> None:
    """Write a wheel of what is installed (PEP 427).

    Args:
        installed: a distribution that was installed from a wheel, of Python alone.
        path: of the wheel.
    """
    record, names = "", dict(_files(installed))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in sorted(names.items()):
            data = file.read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(data)}\n"
            archive.writestr(zipfile.ZipInfo(name), data)
        name = f"lineside-{installed.version}.dist-info/RECORD"
        archive.writestr(zipfile.ZipInfo(name), f"{record}{name},,\n")


def _files(installed: Distribution) -> Iterator[tuple[str, Path]]:
    """What was in the wheel, and not what the installer put beside it."""
    beside = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"}
    for file in installed.files or ():
        name = PurePosixPath(file)
        if ".." in name.parts or name.suffix == ".pyc" or name.name in beside:
            continue
        yield str(name), Path(str(file.locate()))


def _pip(*words: str) -> None:
    if importlib.util.find_spec("pip") is None:
        msg = "this Python has no pip, which fetches the wheels: pip install 'lineside[deploy]'"
        raise DeployError(msg)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = (said or done.stderr.splitlines() or ["no word of why"])[-1].removeprefix(
            "ERROR: "
        )
        if reason.startswith("No matching distribution"):
            reason += " (is a package index within reach? pip's own settings say which one)"
        msg = f"pip {words[0]} failed: {reason}"
        raise DeployError(msg)
