"""How all stations are: with a real broker and a real agent."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

from lineside.errors import SettingsError
from lineside.messages import Health, Status, StreamHealth
from lineside_deploy.fleet.inventory import read_inventory
from lineside_deploy.fleet.sighting import Sighting
from tests.support.broker import Mosquitto
from tests.support.command import lineside
from tests.support.line import plain_pictures
from tests.support.station import AgentProcess, write_config

STATUS = Status(site="ulm", station="press4", boot="b", state="online", version="0.1.0")
HEALTH = Health(
    site="ulm",
    station="press4",
    boot="b",
    uptime_s=5.0,
    streams=[StreamHealth(stream="top", results=1, dropped_frames=0, rate_hz=1.0, camera="ok")],
    outbox_pending=0,
    disk_free_mb=5000.0,
    cpu_temperature_c=50.0,
    clock_synced=True,
    xnnpack={"cells": True},
)


def inventory(folder: Path, url: str, *stations: str) -> Path:
    path = folder / "inventory.toml"
    path.write_text(f'stations = {json.dumps(stations)}\n[mqtt]\nurl = "{url}"\n')
    return path


@pytest.mark.broker
def test_stations_that_are_there_and_one_that_never_was(
    broker: Mosquitto, tmp_path: Path, bundle_folder: Path
) -> None:
    source = f"line:{plain_pictures(tmp_path / 'line', 3)}"
    config = write_config(tmp_path / "s", url=broker.url, bundle=bundle_folder, source=source)
    here = inventory(tmp_path, broker.url, "ulm/press4")
    both = inventory(tmp_path / "s", broker.url, "ulm/press4", "ulm/press5")
    with AgentProcess(config):
        done = lineside("deploy", "status", here, "--json", "--wait", 60)
        (said,) = map(json.loads, done.stdout.splitlines())
        done = lineside("deploy", "status", both, "--wait", 2, ok=False)
    assert (said["station"], said["state"]) == ("ulm/press4", "online")
    assert said["models"] == [f"{said['status']['models'][0]['name']} 1.0.0"]
    assert said["verdict"] in {"ok", "ng", "review", "no_read"}
    assert said["health"]["streams"][0]["stream"] == "top"
    assert done.stderr == "error: not all are online: ulm/press5 is unknown\n"
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["ulm/press4", "online"] in [line[:2] for line in lines]
    (never,) = (line for line in lines if line[:1] == ["ulm/press5"])
    assert " ".join(never) == "ulm/press5 unknown - - - the broker keeps no status of it"


def test_a_broker_that_is_not_there(tmp_path: Path) -> None:
    path = inventory(tmp_path, "mqtt://127.0.0.1:1", "ulm/press4")
    done = lineside("deploy", "status", path, "--wait", 1, ok=False)
    assert done.stderr.startswith("error: ")
    assert "127.0.0.1:1" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def seen(status: Status = STATUS, **health: object) -> list[str]:
    from msgspec.structs import replace

    sighting = Sighting("ulm/press4")
    now = datetime.now(timezone.utc)
    sighting.take(status, now)
    sighting.take(replace(HEALTH, **health), now)
    return sighting.troubles


@pytest.mark.parametrize(
    ("health", "trouble"),
    [
        ({"xnnpack": {"cells": False}}, "cells without XNNPACK"),
        ({"clock_synced": False}, "clock not synced"),
        ({"cpu_temperature_c": 85.2}, "85 °C"),
        ({"disk_free_mb": 12.4}, "12 MB free"),
        ({"throttled": ["under_voltage"]}, "under_voltage"),
    ],
)
def test_what_is_wrong_is_said(health: dict[str, object], trouble: str) -> None:
    assert seen() == []
    assert seen(**health) == [trouble]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('stations = ["ulm"]', "'ulm' is no station: SITE/STATION is expected"),
        ('stations = ["ulm/+"]', r"station '\+' is refused"),
        ('stations = ["ulm/a", "ulm/a"]', "ulm/a is there twice"),
        ("stations = []", "a list of at least 1 entries is expected"),
        ('station = ["ulm/a"]', "unknown key 'station', did you mean 'stations'"),
    ],
)
def test_inventories_that_are_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "inventory.toml"
    path.write_text(f'{text}\n[mqtt]\nurl = "mqtt://localhost"\n')
    with pytest.raises(SettingsError, match=why):
        read_inventory(path)
    with pytest.raises(SettingsError, match=r"no such file; name the list of stations"):
        read_inventory(tmp_path / "gone.toml")
