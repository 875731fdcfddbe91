"""Is this a device that a package is for? Asked before anything is changed, or even sent."""

from __future__ import annotations

from typing import Any

from lineside_device.errors import RefusedError

ROOM = 4
"""How many times its packed size a release may take while it is installed."""


def check_host(
    found: dict[str, Any], info: dict[str, Any], size: int, *, booted: bool, more: int = 0
) -> None:
    """Refuse a machine that the package can't run on.

    Args:
        found: of the machine, as `facts` has it.
        info: package.json.
        size: bytes of the package.
        booted: whether systemd must run; not so where a card or an image is prepared.
        more: bytes that there must be room for, besides.

    Raises:
        RefusedError: naming what was found, what is needed, and the way out.
    """
    machine, python, home = found["machine"], found["python"], found["home"]
    if found["bits"] != 64:
        _refuse(f"this is a {found['bits']}-bit system ({machine}): lineside needs a 64-bit one")
    if machine != info["machine"]:
        _refuse(
            f"this machine is {machine}, the package is for {info['machine']}: "
            "pack for another --target"
        )
    if python != info["python"]:
        _refuse(
            f"this system has Python {python}, the package is for {info['python']}: "
            "pack for another --target, or use another system"
        )
    wanted, there = info.get("l4t"), found.get("l4t")
    if wanted is not None and there != wanted:
        kind = "no Jetson" if there is None else f"a Jetson with L4T {there}"
        _refuse(
            f"this is {kind}, the package is for L4T {wanted}: flash it with NVIDIA's SDK "
            "Manager, or pack for another --target"
        )
    if found["glibc"] < info["glibc"]:
        version = f"glibc 2.{found['glibc']}" if found["glibc"] else "no glibc"
        _refuse(
            f"this system has {version}, the package needs glibc 2.{info['glibc']}: "
            "use a newer system"
        )
    name = f"{info['site']}/{info['station']}"
    if found["station"] not in {None, name}:
        _refuse(
            f"this device is {found['station']}, the package is of {name}: name the device of "
            "that, or uninstall this one first"
        )
    if booted and not found["systemd"]:
        _refuse("systemd does not run here, and keeps the agent alive: use a system that has it")
    if not found["writable"]:
        _refuse(f"{home} is on a disk that is read-only: mount it read-write")
    needed = ROOM * size + more
    if found["free"] < needed:
        _refuse(
            f"{home} has {found['free'] / 1e6:,.0f} MB free, {needed / 1e6:,.0f} MB are "
            "needed: make room, or use a larger card"
        )


def _refuse(why: str) -> None:
    raise RefusedError(why)
