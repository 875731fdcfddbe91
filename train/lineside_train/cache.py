"""Photos as a model sees them, decoded once: a memory-mapped file for each set of photos.

A file's name is the hash of all that decides what it holds, so it is never out of date; a changed
photo has another hash. The files used longest ago go, once all together are larger than LIMIT.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from lineside.dataset import load_tensors
from lineside.extras import require
from lineside.image import Preprocess
from lineside.run import SplitRow

LIMIT: Final = 20 * 10**9
"""Bytes that all files together may have."""

OURS: Final = re.compile(r"[0-9a-f]{64}\.npy|\.[0-9a-f]{64}\..+\.[0-9]+")
"""Names of files of the cache, whole and half-written: it may be put into any folder, and what else
lies there is not touched."""

Tensors = npt.NDArray[np.uint8]


def default_cache() -> Path:
    """Where decoded photos are kept, if nobody says otherwise."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lineside" / "tensors"


def cached_tensors(
    root: Path,
    rows: Sequence[SplitRow],
    spec: Preprocess,
    size: tuple[int, int],
    folder: Path | None,
) -> Tensors:
    """What a model sees of each photo, from the cache, which it is put into if it wasn't there.

    A cache that can't be written costs the time of decoding, and nothing else.

    Args:
        root: the data folder.
        rows: the photos, with the hashes that they were read with just now.
        spec: how bytes become a tensor.
        size: height and width of the model's input, in pixels.
        folder: of the cache; None: none.

    Returns:
        uint8, n x height x width x channels, in the order of `rows`, read-only or in memory.

    Raises:
        DatasetError: a photo is not there any more, or was changed.
        ImageError: a photo is no usable image.
    """
    shape = (len(rows), *size, spec.channels)
    if folder is not None:
        path = folder / f"{_key(rows, spec, size)}.npy"
        with contextlib.suppress(OSError, ValueError, EOFError):
            found: Tensors = np.load(path, mmap_mode="r", allow_pickle=False)
            if found.shape == shape and found.dtype == np.uint8:
                os.utime(path)
                return found
        with contextlib.suppress(OSError):
            return _decode_into(path, root, rows, spec, shape)
    return _decode(root, rows, spec, np.empty(shape, np.uint8))


def _key(rows: Sequence[SplitRow], spec: Preprocess, size: tuple[int, int]) -> str:
    """Of all that decides what the tensors are; the decoder's version is a part of it."""
    how = [spec, size, require("cv2", extra="runtime").__version__]
    digest = hashlib.sha256(msgspec.json.encode(how))
    for row in rows:
        digest.update(f"{row.sha256} {row.file}\0".encode())
    return digest.hexdigest()


def _decode(root: Path, rows: Sequence[SplitRow], spec: Preprocess, out: Tensors) -> Tensors:
    return load_tensors(
        root,
        [row.file for row in rows],
        spec,
        (out.shape[1], out.shape[2]),
        what="Reading the photos",
        sha256=[row.sha256 for row in rows],
        out=out,
    )


def _decode_into(
    path: Path, root: Path, rows: Sequence[SplitRow], spec: Preprocess, shape: tuple[int, ...]
) -> Tensors:
    """Decode into a new file; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _make_room(path.parent, int(np.prod(shape)))
    # Hosts of one training may share the folder; in containers their process ids are the same.
    partial = path.with_name(f".{path.stem}.{os.uname().nodename}.{os.getpid()}")
    try:
        out = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        with partial.open("r+b") as file:
            # Writing to a map of a full disk would kill the process.
            os.posix_fallocate(file.fileno(), 0, partial.stat().st_size)
        _decode(root, rows, spec, out)
        out.flush()
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    found: Tensors = np.load(path, mmap_mode="r", allow_pickle=False)
    return found


def _make_room(folder: Path, size: int) -> None:
    """Remove the files used longest ago, until `size` more bytes are within the limit.

    What a process that was killed left half-written is among them.
    """
    files = [file for file in folder.iterdir() if OURS.fullmatch(file.name)]
    files.sort(key=lambda file: file.stat().st_mtime)
    total = size + sum(file.stat().st_size for file in files)
    for file in files:
        if total <= LIMIT:
            return
        total -= file.stat().st_size
        file.unlink(missing_ok=True)
