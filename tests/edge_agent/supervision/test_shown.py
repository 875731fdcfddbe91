"""The status that the broker has, shown to programs of the device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lineside_agent.supervision import show_status
from tests.support.broker import Mosquitto, wait_for
from tests.support.relay import Relay
from tests.support.station import AgentProcess, write_config


@pytest.mark.broker
def test_a_status_is_shown_once_the_broker_has_it(
    broker: Mosquitto,
    tmp_path: Path,
    photos: Path,
    bundle_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(runtime))
    with Relay(broker.port) as relay:
        relay.closed = True
        url = f"mqtt://127.0.0.1:{relay.port}"
        config = write_config(tmp_path, url=url, bundle=bundle_folder, source=f"images:{photos}")
        with AgentProcess(config) as agent:
            wait_for(lambda: "closed the connection without an answer" in agent.log, 30)
            assert list(runtime.iterdir()) == []
            relay.closed = False
            wait_for((runtime / "status.json").exists, 30)
            assert agent.wait() == 0
    shown = json.loads((runtime / "status.json").read_bytes())
    assert (shown["schema"], shown["state"]) == ("lineside.status/1", "online")
    assert [model["from"] for model in shown["models"]] == ["configuration"]
    assert [path.name for path in runtime.iterdir()] == ["status.json"]


def test_a_folder_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "file"))
    show_status(b"{}")
    assert "file/status.json" in caplog.text
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    show_status(b"{}")
