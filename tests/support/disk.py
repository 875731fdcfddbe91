"""A disk that is full: a tiny file system in memory, where the machine lets one be mounted."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program import program


@contextlib.contextmanager
def tiny_disk(folder: Path, *, kib: int) -> Iterator[Path]:
    """Mount an empty file system of `kib` KiB at `folder`; skip the test where it can't be."""
    mount = program("mount", "mount")
    folder.mkdir(parents=True)
    command = [mount, "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting a tmpfs needs root and CAP_SYS_ADMIN: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
