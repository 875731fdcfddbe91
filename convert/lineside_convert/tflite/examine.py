"""A .tflite file that nobody here made: what it is, or why it can't be used.

A wrong file can kill the process that loads it, hang it, take all memory or corrupt the heap so
that something else breaks later. So a process of its own looks at it, `tryout`: it reads the
graph and the metadata, refuses what lineside can't use, then runs what is left. What happens to
that process is the answer, whatever it is.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct
from typing_extensions import Self

from lineside.errors import ConvertError
from lineside.extras import require
from lineside_convert.tflite.metadata import FileMetadata

MAX_FILE: Final = 128 << 20
"""Bytes of a .tflite file."""

SECONDS: Final = 120.0
"""How long reading and running a file may take."""

_START_SECONDS: Final = 120.0
"""How long the process may take to start: on a busy machine it reads its packages from disk."""

Dtype = Literal["uint8", "int8", "float32"]
Stage = Literal["graph", "engine", "killed", "hung", "accepted"]


class TensorFacts(Struct, frozen=True, kw_only=True):
    """The input or the output: real value = (stored value - zero_point) * scale."""

    name: str
    shape: tuple[int, ...]
    """With the batch dimension, 1."""
    dtype: Dtype
    scale: float
    """0.0 where the file gives no scale. A uint8 or int8 input without one takes raw pixels."""
    zero_point: int


class Examined(Struct, frozen=True, kw_only=True):
    """What a file is."""

    sha256: str
    """Of the file that was examined: compare it with what is used."""
    input: TensorFacts
    output: TensorFacts
    layout: Literal["nhwc", "nchw"]
    colour: Literal["gray", "rgb"]
    kind: str
    """Of the output, as in the manifest; a proposal by the last operator."""
    graph: str
    """Its fingerprint: of operators, shapes and types."""
    metadata: FileMetadata
    per_channel_dense: tuple[str, ...] = ()
    """FULLY_CONNECTED layers with a scale for each output: tflite-runtime crashes on arm64."""
    runtime: str
    """Name and version of the engine that ran it."""
    xnnpack: bool
    """Whether XNNPACK runs it, or a part of it."""
    plain_worst: float
    """How far a value is off at most without XNNPACK, in real units."""
    notes: tuple[str, ...] = ()
    """What whoever uses it must know, a sentence each."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of a file in the process that looked at it."""

    stage: Stage
    """Where it ended: `graph` and `engine` refused it, `killed` and `hung` say of the process."""
    reason: str = ""
    """One line, for all but `accepted`."""
    examined: Examined | None = None


class Request(Struct, frozen=True, kw_only=True):
    """What the process is asked, one line of JSON each."""

    path: str
    images: str | None = None
    """A .npy file with tensors to run it on."""
    seconds: float = SECONDS


def examine(
    path: Path, *, images: npt.NDArray[Any] | None = None, seconds: float = SECONDS
) -> Examined:
    """Look at a .tflite file, in a child process.

    Args:
        path: of the file.
        images: tensors as the file takes them, n x its input's shape without the batch dimension;
            real images tell more than the few patterns that it is always run on.
        seconds: how long it may take.

    Raises:
        ConvertError: it can't be used; one line says why.
        MissingExtraError: ai-edge-litert is not installed.
    """
    with Examiner(seconds=seconds) as examiner, _saved(images) as saved:
        outcome = examiner.look(path, images=saved)
    if outcome.examined is None:
        msg = f"{path} is refused: {outcome.reason}"
        raise ConvertError(msg)
    return outcome.examined


@contextmanager
def _saved(images: npt.NDArray[Any] | None) -> Iterator[Path | None]:
    if images is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="lineside-") as folder:
        path = Path(folder) / "images.npy"
        np.save(path, images)
        yield path


class Examiner:
    """A process that looks at files, each in a fork of its own. Not for several threads.

    What one file does to its fork stays there: the next one starts from a clean process, without
    the second that Python and the engine take to start.

    Args:
        seconds: how long one file may take.
    """

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def look(self, path: Path, *, images: Path | None = None) -> Outcome:
        """Look at one file.

        Args:
            path: of the file.
            images: a .npy file; see `examine`.

        Raises:
            ConvertError: the file can't be opened, or the process can't be started.
            MissingExtraError: ai-edge-litert is not installed.
        """
        refusal = _too_large_or_small(path)
        if refusal is not None:
            return Outcome(stage="graph", reason=refusal)
        request = Request(
            path=str(path.absolute()),
            images=None if images is None else str(images.absolute()),
            seconds=self._seconds,
        )
        process = self._process if self._process is not None else self._start()
        line = self._ask(process, msgspec.json.encode(request) + b"\n")
        if line:
            return msgspec.json.decode(line, type=Outcome)
        self.close()
        # Only the forks are limited in time and memory, and only they touch the file.
        msg = f"{path} can't be examined: the process that forks for it ended, or did not answer"
        raise ConvertError(msg)

    def _start(self) -> subprocess.Popen[bytes]:
        require("ai_edge_litert", extra="convert")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lineside_convert.tflite.tryout"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what a fork says is kept by itself
            env=os.environ | _watched_heap(),
            cwd="/",  # `-m` imports from the current folder, which may hold anyone's numpy.py
        )
        return self._process

    def _ask(self, process: subprocess.Popen[bytes], request: bytes) -> bytes:
        """The line that is answered; empty where none came in time."""
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:
            return b""
        try:
            stdin.write(request)
            stdin.flush()
        except OSError:
            return b""
        deadline = time.monotonic() + self._seconds + _START_SECONDS
        answer = b""
        while not answer.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                return b""
            piece = os.read(stdout.fileno(), 1 << 16)
            if not piece:
                return b""
            answer += piece
        return answer


def _too_large_or_small(path: Path) -> str | None:
    try:
        size = path.stat().st_size
    except OSError as error:
        msg = f"{path} can't be read: {error.strerror}"
        raise ConvertError(msg) from error
    if not path.is_file():
        msg = f"{path} is no file"
        raise ConvertError(msg)
    if size > MAX_FILE:
        return f"it is larger than {MAX_FILE >> 20} MiB ({size >> 20} MiB)"
    return "the file is empty" if size == 0 else None


def _watched_heap() -> dict[str, str]:
    """Environment in which glibc checks each block of memory as it is freed.

    A write beyond a block's end then ends the process, where otherwise it might break something
    else, or nothing today. Where glibc's part for it is not installed, nothing changes.
    """
    given = os.environ.get("LD_PRELOAD")
    return {
        "LD_PRELOAD": ":".join(filter(None, [given, "libc_malloc_debug.so.0"])),
        "GLIBC_TUNABLES": "glibc.malloc.check=3:glibc.malloc.perturb=165",
        "OPENBLAS_NUM_THREADS": "1",  # no threads: the process forks
    }
