"""The root of a Debian, unpacked: none of its programs is run."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.program import program


def unpack(root: Path, architecture: str, suite: str, packages: Sequence[str]) -> None:
    """Make it.

    Args:
        root: a folder to make it in.
        architecture: as Debian calls it.
        suite: of Debian.
        packages: that it has.
    """
    command = [program("mmdebstrap", "mmdebstrap"), "--quiet", f"--architectures={architecture}"]
    command += ["--variant=extract", f"--include={','.join(packages)}"]
    command += [suite, str(root), f"deb {mirror()} {suite} main"]
    subprocess.run(command, check=True, timeout=300)
    # Installing them would have made these.
    for name in ("passwd", "group"):
        shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)
        (root / "etc" / {"passwd": "shadow", "group": "gshadow"}[name]).touch()


def mirror() -> str:
    """The Debian mirror that this machine's apt is set up with."""
    command = [program("apt-get", "apt"), "indextargets", "--format", "$(REPO_URI)"]
    command += ["Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    if not done.stdout.strip():
        pytest.skip("this machine's apt knows no Debian mirror")
    return done.stdout.splitlines()[0]
