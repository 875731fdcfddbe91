"""A machine of this one's kind that boots within it: Debian 12 with systemd as its first process.

It has its own files and processes and this machine's kernel and network: its SSH server listens on
the loopback interface, and a broker here is 127.0.0.1 there, too. It takes seconds to make, and one
to boot. Root is needed, and systemd-nspawn.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from typing_extensions import Self

from tests.support.booted import FILES, configure, let_in, run_there
from tests.support.broker import free_port
from tests.support.debian import unpack
from tests.support.program import program

PACKAGES: Final = (
    *("base-files", "base-passwd", "passwd", "login", "libc-bin", "dash", "coreutils", "bash"),
    *("sed", "grep", "tar", "util-linux", "mount", "procps", "python3", "libpython3-stdlib"),
    *("libgomp1", "libstdc++6", "ca-certificates", "openssl", "systemd", "systemd-sysv", "dbus"),
    *("openssh-server", "sudo", "findutils"),
)
NEEDED: Final = ("etc/hostname", "etc/hosts", "etc/machine-id", "etc/ssh/sshd_config")


class Contained:
    """The machine: made once, and switched on and off.

    Args:
        folder: for all of it.
        make: fills the root; as it is, with Debian 12.
    """

    def __init__(self, folder: Path, make: Callable[[Path], object] | None = None) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can boot a machine within this one")
        self._nspawn = program("systemd-nspawn", "systemd-container")
        self.folder, self.root = folder, folder / "root"
        folder.mkdir(parents=True)
        (make or _bookworm)(self.root)
        self.port = free_port()
        files = {name: FILES[name] for name in NEEDED}
        files["etc/ssh/sshd_config"] += f"Port {self.port}\nListenAddress 127.0.0.1\n"
        files["etc/systemd/system/ssh.service"] = FILES["etc/systemd/system/ssh.service"]
        configure(self.root, folder, files, {"ssh.service": "/etc/systemd/system/ssh.service"})
        self._probe()
        self.config = let_in(folder, self.port)
        self.log = folder / "console"
        self._process: subprocess.Popen[bytes] | None = None

    def _probe(self) -> None:
        words = ["--quiet", "--directory", str(self.root), "--register=no", "--keep-unit"]
        done = subprocess.run(
            [self._nspawn, *words, "--pipe", "/bin/true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"systemd-nspawn may not work here: {done.stderr.strip()[-200:]}")

    def __enter__(self) -> Self:
        self.switch_on()
        return self

    def switch_on(self) -> None:
        """Boot, and wait until it lets somebody in."""
        self._start()
        self.wait()

    def run_out(self, *words: str, timeout: float = 120) -> None:
        """Boot with words on the kernel's command line, until it switches itself off."""
        self._start(*words)
        assert self._process is not None
        try:
            assert self._process.wait(timeout) == 0, self.console()
        finally:
            self.pull_the_plug()

    def _start(self, *words: str) -> None:
        options = ["--quiet", "--directory", str(self.root), "--boot", "--register=no"]
        options += ["--keep-unit", "--link-journal=no", "--resolv-conf=off", "--console=pipe"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._nspawn, *options, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def __exit__(self, *_exc: object) -> None:
        self.pull_the_plug()

    def pull_the_plug(self) -> None:
        """No power, at once: all of its processes are killed."""
        if self._process is None or self._process.poll() is not None:
            return
        for first in self._children():
            os.kill(first, signal.SIGKILL)  # its first process: with it go all others
        self._process.wait(20)

    def _children(self) -> list[int]:
        assert self._process is not None
        listed = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(pid) for pid in listed.read_text().split()]

    def run(self, command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """A shell command there, as root; it may fail."""
        return run_there(self.config, command, timeout)

    def console(self) -> str:
        """What it said last on its console."""
        return self.log.read_text(errors="replace")[-3000:]

    def wait(self, timeout: float = 60) -> None:
        """Until it lets somebody in."""
        deadline = time.monotonic() + timeout
        while self.run("true").returncode:
            assert time.monotonic() < deadline, self.console()
            assert self._process is not None
            assert self._process.poll() is None, self.console()
            time.sleep(0.1)


def _bookworm(root: Path) -> None:
    done = subprocess.run(
        [program("dpkg", "dpkg"), "--print-architecture"],
        check=True,
        capture_output=True,
        text=True,
    )
    unpack(root, done.stdout.strip(), "bookworm", PACKAGES)
