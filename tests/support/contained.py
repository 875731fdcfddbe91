"""A machine of this one's kind that boots within it: Debian 12 with systemd as its first process.

It has its own files and processes and this machine's kernel and network: its SSH server listens on
the loopback interface, and a broker here is 127.0.0.1 there, too. It takes seconds to make, and one
to boot. Root is needed, and systemd-nspawn.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from typing_extensions import Self

from tests.support.booted import FILES, Powered, configure, let_in
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
HIERARCHIES: Final = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")
"""Where control groups are, of whichever version."""
JOIN: Final = f"""\
for folder in {" ".join(HIERARCHIES)}; do
  [ -e "$folder/cgroup.procs" ] || continue
  mkdir -p "$folder/$0" && echo $$ >"$folder/$0/cgroup.procs"
done
exec "$@"
"""
IN_GROUP: Final = ("sh", "-ec", JOIN)
"""Followed by the name of a control group, and a command that is run in it."""


class Contained(Powered):
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
        self._name = f"press4-{self.port}"
        files = {name: FILES[name] for name in NEEDED}
        files["etc/ssh/sshd_config"] += f"Port {self.port}\nListenAddress 127.0.0.1\n"
        files["etc/systemd/system/ssh.service"] = FILES["etc/systemd/system/ssh.service"]
        configure(self.root, folder, files, {"ssh.service": "/etc/systemd/system/ssh.service"})
        self._probe()
        super().__init__(let_in(folder, self.port), folder / "console")

    def _probe(self) -> None:
        done = subprocess.run(
            [*self._command(), "--pipe", "/bin/true"],
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
        self.start()
        self.wait()

    def run_out(self, *words: str, timeout: float = 120) -> None:
        """Boot with words on the kernel's command line, until it switches itself off."""
        self.start(*words)
        assert self._process is not None
        try:
            assert self._process.wait(timeout) == 0, self.console()
        finally:
            self.pull_the_plug()

    def start(self, *words: str) -> None:
        """Boot with words on the kernel's command line."""
        options = ["--boot", "--link-journal=no", "--resolv-conf=off", "--console=pipe"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command(), *options, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _command(self) -> list[str]:
        # Machines that run at the same time need names of their own, after which they have folders
        # in /run, and control groups: in one of them, each would kill what the other has started.
        words = ["--quiet", "--directory", str(self.root), "--machine", self._name]
        return [*IN_GROUP, self._name, self._nspawn, *words, "--register=no", "--keep-unit"]

    def __exit__(self, *_exc: object) -> None:
        self.pull_the_plug()

    def pull_the_plug(self) -> None:
        """No power, at once: all of its processes are killed."""
        if self._process is None or self._process.poll() is not None:
            return
        for first in self._children():
            os.kill(first, signal.SIGKILL)  # its first process: with it go all others
        self._process.wait(20)
        for hierarchy in HIERARCHIES:
            group = Path(hierarchy, self._name)
            for folder in sorted(group.rglob("*/"), reverse=True):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            with contextlib.suppress(OSError):
                group.rmdir()

    def _children(self) -> list[int]:
        assert self._process is not None
        listed = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(pid) for pid in listed.read_text().split()]


def _bookworm(root: Path) -> None:
    done = subprocess.run(
        [program("dpkg", "dpkg"), "--print-architecture"],
        check=True,
        capture_output=True,
        text=True,
    )
    unpack(root, done.stdout.strip(), "bookworm", PACKAGES)
