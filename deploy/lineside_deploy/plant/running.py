"""The broker that runs from a plant's folder, on this machine.

Mosquitto reads its ACL and its list of revoked certificates again when it is told to, but a session
that is live goes on, whatever the list says. So after a revocation the broker is ended, and what
keeps it running (systemd, by `lineside-broker.service`) starts it anew within a second or two:
everybody comes back but the one that was revoked. No result is lost by it: stations keep theirs
until the broker has them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Final

from lineside.errors import DeployError
from lineside_deploy.plant.plant import UNIT, Plant

BACK_S: Final = 8.0
"""Seconds that the broker has to be there again."""
POLL_S: Final = 0.05


def running(plant: Plant) -> int | None:
    """The broker's process id; None: it does not run, or not on this machine."""
    try:
        pid = int((plant.broker / "mosquitto.pid").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    ours = os.fsencode(plant.broker / "mosquitto.conf")
    return pid if ours in words else None


def reload(plant: Plant) -> bool:
    """Let the broker read its ACL and its certificates again.

    Returns:
        Whether it runs.
    """
    pid = running(plant)
    if pid is not None:
        _signal(pid, signal.SIGHUP)
    return pid is not None


def restart(plant: Plant) -> bool:
    """End every session, and wait until the broker is there again.

    Returns:
        Whether it ran.

    Raises:
        DeployError: it may not be ended, or nothing started it again.
    """
    old = running(plant)
    if old is None:
        return False
    _signal(old, signal.SIGTERM)
    deadline = time.monotonic() + BACK_S
    while running(plant) in {None, old}:
        if time.monotonic() > deadline:
            msg = (
                f"the broker was ended, and nothing has started it again within {BACK_S:.0f} s: "
                f"nobody is connected; systemctl restart {UNIT.removesuffix('.service')}"
            )
            raise DeployError(msg)
        time.sleep(POLL_S)
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    except PermissionError as error:
        msg = (
            f"only root or the broker's account may tell it that its files changed (process {pid})"
        )
        raise DeployError(msg) from error
