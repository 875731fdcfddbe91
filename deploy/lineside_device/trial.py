"""A new release must prove itself: online, no model refused, its status taken by the broker.

The agent writes each status that the broker has acknowledged to /run/lineside/status.json. A
release is good once one of its own is there with no trouble but what the release before had as
well. If that takes too long, or one of its models is refused, the link goes back.

It runs as a unit of its own: a connection that is cut, or a power cut, does not leave it undecided.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lineside_device.home import Home, Trial

STATUS = Path("/run/lineside/status.json")
WAIT_S = 180.0
"""Seconds that a release has: an agent tries each model in a child first, and a card is slow."""
POLL_S = 0.5
SAID = 3
"""Complaints of the agent that are told: the reason need not be the last."""
REFUSED = "a bundle is not used"
"""What the agent says of a model that it refuses."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        release: that was tried.
        good: whether it stays.
        why: in a sentence.
    """

    release: str
    good: bool
    why: str


def read_status(path: Path = STATUS) -> dict[str, Any] | None:
    """The last status that the broker has acknowledged; None: none, or none that can be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def confirmed_at(path: Path = STATUS) -> str | None:
    """When the broker acknowledged that status, UTC; None: there is none."""
    try:
        when = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
    except OSError:
        return None
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def refusal(status: dict[str, Any] | None, package: dict[str, Any]) -> str:
    """Which model of a release its agent has refused; empty: none.

    It tries them before it says anything, and does not try them again. A model that a command chose
    in the place of the release's is none that was refused.

    Args:
        status: the last one of the new release; None: there is none yet.
        package: package.json.
    """
    reasons = (status or {}).get("reasons", [])
    for model in package["models"]:
        name = model["name"]
        if f"model_fallback:{name}" in reasons or f"no_model:{name}" in reasons:
            return f"model {name} does not run {model['bundle']} {model['version']}"
    return ""


def lacking(status: dict[str, Any] | None, package: dict[str, Any], old: frozenset[str]) -> str:
    """What a status lacks to prove a release, and may have later; empty: nothing.

    Args:
        status: the last one of the new release; None: there is none yet.
        package: package.json.
        old: reasons for which the release before was degraded.
    """
    if status is None:
        return "its status has not reached the broker"
    if status.get("version") != package["lineside"]:
        return f"lineside {status.get('version')} runs, and not {package['lineside']}"
    new = [one for one in status.get("reasons", []) if one not in old]
    if status.get("state") == "offline" or new:
        return f"it is {status.get('state')}: {', '.join(new)}"
    return ""


def try_release(
    home: Home,
    trial: Trial,
    *,
    package: dict[str, Any],
    restart: Callable[[], None],
    complaints: Callable[[], list[str]],
    status: Callable[[], dict[str, Any] | None] = read_status,
) -> Outcome:
    """Wait until the release has proved itself, or go back to the one before.

    Args:
        home: of the releases; the link leads to the one that is tried.
        trial: what is tried, and what was before.
        package: package.json of the one that is tried.
        restart: starts the agent anew, of the release that the link leads to.
        complaints: what the agent has complained of, the last at the end.
        status: the last one that the broker has acknowledged.
    """
    old = trial.old or {}
    reasons, boot = frozenset(old.get("reasons", [])), old.get("boot")
    deadline = time.monotonic() + trial.wait_s
    while True:
        found = status()
        if found is not None and found.get("boot") == boot:
            found = None  # of the agent before
        if why := refusal(found, package):
            said = complaints()
            why += f" ({'; '.join([one for one in said if REFUSED in one] or said[-1:])})"
            break
        why = lacking(found, package, reasons)
        if not why:
            return Outcome(trial.release, good=True, why="online, and no model is refused")
        if time.monotonic() >= deadline:
            why = f"after {trial.wait_s:.0f} s {why} ({'; '.join(complaints()[-SAID:])})"
            break
        time.sleep(POLL_S)
    if trial.before is None:
        return Outcome(trial.release, good=False, why=f"{why}; there is no release to go back to")
    home.switch(trial.before)
    restart()
    return Outcome(trial.release, good=False, why=f"{why}; {trial.before} runs again")
