"""A station's backup, over a real SSH server; and back onto a new device."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyrage import passphrase

from lineside.errors import DeployError, InputError
from lineside.messages import Result, Status
from lineside_deploy.backup import CLEAR, FINISH, MOVE_KEYS, put_back, read_backup, restore
from lineside_deploy.package.build import STARTS_DEVICE
from lineside_deploy.remote import Remote
from tests.support.broker import Mosquitto, wait_for
from tests.support.command import lineside
from tests.support.disk import tiny_disk
from tests.support.line import plain_pictures
from tests.support.listener import Listener
from tests.support.sshd import SshServer
from tests.support.station import AgentProcess, write_config

LAYERS = ("/etc", "/opt", "/run", "/var/lib")
WORDS = "correct horse battery"
KEY = "the station's key"


@pytest.fixture(autouse=True)
def root_only() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start an SSH server that lets anybody in")


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text(f"{WORDS}\n")
    return path


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, with room for nothing."""
    with tiny_disk(tmp_path / "small", kib=16) as folder:
        yield folder


def install(root: Path, config: Path) -> None:
    """What a package lays down that a backup needs."""
    release = root / "opt/lineside/releases/abc"
    (release / "device").mkdir(parents=True)
    (release / "device/__main__.py").write_text(STARTS_DEVICE)
    shutil.copytree("deploy/lineside_device", release / "device/lineside_device")
    told = {"site": "ulm", "station": "press4", "release": "abc", "lineside": "0.1.0"}
    (release / "package.json").write_text(json.dumps(told))
    shutil.copy(config, release / "station.toml")
    (release / "complete").touch()
    (root / "opt/lineside/current").symlink_to("releases/abc")
    (root / "etc/lineside").mkdir()
    (root / "etc/lineside/station.pem").write_text(KEY)


@pytest.mark.broker
def test_a_new_device_gets_what_the_old_one_had(
    broker: Mosquitto, bundle_folder: Path, tmp_path: Path, words: Path, small: Path
) -> None:
    state, backup = tmp_path / "state", tmp_path / "press4.backup"
    state.mkdir()
    source = f"line:{plain_pictures(tmp_path / 'line', 3)}"
    config = write_config(
        tmp_path / "s",
        url=broker.url,
        bundle=bundle_folder,
        source=source,
        outbox=f'path = "{state}/outbox.sqlite"\n[audit]\npath = "{state}/audit.jsonl"',
    )
    old = SshServer(tmp_path / "old", *LAYERS, bound={"/var/lib/lineside": state})
    install(old.folder / "written", config)
    with Listener(broker.url) as listener, AgentProcess(config) as agent:
        wait_for(lambda: len(listener.of(Result)) > 20)
        agent.send(signal.SIGTERM)
        assert agent.wait() == 0
    with old:
        told = ("--ssh-config", old.config, "device", "--out", backup, "--passphrase-file", words)
        done = lineside("deploy", "backup", *told)
        full = small / "press4.backup"
        failed = lineside("deploy", "backup", *told, "--out", full, ok=False)
        assert failed.stderr.startswith(f"error: {full}: the disk is full; free")
        assert not list(full.parent.iterdir())
    assert done.stdout.startswith(f"Backup: {backup} (")
    with tarfile.open(backup) as archive:
        names = set(archive.getnames())
        everything = b"".join(
            data.read() for entry in archive if (data := archive.extractfile(entry))
        )
    assert names >= {"backup.json", "station.toml", "identity.age", "state/outbox.sqlite"}
    assert backup.stat().st_size < 5_000_000  # the reserve of the outbox takes nothing
    assert KEY.encode() not in everything

    _, sealed, unpacked = read_backup(backup)
    assert unpacked > backup.stat().st_size
    identity = passphrase.decrypt(sealed, WORDS)
    with SshServer(tmp_path / "new", *LAYERS) as new:
        device, there = Remote("device", config=new.config), new.folder / "written"
        device.call(CLEAR)
        put_back(backup, identity, device)
        with pytest.raises(DeployError, match="device: /var/lib/lineside holds a station already"):
            device.call(CLEAR)
    assert (there / "etc/lineside/station.pem").read_text() == KEY
    # The agent goes on where the old one was: its boot is kept, to be asked for, and a new begins.
    config.write_text(config.read_text().replace(str(state), str(there / "var/lib/lineside")))
    (boot,) = {boot for boot, _ in listener.results()}
    with Listener(broker.url) as again, AgentProcess(config):
        wait_for(lambda: again.of(Result))
        kept = {one.boot: one for status in again.of(Status) for one in status.ledger}
    assert kept[boot].last == max(seq for _, seq in listener.results())
    assert {found for found, _ in again.results()} == {*kept} - {boot}
    assert not (there / "var/lib/lineside.new").exists()
    assert not Path("/var/lib/lineside").exists()


@pytest.mark.parametrize("cut", ["sync", MOVE_KEYS])  # before the first rename, and the second
def test_a_restore_that_is_cut_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    path, identity = tmp_path / "press4.backup", io.BytesIO()
    with tarfile.open(path, "w:gz") as state, tarfile.open(fileobj=identity, mode="w") as keys:
        for archive, name in ((state, "state/outbox.sqlite"), (keys, "identity/station.pem")):
            entry = tarfile.TarInfo(name)
            entry.size = len(KEY)
            archive.addfile(entry, io.BytesIO(KEY.encode()))
    with SshServer(tmp_path / "ssh", *LAYERS) as server:
        device, there = Remote("device", config=server.config), server.folder / "written"
        with monkeypatch.context() as patched:
            patched.setattr("lineside_deploy.backup.FINISH", FINISH.replace(cut, "exit 1", 1))
            with pytest.raises(DeployError):
                put_back(path, identity.getvalue(), device)
        assert not (there / "etc/lineside/station.pem").exists()
        half = cut == MOVE_KEYS
        assert (there / "var/lib/lineside/outbox.sqlite").exists() is half
        if half:
            with pytest.raises(DeployError, match=r"put there just now\? then push its package"):
                device.call(CLEAR)
        else:
            device.call(CLEAR)
            put_back(path, identity.getvalue(), device)
        assert (there / "etc/lineside/station.pem").read_text() == KEY
        assert (there / "var/lib/lineside/outbox.sqlite").read_text() == KEY
        assert not (there / "var/lib/lineside.new").exists()
        assert not (there / "etc/lineside.new").exists()


def test_what_is_no_station_has_no_backup(tmp_path: Path, words: Path) -> None:
    backup = tmp_path / "press4.backup"
    with SshServer(tmp_path / "ssh", *LAYERS) as server:
        told = ("--ssh-config", server.config, "device", "--out", backup)
        done = lineside("deploy", "backup", *told, "--passphrase-file", words, ok=False)
        assert done.stderr.startswith("error: device: ")
        assert "/opt/lineside/current/device" in done.stderr
        assert not backup.exists()
        assert not list(tmp_path.glob(".backup-*"))
    words.write_text("short\n")
    done = lineside("deploy", "backup", *told, "--passphrase-file", words, ok=False)
    assert done.stderr.endswith("a passphrase of at least 8 characters is expected\n")
    done = lineside("deploy", "backup", *told, ok=False)
    assert "--passphrase-file, or LINESIDE_BACKUP_PASSPHRASE" in done.stderr


def test_what_is_no_backup(tmp_path: Path) -> None:
    path = tmp_path / "press4.backup"
    for content in (None, b"", b"words"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=r"press4\.backup is no backup"):
            restore(path, tmp_path / "package.tar", Remote("nowhere"), WORDS, print)
