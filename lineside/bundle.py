"""The bundle: what `lineside convert` writes and a station runs. Write, open, verify, zip.

Opening checks everything first: names, counts and sizes, the signature where a key is trusted, the
manifest, that exactly the listed files are there, and each file's hash. What fails is refused with
what was expected and what was found. A bundle is read once: whoever opens it works on the bytes
that were checked.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from lineside.errors import BundleError
from lineside.files import new_folder, write_file
from lineside.manifest import (
    FILE_PATTERN,
    FileRecord,
    Manifest,
    decode_manifest,
    encode_manifest,
)
from lineside.signature import SIGNATURE, verify_files

MANIFEST: Final = "manifest.json"
_UNLISTED: Final = frozenset({MANIFEST, SIGNATURE})  # neither can hold its own hash

MAX_FILES: Final = 1024
"""How many files a bundle may hold."""
MAX_NAME_CHARS: Final = 100
"""How long a file's name may be, in characters."""
MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
"""How large manifest.json (and signature.json) may be, in bytes."""
MAX_FILE_BYTES: Final = 128 * 1024 * 1024
"""How large any other file may be, in bytes."""
MAX_BUNDLE_BYTES: Final = 256 * 1024 * 1024
"""How large all files together, and a zip file, may be, in bytes."""
MAX_EXPANSION: Final = 100
"""How many times larger than the zip file its contents may be."""

_END_RECORD: Final = struct.Struct("<4s4H2LH")  # a zip's last 22 bytes, without a comment
_ZIP64_LOCATOR_BYTES: Final = 20


@dataclass(frozen=True)
class Bundle:
    """A bundle, opened and checked.

    Attributes:
        path: where it was read from, a folder or a zip file.
        manifest: its manifest.
        digest: `sha256:` and the hash of manifest.json: the bundle's identity.
        files: name -> bytes, of every file; what was checked is what is used.
        signed_by: the fingerprint of the trusted key that signed all of it; None if nobody asked.
    """

    path: Path
    manifest: Manifest
    digest: str
    files: Mapping[str, bytes]
    signed_by: str | None = None

    @property
    def model(self) -> bytes:
        """The main model's file."""
        return self.files[self.manifest.model.file]


def open_bundle(path: Path, *, trust: bytes | None = None) -> Bundle:
    """Read a bundle and check all of it.

    Args:
        path: a folder, or a zip file. It may itself be a link, which is how some stations switch
            bundles; nothing inside may.
        trust: the PEM of a public key. A bundle that it did not sign as a whole is refused before
            its manifest is parsed.

    Raises:
        BundleError: it is refused; the message says what was expected and what was found.
        InputError: `trust` is no key that can be used.
        MissingExtraError: `trust` needs `cryptography`, which is not installed.
    """
    if path.is_dir():
        files = _read_folder(path)
    elif path.is_file():
        files = _read_zip(path)
    else:
        msg = f"{path} is no bundle: a folder or a .zip written by 'lineside convert' is expected"
        raise BundleError(msg)
    signed_by = None if trust is None else _check_signature(path, files, trust)
    return replace(check_bundle(path, files), signed_by=signed_by)


def write_bundle(
    path: Path,
    manifest: Manifest,
    files: Mapping[str, bytes],
    *,
    sign: Callable[[Path], object] | None = None,
) -> Bundle:
    """Write a bundle as a folder, that appears whole or not at all.

    Args:
        path: the folder, which must not be there yet.
        manifest: its field `files` is filled in here.
        files: name -> bytes, all files but manifest.json.
        sign: is called with the folder before it appears, all files but signature.json in it, and
            puts that one there.

    Raises:
        BundleError: it would be refused when it is opened.
        StorageError: `path` is there already, or the disk is full or can't be written.
    """
    records = {
        name: FileRecord(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        for name, data in sorted(files.items())
    }
    manifest = msgspec.structs.replace(manifest, files=records)
    everything = {MANIFEST: encode_manifest(manifest), **files}
    bundle = check_bundle(path, everything)
    with new_folder(path) as folder:
        for name, data in everything.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
        if sign is not None:
            sign(folder)
            everything[SIGNATURE] = (folder / SIGNATURE).read_bytes()
            bundle = check_bundle(path, everything)
    return bundle


def zip_bundle(folder: Path, out: Path) -> None:
    """Write a bundle as one zip file; the same bundle gives the same bytes.

    Entries are stored, sorted, and dated SOURCE_DATE_EPOCH, or 1980 where that is not set.

    Raises:
        BundleError: `folder` is refused.
        StorageError: the disk is full or can't be written.
    """
    bundle = open_bundle(folder)
    # A zip can't say a date before 1980.
    epoch = max(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), 315_532_800)
    date = time.gmtime(epoch)[:6]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(bundle.files.items()):
            entry = zipfile.ZipInfo(name, date)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.create_system = 3  # Unix, whatever this machine is
            archive.writestr(entry, data)
    write_file(out, buffer.getvalue())


def check_bundle(path: Path, files: Mapping[str, bytes]) -> Bundle:
    """Check the bytes of a bundle. No input or output.

    Args:
        path: what to call it in an error.
        files: name -> bytes, of every file, manifest.json included.

    Raises:
        BundleError: it is refused.
    """
    _check_entries(path, [(name, len(data)) for name, data in files.items()])
    if MANIFEST not in files:
        msg = f"{path} is no bundle: {MANIFEST} is missing from its top level"
        raise BundleError(msg)
    try:
        manifest = decode_manifest(files[MANIFEST])
    except BundleError as error:
        msg = f"{path}: {error}"
        raise BundleError(msg) from error
    for problem in _differences(manifest, files):
        msg = f"{path} is refused: {problem}"
        raise BundleError(msg)
    digest = "sha256:" + hashlib.sha256(files[MANIFEST]).hexdigest()
    return Bundle(path, manifest, digest, MappingProxyType(dict(files)))


def _check_signature(path: Path, files: Mapping[str, bytes], trust: bytes) -> str:
    """The fingerprint of the key `trust`, which signed these files."""
    if SIGNATURE not in files:
        msg = f"{path} is refused: it is not signed, {SIGNATURE} is expected since a key is trusted"
        raise BundleError(msg)
    try:
        return verify_files(files, files[SIGNATURE], trust)
    except BundleError as error:
        msg = f"{path} is refused: {error}"
        raise BundleError(msg) from error


def _differences(manifest: Manifest, files: Mapping[str, bytes]) -> Iterator[str]:
    """What is not as the manifest says."""
    for name in sorted(set(files) - set(manifest.files) - _UNLISTED):
        yield f"{name} is not listed in {MANIFEST}"
    for name, record in manifest.files.items():
        if name in _UNLISTED:
            yield f"{MANIFEST} lists {name}, which can't be listed"
        elif name not in files:
            yield f"{name} is missing, {record.size} bytes are expected"
        elif len(files[name]) != record.size:
            yield f"{name}: {record.size} bytes are expected, found {len(files[name])}"
        else:
            found = hashlib.sha256(files[name]).hexdigest()
            if found != record.sha256:
                yield f"{name} was changed: sha256 {record.sha256} is expected, found {found}"


def _check_entries(path: Path, entries: Iterable[tuple[str, int]]) -> None:
    """Refuse names and sizes that no bundle has, before anything is read."""
    count = total = 0
    for name, size in entries:
        count, total = count + 1, total + size
        if len(name) > MAX_NAME_CHARS or not re.fullmatch(FILE_PATTERN, name):
            msg = f"{path} is refused: the file name {name[:MAX_NAME_CHARS]!r} is not allowed"
            raise BundleError(msg)
        limit = MAX_MANIFEST_BYTES if name in _UNLISTED else MAX_FILE_BYTES
        if size > limit:
            msg = f"{path} is refused: {name} has {size} bytes, at most {limit} are allowed"
            raise BundleError(msg)
    if count > MAX_FILES:
        msg = f"{path} is refused: it holds {count} files, at most {MAX_FILES} are allowed"
        raise BundleError(msg)
    if total > MAX_BUNDLE_BYTES:
        msg = f"{path} is refused: {total} bytes in all, at most {MAX_BUNDLE_BYTES} are allowed"
        raise BundleError(msg)


# ---- a folder


def _read_folder(path: Path) -> dict[str, bytes]:
    try:
        entries = list(_walk(path, path))
        _check_entries(path, entries)
        return {name: _read_file(path, name, size) for name, size in entries}
    except OSError as error:
        msg = f"{path} can't be read: {error.strerror or error}"
        raise BundleError(msg) from error


def _walk(root: Path, folder: Path) -> Iterator[tuple[str, int]]:
    """Name and size of each file, two levels deep; nothing is followed."""
    with os.scandir(folder) as found:
        for count, entry in enumerate(sorted(found, key=lambda e: e.name)):
            name = Path(entry.path).relative_to(root).as_posix()
            if count > MAX_FILES:
                msg = f"{root} is refused: more than {MAX_FILES} files in one folder"
                raise BundleError(msg)
            if entry.is_symlink():
                msg = f"{root} is refused: {name} is a symbolic link, a plain file is expected"
                raise BundleError(msg)
            if entry.is_dir(follow_symlinks=False) and folder == root:
                yield from _walk(root, Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield name, entry.stat(follow_symlinks=False).st_size
            else:
                msg = f"{root} is refused: {name} is no plain file in the first two levels"
                raise BundleError(msg)


def _read_file(root: Path, name: str, size: int) -> bytes:
    # It may have been replaced since it was listed: a link is not followed, a pipe not waited
    # for, and no more is read than was announced and allowed.
    handle = os.open(root / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        return file.read(size + 1)


# ---- a zip file


def _read_zip(path: Path) -> dict[str, bytes]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        msg = f"{path} can't be read: {error.strerror or error}"
        raise BundleError(msg) from error
    _check_end_record(path, data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_zip_entries(path, entries, len(data))
            return {entry.filename: archive.read(entry) for entry in entries}
    except BundleError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OSError,
        ValueError,
    ) as error:
        msg = f"{path} is refused: a damaged zip file ({error})"
        raise BundleError(msg) from error


def _check_end_record(path: Path, data: bytes) -> None:
    """Refuse what is no simple zip file, before its list of entries is read."""
    if len(data) > MAX_BUNDLE_BYTES:
        msg = f"{path} is refused: larger than {MAX_BUNDLE_BYTES} bytes"
        raise BundleError(msg)
    tail = data[-_END_RECORD.size :]
    if len(tail) < _END_RECORD.size or not tail.startswith(b"PK\x05\x06"):
        msg = f"{path} is refused: a complete zip file without a comment is expected"
        raise BundleError(msg)
    locator = data[: -_END_RECORD.size][-_ZIP64_LOCATOR_BYTES:]
    count, listing = _END_RECORD.unpack(tail)[4:6]
    # An entry of the list takes 46 bytes and its name; some tools add a few dozen bytes.
    if locator.startswith(b"PK\x06\x07") or count > MAX_FILES or listing > MAX_FILES * 512:
        msg = f"{path} is refused: a zip file of at most {MAX_FILES} entries is expected"
        raise BundleError(msg)


def _check_zip_entries(path: Path, entries: list[zipfile.ZipInfo], zip_bytes: int) -> None:
    names = set()
    for entry in entries:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        problem = None
        if entry.orig_filename != entry.filename:
            problem = "has a strange name"
        elif entry.filename in names:
            problem = "comes twice"
        elif entry.is_dir():
            problem = "is a folder entry; zip the files alone (zip -D)"
        elif kind not in {0, stat.S_IFREG}:
            problem = "is no plain file"
        elif entry.flag_bits & 1:
            problem = "is encrypted"
        elif entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            problem = f"is compressed by method {entry.compress_type}, 0 or 8 is expected"
        if problem:
            msg = f"{path} is refused: the entry {entry.orig_filename[:MAX_NAME_CHARS]!r} {problem}"
            raise BundleError(msg)
        names.add(entry.filename)
    _check_entries(path, [(entry.filename, entry.file_size) for entry in entries])
    total = sum(entry.file_size for entry in entries)
    if total > MAX_EXPANSION * zip_bytes:
        msg = (
            f"{path} is refused: {zip_bytes} bytes of zip would become {total}, "
            f"at most {MAX_EXPANSION} times as many are allowed"
        )
        raise BundleError(msg)
