"""A station's key is made on the device, over SSH, and its certificate brought there."""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.settings import MqttSettings
from lineside_deploy.plant.broker import BrokerSettings
from lineside_deploy.plant.plant import make_plant
from tests.support.command import lineside
from tests.support.sshd import SshServer

IDENTITY = Path("etc/lineside/station.pem")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    if os.geteuid() != 0:
        pytest.skip("only root can start an SSH server that lets anybody in")
    with SshServer(tmp_path / "ssh", "/etc") as server:
        yield server


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    return make_plant(
        tmp_path / "plant", BrokerSettings(hosts=["127.0.0.1"], account="root")
    ).folder


def test_the_key_stays_where_it_was_made(server: SshServer, plant: Path) -> None:
    told = ("--plant", plant, "--ssh-config", server.config)
    written = server.folder / "written"
    done = lineside("deploy", "station", "new", *told, "ulm/press4", "device")
    first = (written / IDENTITY).read_text()
    assert done.stdout.startswith("ulm/press4: /etc/lineside/station.pem on device, good until ")
    assert stat.S_IMODE((written / IDENTITY).stat().st_mode) == 0o600
    assert [path.name for path in (written / IDENTITY).parent.iterdir()] == ["station.pem"]
    ssl.create_default_context().load_cert_chain(written / IDENTITY)  # both are of each other
    key = first[: first.index("-----BEGIN CERTIFICATE")]
    assert "PRIVATE KEY" in key
    for path in (path for path in plant.rglob("*") if path.is_file()):
        assert key.encode() not in path.read_bytes()
    assert "KEY" not in done.stdout + done.stderr
    lineside("deploy", "station", "renew", *told, "ulm/press4", "device")
    second = (written / IDENTITY).read_text()
    ssl.create_default_context().load_cert_chain(written / IDENTITY)
    assert second[: len(key)] != key
    assert not Path("/", IDENTITY).exists()


def test_a_name_that_is_taken_changes_nothing(server: SshServer, plant: Path) -> None:
    told = ("--plant", plant, "--ssh-config", server.config)
    lineside("deploy", "station", "new", *told, "ulm/press4", "device")
    written = server.folder / "written" / IDENTITY
    first = written.read_bytes()
    done = lineside("deploy", "station", "new", *told, "ulm/press4", "device", ok=False)
    assert done.stderr.startswith("error: ulm/press4 has a certificate already, good until ")
    assert written.read_bytes() == first


def test_a_device_that_cannot_be_written(server: SshServer, plant: Path) -> None:
    (server.folder / "written" / "etc" / "lineside").write_text("in the way")
    told = ("--plant", plant, "--ssh-config", server.config)
    done = lineside("deploy", "station", "new", *told, "ulm/press4", "device", ok=False)
    assert done.stderr.startswith("error: device: mkdir: cannot create directory ")
    assert lineside("deploy", "station", "list", "--plant", plant).stdout == ""


def test_one_file_is_both_for_the_agent(plant: Path, tmp_path: Path) -> None:
    from lineside.mqtt.opening import new_client

    path = tmp_path / "station.pem"
    lineside("deploy", "station", "new", "--plant", plant, "ulm/press4", "--out", path)
    settings = MqttSettings(
        url="mqtts://127.0.0.1:1",
        ca_file=str(plant / "authority/ca.pem"),
        cert_file=str(path),
        key_file=str(path),
    )
    new_client(settings, "press4")
