"""What installations that were cut have left, and its removal.

Stands alone: a workstation sends this file to a device before a package, so that what was left
takes no room from that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

COMPLETE = "complete"
"""A file in each release whose installation came to its end."""
KEPT = "kept"
"""A file in each release that was tried, and stayed."""


def leftovers(home: Path) -> list[Path]:
    """Releases that are none: an installation was cut, or a switch to one that is complete.

    Args:
        home: /opt/lineside.
    """
    try:
        current = (home / "current").readlink().name
    except OSError:
        current = ""
    found = [one for one in home.glob("releases/*") if one.name != current]
    return [one for one in found if not ((one / COMPLETE).exists() and (one / KEPT).exists())]


def remove(release: Path) -> None:
    """Remove a release; first it is no complete one any more."""
    (release / COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(release)


def installing(home: Path) -> Path:
    """A lock: who holds it installs, goes back, removes."""
    return home / ".installing"


def deciding(home: Path) -> Path:
    """A lock: who holds it switches or decides. Whoever needs both has `installing` already."""
    return home / ".deciding"


@contextlib.contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a file for ourselves; for others than its owner it can't even be opened.

    Raises:
        BlockingIOError: somebody else holds it, and we don't wait.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def tidy(home: Path, sent: Path, lock: Path) -> None:
    """Remove what was left, but for what somebody is at.

    Args:
        home: /opt/lineside.
        sent: where a package is unpacked that was sent.
        lock: is held by who sends one.
    """
    if home.is_dir():
        with (
            contextlib.suppress(BlockingIOError),
            locked(installing(home), wait=False),
            locked(deciding(home), wait=False),
        ):
            for release in leftovers(home):
                remove(release)
    if sent.is_dir():
        with contextlib.suppress(BlockingIOError), locked(lock, wait=False):
            shutil.rmtree(sent)


if __name__ == "__main__":
    tidy(*map(Path, sys.argv[1:]))
