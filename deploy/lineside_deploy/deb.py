"""`lineside deploy deb`: a package for those who install by apt.

It lays the same files down below /usr/lib and runs the same install.sh, so that a release must
prove itself in the same way. Removing it leaves results, keys and passwords; purging it nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final

from lineside.errors import DeployError
from lineside.files import new_file
from lineside_deploy.push import read_info
from lineside_device.package import created
from lineside_device.places import HOME, IDENTITY, STATE, USER

NAME: Final = "lineside-station"
PLACE: Final = f"usr/lib/{NAME}"
ARCHITECTURES: Final = {"aarch64": "arm64", "x86_64": "amd64"}

CONTROL: Final = """\
Package: {name}
Version: {version}
Architecture: {architecture}
Maintainer: {site}/{station}
Depends: python3 (>= {python}), python3 (<< {next_python})
Section: misc
Priority: optional
Description: lineside station {site}/{station}
 Release {release}: lineside {lineside} for {target}.
"""

SCRIPTS: Final = {
    "postinst": f"""\
#!/bin/sh
set -e
[ "$1" != configure ] || exec /{PLACE}/install.sh
""",
    "prerm": f"""\
#!/bin/sh
set -e
[ "$1" != remove ] || [ ! -e {HOME}/current/device ] ||
  python3 -IB {HOME}/current/device uninstall --yes --keep
""",
    "postrm": f"""\
#!/bin/sh
set -e
if [ "$1" = purge ]; then
  rm -rf {HOME} {STATE} {IDENTITY}
  ! id {USER} >/dev/null 2>&1 || userdel {USER}
  ! getent group {USER} >/dev/null || groupdel {USER}
fi
""",
}


def make_deb(package: Path, out: Path | None) -> Path:
    """Make a Debian package of a package.

    Args:
        package: written by `lineside deploy pack`.
        out: the file; None: named as Debian names it, here.

    Returns:
        The file.

    Raises:
        InputError: it is no package, or damaged.
        DeployError: dpkg-deb is not there, or fails.
        StorageError: the disk is full or can't be written.
    """
    info = read_info(package)
    builder = shutil.which("dpkg-deb")
    if builder is None:
        msg = "dpkg-deb is not installed: apt-get install dpkg"
        raise DeployError(msg)
    version = version_of(info)
    architecture = ARCHITECTURES[info["machine"]]
    out = out or Path(f"{NAME}_{version}_{architecture}.deb")
    with new_file(out) as part, tempfile.TemporaryDirectory(prefix="lineside-deb-") as work:
        root = Path(work) / "root"
        (root / PLACE).mkdir(parents=True)
        with tarfile.open(package) as archive:
            archive.extractall(root / PLACE, filter="data")
        # A camera's address in its configuration may hold a password.
        (root / PLACE).chmod(0o700)
        _write_control(root / "DEBIAN", info, version, architecture)
        _build(builder, root, part, info)
    return out


def version_of(info: dict[str, Any]) -> str:
    """A version that grows from package to package: of lineside, when it was made, the release."""
    return f"{info['lineside']}+{created(info):%Y%m%d%H%M%S}.{info['release']}"


def _write_control(folder: Path, info: dict[str, Any], version: str, architecture: str) -> None:
    folder.mkdir()
    major, minor = map(int, info["python"].split("."))
    told = info | {"name": NAME, "version": version, "architecture": architecture}
    text = CONTROL.format(**told, next_python=f"{major}.{minor + 1}")
    (folder / "control").write_text(text)
    for name, script in SCRIPTS.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)


def _build(builder: str, root: Path, out: Path, info: dict[str, Any]) -> None:
    """Wheels are compressed already: doing it again takes long and gains nothing."""
    done = subprocess.run(
        [builder, "--root-owner-group", "-Znone", "--build", str(root), str(out)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"SOURCE_DATE_EPOCH": str(int(created(info).timestamp()))},
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["without a word"]
        msg = f"dpkg-deb failed: {last[0]}"
        raise DeployError(msg)
