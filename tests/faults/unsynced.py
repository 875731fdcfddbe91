"""A file layer under SQLite that has on disk only what was synced.

A kill of a process that uses it loses what a loss of power would: the rest is in memory. Both an
honest outbox and one that never syncs can be tried over it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import apsw
from typing_extensions import override

_BELOW: Final = apsw.vfs_names()[0]
"""The layer that really writes."""


class File(apsw.VFSFile):
    """One file: an image of it in memory, and what is not on disk yet, in order."""

    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__(_BELOW, name, flags)
        self._later: list[Callable[[], None]] = []
        size = super().xFileSize()
        self._image = bytearray(super().xRead(size, 0)) if size else bytearray()

    @override
    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self._image[offset : offset + amount])

    @override
    def xWrite(self, data: bytes, offset: int) -> None:
        written = bytes(data)
        if len(self._image) < offset:
            self._image.extend(bytes(offset - len(self._image)))
        self._image[offset : offset + len(written)] = written
        self._later.append(lambda: super(File, self).xWrite(written, offset))

    @override
    def xTruncate(self, newsize: int) -> None:
        del self._image[newsize:]
        self._later.append(lambda: super(File, self).xTruncate(newsize))

    @override
    def xFileSize(self) -> int:
        return len(self._image)

    @override
    def xSync(self, flags: int) -> None:
        self._write()
        super().xSync(flags)

    @override
    def xClose(self) -> None:
        self._write()
        super().xClose()

    def _write(self) -> None:
        for work in self._later:
            work()
        self._later.clear()


class Layer(apsw.VFS):
    """Opens such files; the default for every connection, for as long as it lives."""

    def __init__(self) -> None:
        super().__init__("unsynced", _BELOW, makedefault=True)

    @override
    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return File(name, flags)


_INSTALLED: list[Layer] = []


def install() -> None:
    """Make it the default of this process."""
    _INSTALLED.append(Layer())
