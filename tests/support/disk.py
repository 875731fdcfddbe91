"""A disk that is full: a tiny file system in memory, where the machine lets one be mounted."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def tiny_disk(folder: Path, *, kib: int) -> Iterator[Path]:
    """Mount an empty file system of `kib` KiB at `folder`; skip the test where it can't be."""
    mount = shutil.which("mount")
    if mount is None:
        pytest.skip("there is no mount command")
    folder.mkdir(parents=True)
    command = [mount, "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
