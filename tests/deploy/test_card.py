"""What goes onto a card's boot partition, and which folders are none."""

from __future__ import annotations

import json
import stat
import subprocess
import tarfile
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from lineside.errors import DeployError, InputError
from lineside_deploy.card import render_script, write_card
from lineside_deploy.plant import authority as sign
from lineside_deploy.plant.identity import write_identity
from tests.support.command import lineside
from tests.support.disk import tiny_disk

COMMAND_LINE = "console=serial0,115200 root=PARTUUID=1-02 rootwait"
INFO = {
    "schema": "lineside.package/1",
    "target": "rpi-trixie",
    "release": "3f95315e7117",
    "created": "2026-11-22T10:00:00Z",
    "site": "ulm",
    "station": "press4",
    "files": {},
}


def package(folder: Path, target: str, *, identity: bool = False) -> Path:
    path = folder / f"{target}.tar"
    data = json.dumps(INFO | {"target": target, "identity": identity}).encode()
    entry = tarfile.TarInfo("package.json")
    entry.size = len(data)
    with tarfile.open(path, "w") as archive:
        archive.addfile(entry, BytesIO(data))
    return path


def boot_partition(folder: Path, *, cloud: bool) -> Path:
    path = folder / "bootfs"
    path.mkdir()
    (path / "cmdline.txt").write_text(COMMAND_LINE)
    (path / "config.txt").touch()
    if cloud:
        (path / "meta-data").touch()
    return path


def identity_of(name: str, folder: Path) -> Path:
    """A key that was made here, and a certificate for it."""
    now, key = datetime.now(timezone.utc), sign.new_key()
    authority = sign.new_authority("Plant", now)
    path = folder / f"{name.replace('/', '-')}.pem"
    certificate = sign.sign_client(authority, key.public_key(), name, now)
    write_identity(path, key, certificate.public_bytes(Encoding.PEM))
    return path


@pytest.mark.parametrize("cloud", [True, False])
def test_a_card(tmp_path: Path, *, cloud: bool) -> None:
    folder = boot_partition(tmp_path, cloud=cloud)
    source = package(tmp_path, "rpi-trixie" if cloud else "rpi-bookworm")
    identity = identity_of("ulm/press4", tmp_path)
    said = lineside("deploy", "card", folder, source, "--identity", identity).stdout
    assert f"ulm/press4: release 3f95315e7117 is on {folder}" in said
    assert (folder / "lineside.tar").read_bytes() == source.read_bytes()
    assert (folder / "station.pem").read_bytes() == identity.read_bytes()
    assert stat.S_IMODE((folder / "station.pem").stat().st_mode) == 0o600
    script = folder / ("vendor-data" if cloud else "lineside.sh")
    subprocess.run(["sh", "-n", str(script)], check=True)
    line = (folder / "cmdline.txt").read_text()
    assert line.startswith(COMMAND_LINE)
    assert ("systemd.run=/boot/firmware/lineside.sh" in line) is not cloud
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_card(folder, source, identity, print)  # again
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_the_imager_has_asked_for_is_done_too(tmp_path: Path) -> None:
    folder = boot_partition(tmp_path, cloud=False)
    asked = " systemd.run=/boot/firmware/firstrun.sh systemd.unit=kernel-command-line.target"
    (folder / "cmdline.txt").write_text(COMMAND_LINE + asked + "\n")
    write_card(folder, package(tmp_path, "rpi-bookworm"), None, print)
    line = (folder / "cmdline.txt").read_text()
    assert line.count("systemd.run=") == 1
    script = render_script(INFO, cloud=False)
    # Last: it takes the words away that start us, and the power may be cut.
    assert script.index("install.sh") < script.index("firstrun.sh")


@pytest.mark.parametrize(
    ("cloud", "target", "why"),
    [
        (True, "rpi-bookworm", r"of Raspberry Pi OS 13 \(rpi-trixie\), the package is for rpi-b"),
        (False, "rpi-trixie", r"of Raspberry Pi OS 12 \(rpi-bookworm\), the package is for rpi-t"),
        (False, "jetson-jp6", "a card is for a Raspberry Pi, the package is for jetson-jp6"),
    ],
)
def test_cards_of_another_system(tmp_path: Path, *, cloud: bool, target: str, why: str) -> None:
    folder = boot_partition(tmp_path, cloud=cloud)
    with pytest.raises(InputError, match=why):
        write_card(folder, package(tmp_path, target), None, print)
    assert not (folder / "lineside.tar").exists()


def test_folders_that_are_no_boot_partition(tmp_path: Path) -> None:
    source = package(tmp_path, "rpi-trixie")
    with pytest.raises(InputError, match=r"is no boot partition of Raspberry Pi OS: cmdline\.txt"):
        write_card(tmp_path, source, None, print)


def test_a_partition_that_is_too_small(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "bootfs", kib=1024) as folder:
        (folder / "cmdline.txt").write_text(COMMAND_LINE)
        for name in ("config.txt", "meta-data"):
            (folder / name).touch()
        with pytest.raises(DeployError, match="has room for 0 MB, and the package has 0 MB"):
            write_card(folder, package(tmp_path, "rpi-trixie"), None, print)


def test_identities_that_are_none(tmp_path: Path) -> None:
    folder = boot_partition(tmp_path, cloud=True)
    before = {path.name for path in folder.iterdir()}
    source = package(tmp_path, "rpi-trixie", identity=True)
    with pytest.raises(
        InputError, match=r"wants station\.pem: give --identity, from 'lineside depl"
    ):
        write_card(folder, source, None, print)
    with pytest.raises(InputError, match="it is of ulm/press5, and the package of ulm/press4"):
        write_card(folder, source, identity_of("ulm/press5", tmp_path), print)
    with pytest.raises(InputError, match="it is of user:ann, and the package of ulm/press4"):
        write_card(folder, source, identity_of("user:ann", tmp_path), print)
    theirs = identity_of("press4.plant.example", tmp_path)
    words = theirs.read_bytes().split(b"-----BEGIN CERTIFICATE")
    for content in (b"", b"words", words[0], b"-----BEGIN CERTIFICATE" + words[1]):
        (tmp_path / "half.pem").write_bytes(content)
        with pytest.raises(
            InputError, match=r"half\.pem is no identity for this card: it is no pri"
        ):
            write_card(folder, source, tmp_path / "half.pem", print)
    other = identity_of("ulm/press4", tmp_path).read_bytes().split(b"-----BEGIN CERTIFICATE")
    (tmp_path / "half.pem").write_bytes(words[0] + b"-----BEGIN CERTIFICATE" + other[1])
    with pytest.raises(InputError, match="its private key is not that of its certificate"):
        write_card(folder, source, tmp_path / "half.pem", print)
    with pytest.raises(InputError, match=r"gone\.pem"):
        write_card(folder, source, tmp_path / "gone.pem", print)
    assert {path.name for path in folder.iterdir()} == before
    write_card(folder, source, theirs, print)  # another authority's, which has names of its own
    assert (folder / "station.pem").exists()
    write_card(folder, package(tmp_path, "rpi-trixie"), None, print)
    assert not (folder / "station.pem").exists()
