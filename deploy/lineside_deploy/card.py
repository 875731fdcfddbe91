"""`lineside deploy card`: a package onto the boot partition of a stock Raspberry Pi OS card.

The card is flashed as ever (Raspberry Pi Imager, with account, network and SSH as it asks for
them); then the package and a few files go onto its boot partition, which every workstation can
write. At its first start the device installs the package, and is a station.

    Raspberry Pi OS 13   `vendor-data`: cloud-init runs it once, after what the Imager has asked for
    Raspberry Pi OS 12   `lineside.sh`, which the kernel's command line starts before all else; what
                         the Imager has left there (`firstrun.sh`) it runs in the end

A start in which the power is cut does not count: the next one does it again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from lineside.errors import DeployError, InputError
from lineside.extras import require
from lineside.files import new_file, read_file, write_file
from lineside_deploy.push import read_info
from lineside_device.package import created
from lineside_device.places import CERTIFICATE, IDENTITY

PACKAGE: Final = "lineside.tar"
SCRIPT: Final = "lineside.sh"
LOG: Final = "lineside.log"
BOOT: Final = "/boot/firmware"
COMMAND_LINE: Final = "cmdline.txt"
RESERVE: Final = 16_000_000
"""Bytes that stay free on the boot partition: the system writes there, too."""

ONCE: Final = (
    f" systemd.run={BOOT}/{SCRIPT} systemd.run_success_action=reboot"
    " systemd.unit=kernel-command-line.target"
)

_INSTALL: Final = """\
#!/bin/sh
# Makes this device a station. What it says is in {log} beside it.
boot={boot}
exec >>"$boot/{log}" 2>&1
echo "$(date -u) lineside"
# A Pi has no clock that runs without power, and certificates are good from a day on.
[ "$(date +%s)" -ge {floor} ] || date -s @{floor}
{before}(
  set -e
  [ -e "$boot/{package}" ] || exit 0  # it is installed, and then the power was cut
  new=/var/tmp/lineside-card
  rm -rf "$new"; mkdir -m 700 "$new"
  tar -xf "$boot/{package}" -C "$new" --no-same-owner
  if [ -e "$boot/{key}" ]; then
    mkdir -p -m 700 {identity}
    install -m 600 "$boot/{key}" {identity}/{key}
    sync
    shred -u "$boot/{key}" 2>/dev/null || rm -f "$boot/{key}"
  fi
  code=0; "$new/install.sh"{words} || code=$?
  rm -rf "$new"
  [ $code -gt 1 ] || rm -f "$boot/{package}"  # 1: it is installed, and in trouble
  sync
  exit $code
)
{after}
"""

# cloud-init runs vendor-data at the first start alone, whatever becomes of that.
_EACH_START: Final = """\
again=/var/lib/cloud/scripts/per-boot/lineside
if [ "$0" != "$again" ]; then
  mkdir -p "${again%/*}"
  install -m 755 "$0" /var/lib/cloud/lineside && sync && mv /var/lib/cloud/lineside "$again"; sync
fi
"""
_NO_MORE: Final = """\
code=$?
rm -f "$again"
exit $code"""

# The Imager's script takes the words away that start it, as we do: what comes later would be lost.
_FIRST_RUN: Final = f"""\
[ ! -e "$boot/firstrun.sh" ] || bash "$boot/firstrun.sh" || echo "firstrun.sh: exit code $?"
sed -i 's| systemd\\.[^ ]*||g' "$boot/{COMMAND_LINE}"
sync
exit 0  # a start as ever follows, so that somebody can look"""


def write_card(
    folder: Path, package: Path, identity: Path | None, say: Callable[[str], None]
) -> None:
    """Put a package onto a card's boot partition.

    Args:
        folder: where that is mounted.
        package: for Raspberry Pi OS 12 or 13.
        identity: of the station, made by `station new --out`; None: its configuration wants none.
        say: tells a person.

    Raises:
        InputError: the folder is no boot partition, or of another system than the package; the
            identity is missing, or not of the package's station.
        DeployError: it has not enough room.
        StorageError: it can't be written.
    """
    info = read_info(package)
    cloud = check_card(folder, info)
    pem = _identity(identity, info)
    room = shutil.disk_usage(folder).free - RESERVE
    size = package.stat().st_size
    if size > room + _size(folder / PACKAGE):
        msg = (
            f"{folder} has room for {max(0, room) / 1e6:.0f} MB, and the package has "
            f"{size / 1e6:.0f} MB: flash the card anew"
        )
        raise DeployError(msg)
    say(f"copying {size / 1e6:.0f} MB")
    (folder / PACKAGE).unlink(missing_ok=True)  # there is no room for both
    with new_file(folder / PACKAGE) as part:
        shutil.copyfile(package, part)
    if pem is None:
        (folder / CERTIFICATE.name).unlink(missing_ok=True)  # another package's
    else:
        write_file(folder / CERTIFICATE.name, pem, 0o600)
    script = render_script(info, cloud=cloud).encode()
    if cloud:
        write_file(folder / "vendor-data", script, 0o755)
    else:
        write_file(folder / SCRIPT, script, 0o755)
        line = read_file(folder / COMMAND_LINE, 4096).decode().strip()
        kept = " ".join(word for word in line.split() if not word.startswith("systemd."))
        write_file(folder / COMMAND_LINE, f"{kept}{ONCE}\n".encode())
    say(f"{info['site']}/{info['station']}: release {info['release']} is on {folder}")


def render_script(info: dict[str, Any], *, cloud: bool) -> str:
    """What the device runs once.

    Args:
        info: package.json.
        cloud: by cloud-init, when the system is up; otherwise before it is, so that the release is
            tried at the start that follows.
    """
    return _INSTALL.format(
        boot=BOOT,
        log=LOG,
        floor=int(created(info).timestamp()),
        before=_EACH_START if cloud else "",
        after=_NO_MORE if cloud else _FIRST_RUN,
        package=PACKAGE,
        key=CERTIFICATE.name,
        identity=IDENTITY,
        words="" if cloud else " --later",
    )


def check_card(folder: Path, info: dict[str, Any]) -> bool:
    """Refuse what is no boot partition, or one of another system than a package is for.

    Returns:
        Whether cloud-init sets the system up.

    Raises:
        InputError: naming it.
    """
    if info["target"] not in {"rpi-bookworm", "rpi-trixie"}:
        msg = (
            f"a card is for a Raspberry Pi, the package is for {info['target']}: pack it with "
            "--target rpi-trixie, or rpi-bookworm"
        )
        raise InputError(msg)
    if not folder.is_dir():
        msg = f"no folder {folder}: name where the card's partition 'bootfs' is mounted"
        raise InputError(msg)
    missing = [name for name in (COMMAND_LINE, "config.txt") if not (folder / name).is_file()]
    if missing:
        msg = (
            f"{folder} is no boot partition of Raspberry Pi OS: {missing[0]} is not there; name "
            "where the card's partition 'bootfs' is mounted"
        )
        raise InputError(msg)
    cloud = (folder / "meta-data").is_file() or (folder / "user-data").is_file()
    if cloud != (info["target"] == "rpi-trixie"):
        system = "13 (rpi-trixie)" if cloud else "12 (rpi-bookworm)"
        msg = f"{folder} is of Raspberry Pi OS {system}, the package is for {info['target']}"
        raise InputError(msg)
    return cloud


def _identity(path: Path | None, info: dict[str, Any]) -> bytes | None:
    """The identity, if it is the one that is needed."""
    name = f"{info['site']}/{info['station']}"
    if path is None:
        if info.get("identity"):
            msg = (
                f"the configuration wants {CERTIFICATE.name}: give --identity, from 'lineside "
                f"deploy station new {name} --out {info['station']}.pem'"
            )
            raise InputError(msg)
        return None
    pem = read_file(path, 64 * 1024)
    require("cryptography.x509", extra="deploy")
    from lineside_deploy.plant.identity import check_identity

    try:
        check_identity(pem, name)
    except InputError as error:
        msg = f"{path} is no identity for this card: {error}"
        raise InputError(msg) from error
    return pem


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
