"""Writing so that nothing is lost: write beside, fsync, rename. Reading what a person names."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lineside.errors import InputError, LinesideError, StorageError


def storage_error(error: OSError, path: Path) -> StorageError:
    """What an OSError while writing `path` means to a person."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageError(f"{path}: the disk is full; free some space and run it again")
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return StorageError(f"{path}: can't be written ({error.strerror}); choose another folder")
    return StorageError(f"{path}: {error.strerror or error}")


def read_file(path: Path, limit: int) -> bytes:
    """Read a small file that a person named.

    Args:
        path: of the file.
        limit: bytes that it may have.

    Raises:
        InputError: it can't be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        msg = f"{path} can't be read: {error.strerror or error}"
        raise InputError(msg) from error
    if len(data) > limit:
        msg = f"{path} is refused: it has more than {limit:,} bytes"
        raise InputError(msg)
    return data


def fsync_folder(path: Path) -> None:
    """Make a rename inside `path` last."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` to `path`, whole or not at all.

    Args:
        path: of the file.
        data: all of it.
        mode: its permissions; nobody else may read it before it has them.

    Raises:
        StorageError: the disk is full or can't be written; what was there before is still there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error
    with new_file(path, mode=mode) as part:
        part.write_bytes(data)


@contextlib.contextmanager
def new_file(path: Path, *, mode: int = 0o644) -> Iterator[Path]:
    """A file to fill, that appears at `path` whole or not at all.

    Args:
        path: what it becomes; what was there before is replaced.
        mode: its permissions; nobody else may read it before it has them.

    Raises:
        StorageError: the disk is full or can't be written; what was there before is still there.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        part = Path(name)
        try:
            yield part
            part.chmod(mode)
            _fsync(part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        fsync_folder(path.parent)
    except OSError as error:
        if isinstance(error, LinesideError):
            raise
        raise storage_error(error, path) from error


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, that appears at `path` whole or not at all.

    It has the name that it will have, since a signature of it holds that.

    Raises:
        StorageError: `path` is there already, or the disk is full or can't be written.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        msg = f"{path} is there already: choose another name, or remove it"
        raise StorageError(msg)
    partial = path.parent / f".{path.name}.partial-{os.getpid()}"
    try:
        folder = partial / path.name
        folder.mkdir(parents=True)
        yield folder
        for file in partial.rglob("*"):
            _fsync(file)
        if path.exists():
            path.rmdir()
        folder.rename(path)
        fsync_folder(path.parent)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise storage_error(error, path) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fsync(path: Path) -> None:
    if path.is_dir():
        fsync_folder(path)
        return
    with path.open("rb") as file:
        os.fsync(file.fileno())
