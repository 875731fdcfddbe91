"""The agent as systemd sees it: a real process, a real broker, a socket that stands for systemd."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.broker import Mosquitto, free_port
from tests.support.line import plain_pictures
from tests.support.station import AgentProcess, write_config


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    """Where the agent's words to systemd arrive."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(30)
        yield sock


def words(sock: socket.socket) -> str:
    return sock.recv(4096).decode()


def metrics(port: int) -> dict[str, float]:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    families = text_string_to_metric_families(text)
    return {sample.name: sample.value for family in families for sample in family.samples}


def children_of(pid: int) -> list[Path]:
    """Its processes, as folders of /proc."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if f"\nPPid:\t{pid}\n" in (process / "status").read_text():
                found.append(process)
    return found


@pytest.mark.broker
def test_the_agent_says_that_it_is_ready_alive_and_stopping(
    tmp_path: Path,
    bundle_folder: Path,
    heard: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    with Mosquitto(tmp_path / "broker") as broker:
        config = write_config(
            tmp_path / "station",
            url=broker.url,
            bundle=bundle_folder,
            source=f"line:{plain_pictures(tmp_path / 'line', 3)}",
        )
        config.write_text(config.read_text() + f"[metrics]\nport = {port}\n")
        # Only now: mosquitto speaks to systemd too.
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "4000000")
        with AgentProcess(config) as agent:
            assert words(heard) == "READY=1\nSTATUS=looking: top"
            assert [words(heard) for _ in range(3)] == ["WATCHDOG=1"] * 3
            # None of its processes has inherited whom to notify.
            assert agent.process is not None
            children = children_of(agent.process.pid)
            assert children
            for child in children:
                assert b"NOTIFY_SOCKET" not in (child / "environ").read_bytes()
            now = metrics(port)
            assert now["lineside_broker_connected"] == 1
            assert now["lineside_latency_seconds_count"] > 0
            assert now["lineside_watchdog_age_seconds"] < 4

            agent.send(signal.SIGSTOP)  # the whole process stands still: nobody feeds
            time.sleep(0.2)
            heard.settimeout(0.01)
            with contextlib.suppress(TimeoutError):  # what was said before
                while True:
                    words(heard)
            heard.settimeout(3)
            with pytest.raises(TimeoutError):
                words(heard)
            heard.settimeout(30)
            agent.send(signal.SIGCONT)
            assert words(heard).startswith("STATUS=the main loop has stood still for ")
            assert words(heard) == "WATCHDOG=1"

            agent.send(signal.SIGTERM)
            said = ""
            while not said.startswith("STOPPING=1"):
                said = words(heard)
            assert agent.wait() == 0
