"""Photos as a model sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lineside.dataset.threads import in_threads
from lineside.dataset.walking import is_inside
from lineside.errors import DatasetError
from lineside.image import Preprocess, decode, to_tensor


def load_tensors(
    root: Path,
    files: Sequence[str],
    spec: Preprocess,
    size: tuple[int, int],
    *,
    what: str,
    sha256: Sequence[str] | None = None,
    out: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """What a model sees of each file.

    Args:
        root: the data folder.
        files: paths below it, with `/`.
        spec: how bytes become a tensor.
        size: height and width of the model's input, in pixels.
        what: what to call the work in the progress bar.
        sha256: the hash that each file must have, in hex, where it is known.
        out: where to put it, of the shape that is returned; None: into new memory.

    Returns:
        uint8, n x height x width x channels, in the order of `files`.

    Raises:
        DatasetError: a file is not there, was changed, or lies outside `root`.
        ImageError: a file is no usable image.
    """
    tensors = np.empty((len(files), *size, spec.channels), np.uint8) if out is None else out
    real_root = root.resolve()

    def load(index: int) -> None:
        file = files[index]
        path = root / file
        if not is_inside(path, real_root):
            msg = f"{file!r} lies outside of {root}, and is refused"
            raise DatasetError(msg)
        try:
            data = path.read_bytes()
        except OSError as error:
            msg = f"{file!r} can't be read from {root} ({error.strerror})"
            raise DatasetError(msg) from error
        if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256[index]:
            msg = f"{file!r} was changed: sha256 {sha256[index]} is expected, got {found}"
            raise DatasetError(msg)
        tensors[index] = to_tensor(decode(data, spec.decode, name=repr(file)), spec, size)

    in_threads(load, range(len(files)), what)
    return tensors
