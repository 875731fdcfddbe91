"""A 64-bit arm machine, emulated: Debian's files in a folder, its programs run by qemu.

Root is needed, and a kernel that lets programs of another machine be started (binfmt_misc). What
it says of times means nothing.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.support.debian import unpack
from tests.support.program import program

PACKAGES: Final = (
    *("base-files", "base-passwd", "passwd", "libc-bin", "dash", "coreutils", "python3"),
    *("libpython3-stdlib", "libgomp1", "libstdc++6", "dpkg", "diffutils", "tar", "sed"),
)
BINFMT: Final = Path("/proc/sys/fs/binfmt_misc")

# What a Raspberry Pi 4 says of itself. XNNPACK asks for it: with an x86-64's answers it crashes,
# with none it is silently left out.
CPUINFO: Final = """\
processor\t: {n}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""

# Mounts that nobody else sees and that go with the process; then nothing of this machine's
# environment, and the other root.
ENTER: Final = """\
set -eu
mount -t proc proc "$1/proc"
mount --bind "$1/.cpuinfo" "$1/proc/cpuinfo"
mount --bind "$1/.sys" "$1/sys"
mount --rbind /dev "$1/dev"
mount -t tmpfs tmpfs "$1/run"
root=$1
shift
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 QEMU_CPU=cortex-a72 \
  chroot "$root" "$@"
"""


class Machine:
    """A small Debian for arm64.

    Args:
        root: a folder to make it in.
        suite: of Debian.
        packages: that it has. They are unpacked, and none of their programs is run.
    """

    def __init__(
        self, root: Path, suite: str = "bookworm", packages: Sequence[str] = PACKAGES
    ) -> None:
        _need_root_and_binfmt()
        self.root = root
        unpack(root, "arm64", suite, packages)
        cpus = root / ".sys/devices/system/cpu"
        cpus.mkdir(parents=True)
        for name in ("possible", "present"):
            (cpus / name).write_text("0-3\n")
        (root / ".cpuinfo").write_text("".join(CPUINFO.format(n=n) for n in range(4)))
        for name in ("proc", "sys", "dev", "run", "tmp"):
            (root / name).mkdir(exist_ok=True)

    def run(self, *words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a program of that machine, as root; it may fail."""
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"]
        return subprocess.run(
            [*command, str(self.root), *words],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


def _need_root_and_binfmt() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can enter the root of another machine")
    program("qemu-aarch64-static", "qemu-user-static")
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "none", str(BINFMT)], check=False)
    if not (BINFMT / "qemu-aarch64").exists():
        enable = [program("update-binfmts", "binfmt-support"), "--enable", "qemu-aarch64"]
        subprocess.run(enable, check=False, capture_output=True)
    if not (BINFMT / "qemu-aarch64").exists():
        pytest.skip("this kernel starts no programs of another machine (binfmt_misc)")
