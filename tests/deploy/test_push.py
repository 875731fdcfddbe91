"""A device over SSH: who is let in, who is known, and what is no device. A real sshd."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineside.errors import DeployError, InputError
from lineside_deploy.push import NEW, check_device, push, read_info, rollback
from lineside_deploy.remote import Remote
from lineside_device.facts import facts
from lineside_device.places import HOME
from tests.support.command import lineside
from tests.support.sshd import SshServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    if os.geteuid() != 0:
        pytest.skip("only root can start an SSH server that lets anybody in")
    with SshServer(tmp_path / "ssh") as server:
        yield server


@pytest.fixture
def device(server: SshServer) -> Remote:
    return Remote("device", config=server.config)


def package(path: Path, **info: Any) -> Path:  # noqa: ANN401
    told = {"schema": "lineside.package/1", "machine": "riscv64", "python": "3.11", "glibc": 36}
    told |= {"site": "ulm", "station": "press4"}
    data = json.dumps(told | info).encode()
    entry = tarfile.TarInfo("package.json")
    entry.size = len(data)
    with tarfile.open(path, "w") as archive:
        archive.addfile(entry, io.BytesIO(data))
    return path


def test_what_is_run_there(device: Remote) -> None:
    assert device.run("cat; echo bad >&2; exit 3", stdin=b"words") == (3, "words", "bad")


def test_what_it_says_is_heard_at_once(device: Remote) -> None:
    heard: list[float] = []
    code, said, _ = device.run(
        "echo one; sleep 1; echo two", heard=lambda _line: heard.append(time.monotonic())
    )
    assert (code, said) == (0, "one\ntwo\n")
    assert heard[1] - heard[0] > 0.5


def test_a_machine_that_the_package_is_not_for(device: Remote, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(DeployError) as refused:
        push(package(tmp_path / "package.tar"), device, said.append)
    machine = facts()["machine"]
    assert str(refused.value) == (
        f"device: this machine is {machine}, the package is for riscv64: pack for another --target"
    )
    assert said == []  # nothing was sent


def test_a_machine_without_systemd_is_no_device(device: Remote) -> None:
    found = facts()
    if found["systemd"]:
        pytest.skip("systemd runs here")
    info = {"machine": found["machine"], "python": found["python"], "glibc": 17}
    info |= {"site": "ulm", "station": "press4"}
    with pytest.raises(DeployError, match="device: systemd does not run here, and keeps the ag"):
        check_device(device, info, 1000)


def test_what_was_cut_takes_no_room_from_the_next(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start an SSH server that lets anybody in")
    with SshServer(tmp_path / "ssh", "/opt", "/run", str(Path(NEW).parent)) as server:
        cut = [f"{HOME}/releases/cut", NEW]
        device = Remote("device", config=server.config)
        device.call(f"mkdir -p {' '.join(cut)}; touch {NEW}/wheel")
        with pytest.raises(DeployError, match="another --target"):
            check_device(device, read_info(package(tmp_path / "package.tar")), 1000)
        assert device.run(f"ls -d {' '.join(cut)}")[1] == ""


def test_a_server_whose_key_is_another_one(server: SshServer, device: Remote) -> None:
    for known, why in ((None, "is not known here: "), ("other", "is another one than before: ")):
        server.know(known)
        with pytest.raises(DeployError) as refused:
            device.run("true")
        assert str(refused.value).startswith(f"the key of device {why}")
        assert "\n" not in str(refused.value)


def test_a_key_that_is_not_let_in(server: SshServer, device: Remote) -> None:
    server.allow("other")
    with pytest.raises(DeployError, match="device accepts none of this account's keys"):
        device.run("true")


def test_an_account_that_may_not_become_root(device: Remote) -> None:
    # What sudo says to one that is not in its list: here everybody is root.
    with pytest.raises(
        DeployError, match=r"device: its account may not become root .* root@device"
    ):
        device.call("echo 'sudo: a password is required' >&2; exit 1")


def test_a_machine_that_is_not_there(server: SshServer) -> None:
    with pytest.raises(DeployError, match=r"device can't be reached: .*Connection refused"):
        Remote("device", port=1, config=server.config).run("true")


def test_a_connection_that_is_lost(device: Remote) -> None:
    with pytest.raises(DeployError, match=r"the connection to device was lost \(.*\): do it again"):
        device.run("kill -KILL $PPID; sleep 10")


def test_there_is_nothing_to_go_back_to(device: Remote) -> None:
    if Path("/opt/lineside").exists():
        pytest.skip("this machine is a station")
    with pytest.raises(DeployError, match=r"device: .*/opt/lineside/current/device"):
        rollback(device, print)


def test_as_a_person_sees_it(server: SshServer, tmp_path: Path) -> None:
    path = package(tmp_path / "package.tar")
    done = lineside("deploy", "push", "--ssh-config", server.config, "device", path, ok=False)
    assert done.stderr.startswith("error: device: this machine is ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("kind", ["absent", "text", "empty tar", "other schema"])
def test_what_is_no_package(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "package.tar"
    if kind == "text":
        path.write_text("words")
    elif kind == "empty tar":
        tarfile.open(path, "w").close()
    elif kind == "other schema":
        package(path, schema="lineside.package/9")
    with pytest.raises(InputError, match="no file" if kind == "absent" else "is no package"):
        push(path, Remote("nowhere"), print)


def test_a_package_that_is_damaged_is_not_sent(tmp_path: Path) -> None:
    record = {"sha256": hashlib.sha256(b"whole").hexdigest(), "size": 5}
    path = package(tmp_path / "package.tar", files={"install.sh": record})
    with pytest.raises(InputError, match="is no package"):
        push(path, Remote("nowhere"), print)
    with tarfile.open(path, "a") as archive:
        entry = tarfile.TarInfo("install.sh")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"other"))
    with pytest.raises(InputError, match=r"is damaged: install\.sh has another hash than package"):
        push(path, Remote("nowhere"), print)


def test_a_host_that_is_an_option() -> None:
    with pytest.raises(DeployError, match=r"'-oProxyCommand=x' is no host: USER@HOST is expected"):
        Remote("-oProxyCommand=x").run("true")
