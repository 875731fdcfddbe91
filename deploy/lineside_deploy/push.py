"""`lineside deploy push`: a package to a device, over SSH; and back to the release before.

    1. the package is whole, and the device is one that it is for: before anything is sent
    2. one connection carries it, unpacks it beside what runs, and starts its install.sh
    3. what that says is what the person sees; its exit code is the command's

A connection that is cut in 2 leaves the release that runs, or, once the switch has begun, a unit of
the device's own that switches, tries and decides.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from lineside.errors import DeployError, InputError
from lineside_deploy.package.contents import file_record
from lineside_deploy.remote import AS_ROOT, Remote
from lineside_device import facts, leftovers
from lineside_device.errors import RefusedError
from lineside_device.host import check_host
from lineside_device.package import FILE, SCHEMA
from lineside_device.places import HOME
from lineside_device.trial import WAIT_S

NEW: Final = "/var/tmp/lineside-push"  # noqa: S108 - root makes it, for itself alone
LOCK: Final = "/run/lineside-push.lock"
TIDY: Final = AS_ROOT + f"exec $as python3 -IB - {HOME} {NEW} {LOCK}"
RECEIVE: Final = (
    AS_ROOT
    + f"""exec $as sh -c 'set -e; umask 077; exec 9>{LOCK}; umask 022
flock -n 9 || {{ echo "another push is under way here: wait for its end" >&2; exit 3; }}
rm -rf {NEW}; trap "rm -rf {NEW}" EXIT; mkdir -m 700 {NEW}
tar -xf - -C {NEW} --no-same-owner; {NEW}/install.sh --wait "$0"' """
)
"""Followed by the seconds to wait."""

STATION: Final = AS_ROOT + f"exec $as /usr/bin/python3 -IB {HOME}/current/device "


def push(package: Path, remote: Remote, say: Callable[[str], None], wait_s: float = WAIT_S) -> None:
    """Install a package on a device.

    Args:
        package: written by `lineside deploy pack`.
        remote: the device.
        say: tells a person.
        wait_s: seconds that the new release has to prove itself.

    Raises:
        InputError: it is no package.
        DeployError: the device can't be reached, is not one that the package is for, or the new
            release did not prove itself; the message says what runs now.
    """
    info = read_info(package)
    found = check_device(remote, info, package.stat().st_size)
    if found.get("power_mode") is not None:
        say(f"nvpmodel {found['power_mode']}: latencies are those of this power mode")
    send(package, remote, say, wait_s)


def send(package: Path, remote: Remote, say: Callable[[str], None], wait_s: float = WAIT_S) -> None:
    """The second half of `push`: package and device have been looked at.

    Raises:
        DeployError: the device can't be reached any more, or the new release did not prove itself.
    """
    say(f"sending {package.stat().st_size / 1e6:.0f} MB to {remote.host}")
    with package.open("rb") as data:
        remote.call(f"{RECEIVE}{wait_s:.0f}", stdin=data, heard=say)


def rollback(remote: Remote, say: Callable[[str], None]) -> None:
    """Let the release before run again.

    Raises:
        DeployError: there is none, or the device can't be reached.
    """
    say(remote.call(STATION + "rollback").strip())


def read_info(package: Path) -> dict[str, Any]:
    """package.json of a package, every file of which is compared with its hash.

    Raises:
        InputError: it is no package, or not whole.
    """
    if not package.is_file():
        msg = f"no file {package}: 'lineside deploy pack' says what it has written"
        raise InputError(msg)
    try:
        with tarfile.open(package) as archive:
            found = json.loads(_read(archive, FILE))
            for name, record in found.get("files", {}).items():
                if file_record(_read(archive, name)).sha256 != record["sha256"]:
                    msg = f"{package} is damaged: {name} has another hash than {FILE} says"
                    raise InputError(msg)
    except (OSError, AttributeError, LookupError, TypeError, ValueError, tarfile.TarError) as error:
        msg = (
            f"{package} is no package, or not all of one: a .tar written by 'lineside deploy "
            "pack' is expected"
        )
        raise InputError(msg) from error
    if found.get("schema") != SCHEMA:
        msg = f"{package} is no package that this version knows: {SCHEMA} is expected in it"
        raise InputError(msg)
    checked: dict[str, Any] = found
    return checked


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    """A file of an archive.

    Raises:
        LookupError: it is not in it, or is no file.
    """
    member = archive.extractfile(name)
    if member is None:
        raise LookupError(name)
    return member.read()


def check_device(
    remote: Remote, info: dict[str, Any], size: int, *, more: int = 0
) -> dict[str, Any]:
    """Refuse a machine that a package is not for, before it is sent there.

    What was cut before is removed first, or it would have no room for another.

    Args:
        remote: the machine.
        info: package.json.
        size: bytes of the package.
        more: bytes that it must have room for, besides.

    Returns:
        What the machine is (`lineside_device.facts`).

    Raises:
        DeployError: naming the machine and the reason.
    """
    remote.run(TIDY, stdin=Path(leftovers.__file__).read_bytes())  # may fail: seen below
    script = Path(facts.__file__).read_bytes()
    code, said, errors = remote.run("exec python3 -IB -", stdin=script)
    try:
        found: dict[str, Any] = json.loads(said)
        check_host(found, info, size, booted=True, more=more)
    except RefusedError as error:
        msg = f"{remote.host}: {error}"
        raise DeployError(msg) from error
    except ValueError as error:
        last = errors.splitlines()[-1] if errors else f"exit code {code}"
        msg = f"{remote.host} is no device: it can't run python3 ({last})"
        raise DeployError(msg) from error
    if not found["root"]:
        remote.call("exec sudo -n true")
    return found
