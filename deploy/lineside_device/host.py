"""Is this a device that a package is for? Asked before anything is changed."""

from __future__ import annotations

import os
import platform
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

from lineside_device.errors import RefusedError

ROOM = 4
"""How many times its packed size a release may take while it is installed."""


def check_host(info: dict[str, Any], home: Path, size: int, *, booted: bool) -> None:
    """Refuse a machine that the package can't run on.

    Args:
        info: package.json.
        home: where releases go.
        size: bytes of the package.
        booted: whether systemd must run; not so where a card or an image is prepared.

    Raises:
        RefusedError: naming what was found, what is needed, and the way out.
    """
    if os.geteuid() != 0:
        msg = "only root can install a station: sudo ./install.sh"
        raise RefusedError(msg)
    machine, bits = platform.machine(), 8 * struct.calcsize("P")
    if bits != 64:
        msg = f"this is a {bits}-bit system ({machine}): lineside needs a 64-bit one"
        raise RefusedError(msg)
    if machine != info["machine"]:
        wanted = info["machine"]
        msg = f"this machine is {machine}, the package is for {wanted}: pack for another --target"
        raise RefusedError(msg)
    found = ".".join(map(str, sys.version_info[:2]))
    if found != info["python"]:
        msg = (
            f"this system has Python {found}, the package is for {info['python']}: "
            "pack for another --target"
        )
        raise RefusedError(msg)
    library, version = platform.libc_ver()
    if library != "glibc" or int((version + ".0").split(".")[1]) < info["glibc"]:
        msg = (
            f"this system has {library or 'no glibc'} {version}, the package needs "
            f"glibc 2.{info['glibc']}: use a newer system"
        )
        raise RefusedError(msg)
    if booted and not Path("/run/systemd/system").is_dir():
        msg = "systemd does not run here, and keeps the agent alive: use a system that has it"
        raise RefusedError(msg)
    _check_disk(home, size)


def _check_disk(home: Path, size: int) -> None:
    """Refuse a disk that can't be written or is too full."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
        free = shutil.disk_usage(home).free
    except OSError as error:
        msg = f"{home} can't be written: {error.strerror}; mount it read-write"
        raise RefusedError(msg) from error
    if free < ROOM * size:
        msg = (
            f"{home} has {free / 1e6:,.0f} MB free, {ROOM * size / 1e6:,.0f} MB are needed: "
            "make room, or use a larger card"
        )
        raise RefusedError(msg)
