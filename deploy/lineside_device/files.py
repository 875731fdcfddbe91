"""Files that a power cut leaves whole."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """A file, or a folder's names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_file(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    part = path.with_name(f".{path.name}")
    part.write_text(text)
    sync(part)
    part.replace(path)
    sync(path.parent)


def link(path: Path, target: Path) -> None:
    """Let a link lead to `target`; at each moment it is there, if it was before."""
    part = path.with_name(f".{path.name}")
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    part.replace(path)
    sync(path.parent)
