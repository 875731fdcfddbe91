"""`lineside deploy pack`: a bundle, a configuration and a system become one file."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

import lineside_device
from lineside.bundle import Bundle, open_bundle
from lineside.errors import LinesideError
from lineside.files import new_file, read_file, storage_error
from lineside.keys import read_public_key
from lineside.settings import parse_settings
from lineside_deploy.package.bom import bill_of_materials
from lineside_deploy.package.configuration import CONFIG, DeviceConfig, device_config
from lineside_deploy.package.contents import (
    Package,
    PackagedModel,
    PackageFile,
    file_record,
    release_name,
)
from lineside_deploy.package.wheels import fetch_wheels, own_wheel
from lineside_deploy.targets import Target
from lineside_deploy.unit import TRIAL, render_unit
from lineside_device.package import CREATED, FILE
from lineside_device.places import CERTIFICATE, HOME, STATE, TRIAL_UNIT, UNIT, USER

MAX_FILE_BYTES: Final = 64 * 1024
"""Of a key or a certificate that a configuration names."""

INSTALL: Final = """\
#!/bin/sh
# Makes this device a station, or brings it up to date: sudo ./install.sh
set -eu
umask 022
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
command -v python3 >/dev/null || { echo "error: this system has no python3" >&2; exit 2; }
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
  echo "error: $(python3 --version) is too old: Python 3.10 or later is needed" >&2; exit 2; }
exec python3 -IB "$here/device" install "$here" "$@"
"""

STARTS_DEVICE: Final = """\
import sys

from lineside_device.main import main

sys.exit(main())
"""


def pack(
    config: Path,
    bundle: Path | None,
    target: Target,
    out: Path | None,
    say: Callable[[str], None],
) -> tuple[Path, Package]:
    """Make a package.

    Args:
        config: the station's configuration, as it is on the workstation.
        bundle: instead of what its only `[[model]]` names.
        target: the system that it is for.
        out: the file; None: named after the station, here.
        say: tells a person what is done.

    Returns:
        The file, and what it says of itself.

    Raises:
        SettingsError: the agent would refuse the configuration.
        BundleError: a bundle is refused, or is not signed by the key that is trusted.
        DeployError: the wheels can't be had.
        StorageError: the disk is full or can't be written.
    """
    device = device_config(config, bundle)
    models = {name: _opened(device, name) for name in device.bundles}
    with tempfile.TemporaryDirectory(prefix="lineside-pack-") as work:
        folder = Path(work) / "package"
        try:
            _lay_out(folder, device, models)
            say(f"fetching wheels for {target.title}, Python {target.python}")
            (folder / "wheels").mkdir()
            fetch_wheels(target, folder / "wheels")
            own_wheel(folder / "wheels")
            package = _describe(folder, device, models, target)
            out = out or Path(f"{package.station}-{target.name}-{package.release}.tar")
            _write_tar(folder, out)
        except OSError as error:
            if isinstance(error, LinesideError):
                raise
            raise storage_error(error, out or folder) from error
    return out, package


def _opened(device: DeviceConfig, name: str) -> Bundle:
    """A model's bundle, checked as the station will."""
    (model,) = (one for one in device.settings.model if one.name == name)
    trust = read_public_key(Path(model.trust)) if model.trust else None
    return open_bundle(device.bundles[name], trust=trust)


def _lay_out(folder: Path, device: DeviceConfig, models: dict[str, Bundle]) -> None:
    """All but the wheels, and what is said of all."""
    release = folder / "release"
    for name, bundle in models.items():
        for file, data in bundle.files.items():
            _put(release / "bundles" / name / file, data)
    for name, source in device.files.items():
        _put(release / name, read_file(source, MAX_FILE_BYTES))
    _put(release / CONFIG, device.text.encode())
    current = HOME / "current"
    settings = parse_settings(device.text, folder=current, name=CONFIG)
    unit = render_unit(
        settings,
        config=current / CONFIG,
        command=current / "venv/bin/lineside",
        user=USER,
        state=STATE,
    )
    _put(release / UNIT, unit.encode())
    _put(release / TRIAL_UNIT, TRIAL.encode())
    _put(folder / "install.sh", INSTALL.encode())
    (folder / "install.sh").chmod(0o755)
    _put(folder / "device" / "__main__.py", STARTS_DEVICE.encode())
    for code in sorted(Path(lineside_device.__file__).parent.glob("*.py")):
        _put(folder / "device" / "lineside_device" / code.name, code.read_bytes())


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _describe(
    folder: Path, device: DeviceConfig, models: dict[str, Bundle], target: Target
) -> Package:
    """Write package.json, the bill of materials, and what pip is to install."""
    wheels = {file.name: file_record(file.read_bytes()) for file in (folder / "wheels").iterdir()}
    lines = [_requirement(name, record) for name, record in sorted(wheels.items())]
    _put(folder / "requirements.txt", "".join(lines).encode())
    files = {
        str(PurePosixPath(file.relative_to(folder))): file_record(file.read_bytes())
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    packaged = [
        PackagedModel(
            name=name,
            bundle=bundle.manifest.name,
            version=bundle.manifest.version,
            digest=bundle.digest,
        )
        for name, bundle in models.items()
    ]
    release = release_name(files)  # before what holds a date
    _put(folder / "bom.json", bill_of_materials(version("lineside"), wheels, packaged))
    files["bom.json"] = file_record((folder / "bom.json").read_bytes())
    settings = device.settings
    package = Package(
        release=release,
        created=datetime.now(timezone.utc).strftime(CREATED),
        lineside=version("lineside"),
        target=target.name,
        python=target.python,
        machine=target.machine,
        glibc=target.glibc,
        l4t=target.l4t,
        site=settings.station.site,
        station=settings.station.name,
        prefix=settings.mqtt.prefix,
        identity=device.cert_file == str(CERTIFICATE),
        models=packaged,
        files=files,
    )
    _put(folder / FILE, msgspec.json.format(msgspec.json.encode(package), indent=1))
    return package


def _requirement(wheel: str, record: PackageFile) -> str:
    """A line of what pip installs; pip itself is not."""
    name, release = wheel.split("-")[:2]
    return "" if name == "pip" else f"{name}=={release} --hash=sha256:{record.sha256}\n"


def _write_tar(folder: Path, out: Path) -> None:
    """One file, whole or not at all; the same package gives the same bytes."""
    with (
        new_file(out, mode=0o600) as part,
        tarfile.open(part, "w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                entry = archive.gettarinfo(file, str(file.relative_to(folder)))
                entry.uid = entry.gid = 0
                entry.uname = entry.gname = "root"
                entry.mode = 0o755 if file.suffix == ".sh" else 0o644
                entry.mtime = 0
                with file.open("rb") as data:
                    archive.addfile(entry, data)
