"""Install, go back, look, remove. On the device, as root: `install.sh` and the units start it."""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from lineside_device.backup import write_backup
from lineside_device.clock import clock_floor, raise_clock
from lineside_device.errors import RefusedError
from lineside_device.files import write_file
from lineside_device.home import Home
from lineside_device.install import KEEP, install
from lineside_device.package import FILE, open_package
from lineside_device.places import HOME, IDENTITY, STATE, SWITCH_UNIT, UNIT
from lineside_device.system import System, run
from lineside_device.trial import (
    POLL_S,
    WAIT_S,
    Outcome,
    confirmed_at,
    read_status,
    try_release,
)

T = TypeVar("T")

OUTCOME = "outcome.json"
PACKED = "/var/tmp"  # noqa: S108 - in a file without a name
"""Where a backup is until it is sent."""
AGAIN_S = 5.0
"""Seconds until what the disk had no room for is tried again."""
JUDGED_S = 300.0
"""Seconds more than a trial takes, until its outcome is there."""


def main(words: Sequence[str] | None = None) -> int:
    """The command.

    Returns:
        0: done; 1: a new release did not prove itself; 2: refused.
    """
    parser = argparse.ArgumentParser(prog="device", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("install", help="make a release of an unpacked package, and try it")
    one.add_argument("folder", type=Path)
    one.add_argument("--wait", type=float, default=WAIT_S, help="seconds to prove itself")
    one.add_argument("--later", action="store_true", help="start it with the system, not now")
    commands.add_parser("rollback", help="go back to the release before")
    commands.add_parser("status", help="what runs, as JSON")
    one = commands.add_parser("uninstall", help="remove everything, results too")
    one.add_argument("--yes", action="store_true", help="without it nothing is removed")
    one.add_argument("--keep", action="store_true", help="results, keys and passwords stay")
    commands.add_parser("backup", help="all but the release, as a tar on standard output")
    one = commands.add_parser("switch", help="switch to a release that is here, and try it")
    one.add_argument("release")
    one.add_argument("--wait", type=float, default=WAIT_S, help="seconds to prove itself")
    commands.add_parser("clock", help="set the clock to when the release was made, if earlier")
    commands.add_parser("trial", help="decide a switch that is not decided yet")
    told = parser.parse_args(words)
    try:
        return _run(told, Home(HOME), System())
    except (RefusedError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def _run(told: argparse.Namespace, home: Home, system: System) -> int:
    if told.command == "status":
        say(json.dumps(_status(home), indent=1))
        return 0
    if os.geteuid():
        msg = f"only root can {told.command} here: put sudo before it"
        raise RefusedError(msg)
    if told.command == "uninstall" and not told.yes:
        msg = "this removes results that were not sent, too: uninstall --yes"
        raise RefusedError(msg)
    if told.command == "clock":
        _raise_clock(home)
    elif told.command == "backup":
        _backup(home, system)
    elif told.command in {"switch", "trial"}:
        with home.deciding():
            if told.command == "switch":
                _switch(told.release, home, system, told.wait)
                system.restart()
            _tried(_decide(home, system))
    else:
        with home.alone():
            if told.command == "install":
                return _install(told.folder.resolve(), home, system, told.wait, later=told.later)
            if told.command == "rollback":
                _rollback(home, system)
            else:
                system.remove(keep=told.keep)
    return 0


def _install(folder: Path, home: Home, system: System, wait_s: float, *, later: bool) -> int:
    package = open_package(folder)
    later = later or not system.booted
    if not later:
        _settle(home, system)
    elif system.runs:
        msg = "a station runs here: install it now, without --later"
        raise RefusedError(msg)
    install(package, home, system, say)
    last = _outcome(home)
    # One that failed stays only where there was none to go back to: it is tried again.
    failed = last is not None and last.release == package.release and not last.good
    if home.current == package.release and home.trial is None and not failed:
        system.units()
        if not system.runs:
            system.restart()
        say(f"release {package.release} is the current one")
        return 0
    if later:
        with home.deciding():
            _switch(package.release, home, system, wait_s)
        say("the release starts, and is tried, when the system starts next")
        return 0
    # From here on it goes on whatever becomes of us, or of the connection that we came by.
    say("waiting for its first status")
    system.run_apart(home.release(package.release) / "device", package.release, wait_s)
    _settle(home, system)  # if that was killed
    outcome = _outcome(home)
    if outcome is None or outcome.release != package.release:
        msg = f"{SWITCH_UNIT} does not say how the trial ended: journalctl -u {SWITCH_UNIT}"
        raise RefusedError(msg)
    return _tried(outcome)


def _outcome(home: Home) -> Outcome | None:
    """How the last trial ended; None: nothing says so."""
    try:
        return Outcome(**json.loads((home.folder / OUTCOME).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _switch(release: str, home: Home, system: System, wait_s: float) -> None:
    """Let the link lead to a release that must prove itself yet."""
    home.try_out(release, wait_s, old=read_status(), invocation=system.invocation)
    (home.folder / OUTCOME).unlink(missing_ok=True)
    system.units()


def _settle(home: Home, system: System) -> None:
    """Wait until a switch before is decided; where no systemd runs, that is at the next start."""
    trial = home.trial
    # Without a release, a first switch was cut just before it.
    if trial is None or home.current is None or not system.booted:
        return
    say("a release is being tried: waiting until that is decided")
    system.units()  # a first installation may have been cut before
    system.start_trial()
    deadline = time.monotonic() + trial.wait_s + JUDGED_S
    while home.trial is not None:
        if time.monotonic() > deadline:
            msg = "whether a release before stays is not decided: journalctl -u lineside-trial"
            raise RefusedError(msg)
        time.sleep(POLL_S)


def _decide(home: Home, system: System) -> Outcome | None:
    """Decide the switch that is not decided yet; None: there is none."""
    outcome = _once_there_is_room(lambda: _judge(home, system))
    if outcome is not None:
        _once_there_is_room(lambda: _conclude(home, outcome))
    return outcome


def _once_there_is_room(what: Callable[[], T]) -> T:
    """A disk that is full puts a decision off, and does not prevent it."""
    while True:
        try:
            return what()
        except OSError as error:  # noqa: PERF203 - seconds apart
            if error.errno != errno.ENOSPC:
                raise
            say(f"it can't be decided yet: {error}")
            time.sleep(AGAIN_S)


def _judge(home: Home, system: System) -> Outcome | None:
    trial = home.trial
    if trial is None:
        return None
    if home.current != trial.release:  # cut off just before the switch there, or after that back
        system.restart()
        home.reject(trial.release)
        home.decide()
        return None
    if system.invocation in {"", trial.invocation}:  # cut off just before it was started anew
        system.restart()
    package = json.loads((home.release(trial.release) / FILE).read_bytes())
    return try_release(
        home,
        trial,
        package=package,
        restart=system.restart,
        complaints=system.complaints,
    )


def _conclude(home: Home, outcome: Outcome) -> None:
    stays = home.current == outcome.release
    if not stays:
        home.reject(outcome.release)
    home.clear()  # a disk that is full may have room then for all that follows
    write_file(home.folder / OUTCOME, json.dumps(asdict(outcome)))
    if stays:
        home.keep(outcome.release)
    home.prune(KEEP)
    home.decide()  # last: from here on another installation may begin


def _tried(outcome: Outcome | None) -> int:
    if outcome is None:
        return 0
    if not outcome.good:
        sys.stderr.write(f"error: release {outcome.release} failed: {outcome.why}\n")
        return 1
    say(f"release {outcome.release} is good: {outcome.why}")
    return 0


def _rollback(home: Home, system: System) -> None:
    current = home.current
    _settle(home, system)
    if home.current != current:
        say(f"{home.current} runs: {current} did not prove itself")
        return
    before = [name for name in home.releases if name != current]
    if not before:
        msg = "there is no release to go back to"
        raise RefusedError(msg)
    with home.deciding():
        home.switch(before[-1])
        home.keep(before[-1])
        if current is not None:
            home.reject(current)  # or the next one would lead to it again
        home.decide()
    system.restart()
    say(f"{before[-1]} runs, and {current} no more")


def _raise_clock(home: Home) -> None:
    """Before each start of the agent, which must start whatever becomes of this."""
    try:
        if raise_clock(clock_floor(home.link / FILE)):
            say("the clock was earlier than the release was made, and is set to that")
    except (OSError, LookupError, ValueError) as error:
        say(f"the clock stays as it is: {error}")


def _backup(home: Home, system: System) -> None:
    """It is packed here first: the agent waits for no network."""
    # Whatever ends this but SIGKILL, the agent goes on. A connection that is cut is an error later.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    with tempfile.TemporaryFile(dir=PACKED) as packed:
        with home.alone():
            if home.current is None:
                msg = "there is no station here: nothing to back up"
                raise RefusedError(msg)
            if home.trial is not None:
                msg = "a release is being tried here: wait until that is decided"
                raise RefusedError(msg)
            release = home.release(home.current)
            with system.standing_still():
                write_backup(packed, release=release, state=STATE, identity=IDENTITY)
        packed.seek(0)
        shutil.copyfileobj(packed, sys.stdout.buffer)  # its reader may take his time


def _end(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _status(home: Home) -> dict[str, Any]:
    return {
        "release": home.current,
        "releases": home.releases,
        "trial": None if home.trial is None else home.trial.release,
        "active": run("systemctl", "is-active", UNIT, check=False).strip(),
        "status": read_status(),
        "confirmed": confirmed_at(),
    }


def say(text: str) -> None:
    """A line for a person, who may have gone: that is no reason to stop."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
