"""The last good bundles of one model, and which one is in use: what survives a restart.

    state/models/<model>/choice.json            which bundle was chosen, which is good
    state/models/<model>/<sha256 of manifest>/  a bundle, as it was checked

A bundle is written from the bytes that were checked, beside its place, fsync'ed and renamed; it
is checked again, signature included, when it is loaded. A store that is damaged or can't be
read counts as empty: it is no reason not to start.
"""

from __future__ import annotations

import logging
import re
import shutil
import threading
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from lineside.bundle import MANIFEST, Bundle, open_bundle
from lineside.errors import BundleError, InputError, StorageError
from lineside.files import new_folder, read_file, storage_error, write_file

log = logging.getLogger(__name__)

KEPT: Final = 3
"""Bundles that are kept for each model at most."""

REFUSED: Final = 10
"""Digests of bundles that were taken back which are remembered at most."""

MAX_RECORD_BYTES: Final = 64 * 1024
"""How large choice.json may be, in bytes."""

_CHOICE: Final = "choice.json"

Digest = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$(?!\n)")]
"""A bundle's identity."""


class Choice(Struct, frozen=True, kw_only=True):
    """A bundle that a command chose over the one of the configuration."""

    digest: Digest
    by: Annotated[str, Meta(max_length=200)]
    """Who asked for it."""
    over: Digest | None
    """The bundle of the configuration at that moment; null if it could not be opened. Once the
    configuration has another one, that is the later word, and it holds."""


class Record(Struct, frozen=True, kw_only=True):
    """What is remembered of one model."""

    schema: Literal["lineside.choice/1"] = "lineside.choice/1"
    chosen: Choice | None = None
    """Null: the configuration's bundle."""
    good: Digest | None = None
    """The last bundle that did well here."""
    refused: list[Digest] = []
    """Bundles that were taken back, the newest last. Only a command brings them back."""
    starts: Annotated[int, Meta(ge=0)] = 0
    """How often the agent has started with a bundle that was still being watched, without a
    stop in between: one that kills the agent is not tried for ever."""

    def refuse(self, digest: str) -> list[str]:
        """`refused`, with one more."""
        return [*(old for old in self.refused if old != digest), digest][-REFUSED:]


class Store:
    """The bundles and the record of one model. For one thread at a time, but for `close`.

    Args:
        folder: of the model; made when it is first written to.

    Attributes:
        record: what is remembered; as good as new where it could not be read. What is set here
            and not noted is not written yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.record = self._read()
        self._written: Record | None = self.record
        self._writing = threading.Lock()
        self._closed = False

    def note(self, record: Record) -> bool:
        """Remember something else from now on, also if it can't be written.

        Returns:
            False once it is closed: then nothing is remembered any more.

        Raises:
            StorageError: it can't: a restart will know what was written before.
        """
        with self._writing:
            if not self._closed:
                self._write(record)
            return not self._closed

    def commit(self, record: Record) -> bool:
        """Remember something else from now on, or, if it can't be written, what was before.

        Returns:
            As `note`.

        Raises:
            StorageError: it can't: neither this agent nor the next will know of it.
        """
        before = self.record
        try:
            return self.note(record)
        except StorageError:
            self.record = before
            raise

    def close(self, record: Record) -> None:
        """Remember this, and nothing that comes later. By any thread.

        Raises:
            StorageError: as `note`.
        """
        with self._writing:
            self._closed = True
            self._write(record)

    def _write(self, record: Record) -> None:
        self.record = record
        if record != self._written:
            self._written = None  # after a write that failed, nobody knows what is there
            write_file(self._folder / _CHOICE, msgspec.json.encode(record))
            self._written = record

    def find(self, digest: str) -> Path | None:
        """Where a bundle is kept; None if it is not. What is found there has yet to be checked."""
        path = self._folder / _name(digest)
        return path if (path / MANIFEST).is_file() else None

    def keep(self, bundle: Bundle) -> Path:
        """Have a copy of a bundle, and let go of what there is no need to keep.

        Args:
            bundle: as it was opened; its bytes are written.

        Returns:
            Where the copy is.

        Raises:
            StorageError: the disk is full or can't be written.
        """
        path = self._folder / _name(bundle.digest)
        if not self._is_whole(path, bundle):
            try:
                shutil.rmtree(path, ignore_errors=True)
                with new_folder(path) as folder:
                    for name, data in bundle.files.items():
                        (folder / name).parent.mkdir(exist_ok=True)
                        (folder / name).write_bytes(data)
            except OSError as error:
                if isinstance(error, StorageError):
                    raise
                raise storage_error(error, path) from error
        self._prune(bundle.digest)
        return path

    def _is_whole(self, path: Path, bundle: Bundle) -> bool:
        if not path.is_dir():
            return False
        try:
            return dict(open_bundle(path).files) == dict(bundle.files)
        except BundleError as error:
            log.warning("a kept bundle is damaged and is written again: %s", error)
            return False

    def _prune(self, newest: str) -> None:
        """Remove the oldest bundles beyond KEPT, and what a power cut left half written."""
        record = self.record
        needed = {newest, record.good, None if record.chosen is None else record.chosen.digest}
        names = {_name(digest) for digest in needed if digest is not None}
        others = []
        for path in self._folder.iterdir():
            if path.is_dir() and re.fullmatch("[0-9a-f]{64}", path.name):
                if path.name not in names:
                    others.append(path)
            elif path.name != _CHOICE:
                _remove(path)
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[max(0, KEPT - len(names)) :]:
            _remove(path)

    def _read(self) -> Record:
        path = self._folder / _CHOICE
        if not path.exists():
            return Record()
        try:
            return msgspec.json.decode(read_file(path, MAX_RECORD_BYTES), type=Record)
        except (InputError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            log.warning("%s is not used: %s", path, error)
            return Record()


def _name(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
