"""What systemd hears, on a real datagram socket of either kind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside_agent.supervision import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """What stands where systemd listens: $NOTIFY_SOCKET and the socket."""
    name = f"/{tmp_path}/notify" if request.param == "path" else f"@lineside-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        sock.settimeout(5)
        yield name, sock


def test_all_that_is_said_arrives(manager: tuple[str, socket.socket]) -> None:
    address, sock = manager
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1500000", "HOME": "/"}
    notifier = Notifier.from_environment(environ)
    assert notifier.watchdog_s == 1.5
    assert environ == {"HOME": "/"}  # children don't find it
    assert notifier.ready("looks at top\nand side")
    assert notifier.alive()
    assert notifier.status("x" * 1000)
    assert notifier.stopping("told to")
    heard = [sock.recv(4096).decode() for _ in range(4)]
    assert heard == [
        "READY=1\nSTATUS=looks at top and side",
        "WATCHDOG=1",
        "STATUS=" + "x" * 200,
        "STOPPING=1\nSTATUS=told to",
    ]


def test_a_process_takes_it_out_of_its_own_environment(manager: tuple[str, socket.socket]) -> None:
    address, sock = manager
    code = (
        "import os; from lineside_agent.supervision import Notifier; "
        "Notifier.from_environment().ready('up'); print('NOTIFY_SOCKET' in os.environ)"
    )
    env = os.environ | {"NOTIFY_SOCKET": address}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True
    )
    assert done.stdout == "False\n"
    assert sock.recv(4096) == b"READY=1\nSTATUS=up"


def test_a_watchdog_that_is_meant_for_another_process_is_not_fed() -> None:
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}
    assert Notifier.from_environment(environ).watchdog_s == 0
    environ = {
        "NOTIFY_SOCKET": "/run/x",
        "WATCHDOG_USEC": "1000000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    assert Notifier.from_environment(environ).watchdog_s == 1


@pytest.mark.parametrize("address", ["", "@", "/", "vsock:2:1234", "relative", "/nowhere/at/all"])
def test_without_systemd_nothing_is_sent_and_nothing_fails(address: str) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "nonsense"})
    assert not notifier.ready("up")
    assert not notifier.alive()
    assert notifier.watchdog_s == 0


def test_a_manager_that_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        notifier = Notifier(path)
        began = time.monotonic()
        assert not all(notifier.alive() for _ in range(5000))
        assert time.monotonic() - began < 5
