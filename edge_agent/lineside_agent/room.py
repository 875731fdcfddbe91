"""How much of the disk an outbox may use, and the reserve that helps when it is full.

    limit = the file + its log (write-ahead) + the reserve + corrupt files that were moved aside

The limit is `outbox.max_mb`, and at most four fifths of the file system. The reserve is a file of
blanks, as large as the log may become: where somebody else fills the disk, it is deleted, so that
what was begun can still be written into the file, and confirmations, deletions and events too.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from lineside_agent.custody import discard, quarantined, size

PAGE_BYTES: Final = 4096
"""SQLite's page, by its default."""

MAX_PART: Final = 16 * 1024 * 1024
"""Bytes that the log and the reserve may each have."""


class Room:
    """The limit of an outbox and its parts, in bytes.

    Args:
        path: the outbox's file; its folder need not be there yet.
        max_mb: what the outbox may use at most, in 1,000,000 bytes.

    Attributes:
        limit: what all its files may use together.
        reserve: the size of the reserve.
        wal_pages: pages that the log may have before they go into the file. A transaction may
            have as many again.
        file: what the outbox's file may have, if nothing was moved aside.
        aside: what corrupt files that were moved aside use; see `look`.
        held: whether the reserve is there.
    """

    def __init__(self, path: Path, max_mb: float) -> None:
        self._path = path
        self._reserve = path.with_name(path.name + ".reserve")
        existing = next(folder for folder in path.absolute().parents if folder.exists())
        disk = os.statvfs(existing)
        self.limit = min(int(max_mb * 1e6), disk.f_frsize * disk.f_blocks * 4 // 5)
        self.reserve = min(MAX_PART, self.limit // 6)
        self.wal_pages = max(1, self.reserve // (2 * PAGE_BYTES))
        self.file = self.limit - 2 * self.reserve
        self.aside = 0
        self.held = False

    @property
    def transaction(self) -> int:
        """Bytes of messages that one transaction may add; its indices need room too."""
        return self.wal_pages * PAGE_BYTES // 3

    @property
    def used(self) -> int:
        """What the outbox's files use of the disk now."""
        return size(self._path) + self.aside + (self.reserve if self.held else 0)

    def look(self) -> None:
        """See what was moved aside."""
        self.aside = sum(size(file) for file in quarantined(self._path))

    def discard_aside(self) -> Path | None:
        """Delete the oldest file that was moved aside, if there is one; which it was."""
        files = quarantined(self._path)
        if files:
            discard(files[0])
        self.look()
        return files[0] if files else None

    def restore(self) -> bool:
        """Make the reserve if it is not there, and leave as much again; whether it is there."""
        if self.held:
            return True
        with contextlib.suppress(OSError):
            disk = os.statvfs(self._path.parent)
            there = self._reserve.stat().st_blocks * 512 if self._reserve.exists() else 0
            if there + disk.f_frsize * disk.f_bavail < self.reserve * 3 // 2:
                return False
            handle = os.open(self._reserve, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.posix_fallocate(handle, 0, self.reserve)
                os.ftruncate(handle, self.reserve)
            except OSError:
                self._reserve.unlink()
                raise
            finally:
                os.close(handle)
            self.held = True
        return self.held

    def release(self) -> bool:
        """Delete the reserve; whether there was one."""
        self.held = False
        try:
            self._reserve.unlink()
        except OSError:
            return False
        return True
