"""What a station needs of its system: an account, units, folders. Each step may be done again."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from lineside_device.errors import RefusedError
from lineside_device.files import link
from lineside_device.places import HOME, IDENTITY, STATE, SWITCH_UNIT, TRIAL_UNIT, UNIT, USER

GROUPS = ("video", "gpio", "render")
"""Cameras and inputs are theirs, where they exist."""

COMPLAINT = re.compile(r"(\d\d:\d\d:\d\d (WARNING|ERROR|CRITICAL)|error:) ")
"""What a line of the agent begins with that says what is wrong."""
FAILED = (f"{UNIT}: Failed to ", f"{UNIT}: Failed at ")
"""What a line of systemd begins with that says why it could not start the agent."""
UNITS = Path("/etc/systemd/system")
ENDED = ("inactive", "failed", "unknown")
"""What systemd says of a unit that does not run."""
TIDY_S = 60.0
"""Seconds in which one that has decided has ended."""


class System:
    """The system that this runs on; where systemd does not run, services wait until it does."""

    @property
    def booted(self) -> bool:
        """Whether services can be started now: not so while an image is made."""
        return Path("/run/systemd/system").is_dir()

    def account(self) -> None:
        """The account that the agent runs as, without a login."""
        try:
            pwd.getpwnam(USER)
        except KeyError:
            group = ["--gid", USER] if _has_group(USER) else ["--user-group"]
            words = ["--system", *group, "--no-create-home", "--home-dir", str(STATE)]
            run("useradd", *words, "--shell", "/usr/sbin/nologin", USER)
        groups = [name for name in GROUPS if _has_group(name)]
        if groups:
            run("usermod", "--append", "--groups", ",".join(groups), USER)

    def folders(self) -> None:
        """Where the agent writes, and where its keys lie, for nobody else to read."""
        account = pwd.getpwnam(USER)
        for path in (STATE, IDENTITY):
            path.mkdir(parents=True, exist_ok=True)
            # Also what was put there before there was an account. No path is gone through twice:
            # the account may put a link in a folder's place meanwhile.
            for _, _, files, folder in os.fwalk(path.resolve()):
                for name in (*files, "."):
                    _give(name, folder, account)

    def own(self, path: Path) -> None:
        """A file that the agent may read, and nobody else but root."""
        path.chmod(0o640)
        shutil.chown(path, "root", USER)

    def units(self) -> None:
        """Both units are links into the current release: a switch changes them, too."""
        wants = UNITS / "multi-user.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        for name in (UNIT, TRIAL_UNIT):
            for folder in (UNITS, wants):
                link(folder / name, HOME / "current" / name)
        self.reload()

    def reload(self) -> None:
        """Let systemd read the units again."""
        if self.booted:
            run("systemctl", "daemon-reload")

    def restart(self) -> None:
        """The one before has ended, and the agent starts anew; whether it comes up is judged later.

        What the one before says as it ends is not taken for the new one's.
        """
        if not self.booted:
            return
        before = self.invocation
        for words in (["daemon-reload"], ["reset-failed", UNIT], ["--no-block", "restart", UNIT]):
            run("systemctl", *words, check=False)
        while self.invocation == before and self._show("Job"):
            time.sleep(0.1)

    @property
    def runs(self) -> bool:
        """Whether the agent runs, or is about to."""
        return self.booted and run("systemctl", "is-active", UNIT, check=False).strip() not in ENDED

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """The agent is stopped, and started again in the end, if it ran."""
        ran = self.runs
        try:
            if ran:
                run("systemctl", "stop", UNIT)
            yield
        finally:
            if ran:
                run("systemctl", "--no-block", "start", UNIT)

    def complaints(self) -> list[str]:
        """What the agent has complained of since it started last, each once.

        Returns:
            At least one: if it said nothing, why systemd could not start it, or what it says of it.
        """
        started = self.invocation
        # What it said itself, and what systemd said of it.
        about = (f"_SYSTEMD_INVOCATION_ID={started}", "+", f"INVOCATION_ID={started}")
        told = run("journalctl", *about, "--output=cat", check=False).splitlines()
        found = [COMPLAINT.sub("", one) for one in told if COMPLAINT.match(one)]
        found = found or [one for one in told if one.startswith(FAILED)]
        state = run("systemctl", "show", UNIT, "--property=ActiveState,Result", check=False)
        return [*dict.fromkeys(found)] or [", ".join(state.split())]

    @property
    def invocation(self) -> str:
        """Another one each time that the agent is started; empty: it was not."""
        return self._show("InvocationID") if self.booted else ""

    def _show(self, name: str) -> str:
        return run("systemctl", "show", UNIT, f"--property={name}", "--value", check=False).strip()

    def run_apart(self, device: Path, release: str, wait_s: float) -> None:
        """Switch to a release and try it, in a unit of its own, and wait for its end.

        It goes on where we are killed.

        Args:
            device: the program, of that release.
            release: its name.
            wait_s: seconds that it has.

        Raises:
            RefusedError: one from before does not end.
        """
        deadline = time.monotonic() + TIDY_S
        while run("systemctl", "is-active", SWITCH_UNIT, check=False).strip() not in ENDED:
            if time.monotonic() > deadline:
                msg = f"{SWITCH_UNIT} of a push before goes on: journalctl -u {SWITCH_UNIT}"
                raise RefusedError(msg)
            time.sleep(0.2)
        run("systemctl", "reset-failed", SWITCH_UNIT, check=False)
        words = ["--quiet", "--collect", "--wait", f"--unit={SWITCH_UNIT}"]
        # If it is killed itself. Once the trial is decided, that does nothing.
        words += [f"--property=ExecStopPost=/bin/systemctl --no-block start {TRIAL_UNIT}"]
        command = [sys.executable, "-IB", str(device), "switch", release, "--wait", f"{wait_s:g}"]
        run("systemd-run", *words, *command, check=False)

    def start_trial(self) -> None:
        """Judge a release that was switched to and is not decided yet."""
        run("systemctl", "--no-block", "start", TRIAL_UNIT)

    def remove(self, *, keep: bool = False) -> None:
        """All that was ever put there, but the packages of the system.

        Args:
            keep: what the agent has written, and its keys and passwords, and its account.
        """
        if self.booted:
            for name in (SWITCH_UNIT, TRIAL_UNIT, UNIT):
                # Stopped first: of a unit that is not there any more, systemd leaves things behind.
                run("systemctl", "stop", name, check=False)
                run("systemctl", "disable", name, check=False)
        for folder in (UNITS, UNITS / "multi-user.target.wants"):
            for name in (UNIT, TRIAL_UNIT):
                (folder / name).unlink(missing_ok=True)
        (HOME / "current").unlink(missing_ok=True)  # first: from here on this is no station
        rest = (STATE, IDENTITY)
        cut = [path.with_name(f"{path.name}.new") for path in rest]  # of a backup
        for path in (HOME,) if keep else (HOME, *rest, *cut):
            shutil.rmtree(path, ignore_errors=True)
        if not keep:
            run("userdel", USER, check=False)
            run("groupdel", USER, check=False)  # where userdel is set up to leave it
        self.reload()


def _give(name: str, folder: int, account: pwd.struct_passwd) -> None:
    """A file or a folder becomes the agent's, for nobody else to read.

    Args:
        name: in the folder; a link is left as it is, and so is a file with another name elsewhere.
        folder: its descriptor.
        account: the agent's.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        handle = os.open(name, flags, dir_fd=folder)
    except OSError:  # a link, a socket, or gone by now
        return
    found = os.fstat(handle)
    is_folder = stat.S_ISDIR(found.st_mode)
    try:
        if found.st_uid != account.pw_uid and (is_folder or found.st_nlink == 1):
            os.fchown(handle, account.pw_uid, account.pw_gid)
            os.fchmod(handle, 0o700 if is_folder else 0o600)
    finally:
        os.close(handle)


def _has_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def run(*command: str, check: bool = True, environ: dict[str, str] | None = None) -> str:
    """A command of the system.

    Args:
        command: its words.
        check: whether it must succeed.
        environ: its whole environment; None: this process's.

    Returns:
        What it printed.

    Raises:
        RefusedError: it failed, in its own words.
    """
    # What it prints may be anybody's, such as a camera's driver's: not all of it is text.
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, env=environ
    )
    if check and done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["without a word"]
        msg = f"{' '.join(command[:3])} failed: {said[-1]}"
        raise RefusedError(msg)
    return done.stdout
