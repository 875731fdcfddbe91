"""A training that is under way, beside the run that it will be: one process, and gone on from."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from lineside.errors import StorageError
from lineside.files import storage_error, write_file
from lineside_train.fitting.checkpoint import FILE, Checkpoint

SEARCH_FILE: Final = "search.json"
"""Holds the state of a search."""

_STATES: Final = (FILE, SEARCH_FILE)


def unfinished_folder(out: Path) -> Path:
    """Where the state of a training is kept until its run is written."""
    return out.parent / f"{out.name}.unfinished"


@contextlib.contextmanager
def under_way(out: Path, identity: Mapping[str, Any], *, resume: bool) -> Iterator[Checkpoint]:
    """Keep the state of a training beside `out` as long as it takes.

    At the end the folder is removed, unless an error passes and there is something to go on from.

    Args:
        out: the run folder that will be written.
        identity: what must be the same to go on: options, data, split.
        resume: go on from what is there, if anything is.

    Raises:
        StorageError: another process trains into `out`; or a training is there that did not end,
            and going on wasn't asked for, or it was another one; or the disk can't be written.
    """
    folder = unfinished_folder(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("wb")
    except OSError as error:
        raise storage_error(error, folder) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f"{out} is being trained by another process: choose another --out, or wait for it"
            raise StorageError(msg) from error
        done = False
        try:
            _agree(folder, out, identity, resume=resume)
            yield Checkpoint(folder)
            done = True
        finally:
            if done or not _is_begun(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_begun(folder: Path) -> bool:
    """Whether there is something to go on from."""
    return any((folder / name).exists() for name in _STATES)


def _agree(folder: Path, out: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
    """Settle that the state in the folder, if any, is of this training."""
    file = folder / "training.json"
    if not _is_begun(folder):
        write_file(file, msgspec.json.encode(identity))
        return
    if not resume:
        msg = (
            f"{folder} holds a training that did not end: go on with it by --resume, "
            f"or remove it, or choose another --out than {out}"
        )
        raise StorageError(msg)
    try:
        before = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        msg = f"{folder} is damaged ({error}): remove it and train again"
        raise StorageError(msg) from error
    now = msgspec.to_builtins(identity)
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            msg = (
                f"--resume can't go on in {folder}: {key} was {before.get(key)!r}, and is "
                f"{now.get(key)!r} now; ask for the same, or remove the folder"
            )
            raise StorageError(msg)
