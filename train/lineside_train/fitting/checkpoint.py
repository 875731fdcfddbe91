"""The state of a training on disk, so that it can go on after anything."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from lineside.errors import StorageError
from lineside.files import storage_error, write_file
from lineside_train.backend import load_keras
from lineside_train.fitting.progress import Progress, State

FILE: Final = "state.npz"

_DAMAGE: Final = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
"""What comes of reading a file that is damaged; msgspec's own are ValueErrors."""


@dataclass(frozen=True)
class Checkpoint:
    """Keeps the state of one training in a folder.

    One file, replaced as a whole: arrays `v0`… of the trainee, `o0`… of its optimizer, `b0`… of
    the best weights so far, and `state`, JSON as bytes.

    Attributes:
        folder: is there already.
    """

    folder: Path

    def save(self, trainee: Any, progress: Progress) -> None:  # noqa: ANN401 - Keras has no types
        """Keep the state.

        Args:
            trainee: compiled, between two epochs.
            progress: how far it is.

        Raises:
            StorageError: the disk is full or can't be written; the state before is still there.
        """
        convert = load_keras().ops.convert_to_numpy
        arrays = {
            **{f"v{i}": convert(value) for i, value in enumerate(trainee.variables)},
            **{f"o{i}": convert(value) for i, value in enumerate(trainee.optimizer.variables)},
            **{f"b{i}": np.asarray(value) for i, value in enumerate(progress.best or ())},
            "state": np.frombuffer(msgspec.json.encode(progress.state), np.uint8),
        }
        file = io.BytesIO()
        np.savez(file, **arrays)
        write_file(self.folder / FILE, file.getvalue())

    def read(self) -> bytes:
        """The state that was kept, as `restored` takes it; empty where there is none.

        Raises:
            StorageError: the file can't be read.
        """
        path = self.folder / FILE
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise storage_error(error, path) from error


def restored(data: bytes, trainee: Any, folder: Path | None) -> Progress:  # noqa: ANN401
    """Go on from a state that was kept.

    Args:
        data: as `Checkpoint.read` gives it, not empty.
        trainee: compiled as it was when it was kept; its variables are set.
        folder: where it was kept, for messages; None: on another machine.

    Raises:
        StorageError: the file is damaged, or of another training.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            state = msgspec.json.decode(arrays["state"].tobytes(), type=State)
            best = _numbered(arrays, "b")
            _assign(trainee.variables, _numbered(arrays, "v"))
            _assign(trainee.optimizer.variables, _numbered(arrays, "o"))
    except _DAMAGE as error:
        place = folder and folder / FILE
        msg = (
            f"{place or 'the state on the first host'} is damaged or of another training "
            f"({error}): remove {folder or 'its folder there'} and train again"
        )
        raise StorageError(msg) from error
    return Progress(state, best or None)


def _numbered(arrays: Any, kind: str) -> list[npt.NDArray[np.generic]]:  # noqa: ANN401 - of numpy
    names = sorted((n for n in arrays.files if n[0] == kind and n[1:].isdigit()), key=_number)
    return [arrays[name] for name in names]


def _number(name: str) -> int:
    return int(name[1:])


def _assign(variables: Any, values: list[npt.NDArray[np.generic]]) -> None:  # noqa: ANN401
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
