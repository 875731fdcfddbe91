"""The parent's side of the worker: starts it, asks it, and outlives it."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct
from typing_extensions import Self

from lineside.errors import ConvertError
from lineside.runtime.child import last_line, signal_name
from lineside_convert.worker.protocol import Reply, Request

REQUEST_SECONDS: Final = 3600.0
"""How long one request may take, in seconds."""

_Answer = TypeVar("_Answer", bound=Struct)


class Workshop:
    """A folder, and a child process that works in it. Use it as a context manager.

    The child is started when it is first needed, and again after it died.

    Args:
        folder: an empty one, on a disk with room for the images as tensors.
        seconds: how long one request may take.
    """

    def __init__(self, folder: Path, *, seconds: float = REQUEST_SECONDS) -> None:
        self.folder = folder
        self._seconds = seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._answers: BinaryIO | None = None
        self._log = folder / "worker.log"

    def __enter__(self) -> Self:
        """Nothing is started yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the child."""
        self._end()

    def ask(self, request: Request, answer: type[_Answer]) -> _Answer:
        """Ask the child for something.

        Args:
            request: what.
            answer: what the request says that it is answered with.

        Raises:
            ConvertError: it can't be done, or it killed the child, or took too long.
        """
        child = self._started()
        line = self._exchange(child, msgspec.json.encode(request) + b"\n")
        if line is None:
            self._end()
            msg = f"it did not end within {self._seconds:g} s, and was stopped"
            raise ConvertError(msg)
        if not line.endswith(b"\n"):
            raise ConvertError(self._how_it_died())
        reply = msgspec.json.decode(line, type=Reply)
        if reply.error is not None:
            raise ConvertError(reply.error)
        return msgspec.convert(reply.answer, answer)

    def save(self, name: str, array: npt.NDArray[np.uint8]) -> None:
        """Write an array into the folder.

        Raises:
            OSError: the disk is full: np.save would not say so.
        """
        array = np.ascontiguousarray(array)
        with (self.folder / name).open("wb") as file:
            header = np.lib.format.header_data_from_array_1_0(array)
            np.lib.format.write_array_header_1_0(file, header)
            file.write(array.data)

    def load(self, name: str) -> npt.NDArray[np.float64]:
        """Read logits that the child wrote."""
        found: npt.NDArray[np.float64] = np.load(self.folder / name)
        return found

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            env = os.environ | {
                "KERAS_BACKEND": "tensorflow",  # the converter's, whichever one trained the model
                "CUDA_VISIBLE_DEVICES": "",  # a few hundred images: a GPU's start takes longer
                "TMPDIR": str(self.folder.absolute()),
                "TF_CPP_MIN_LOG_LEVEL": "2",
            }
            # Libraries write to stdout as they like: the answers have a way of their own.
            ours, theirs = os.pipe()
            self._answers = os.fdopen(ours, "rb")
            command = [sys.executable, "-m", "lineside_convert.worker"]
            command += [str(self.folder.absolute()), str(theirs)]
            with self._log.open("ab") as log, os.fdopen(theirs, "wb"):
                self._child = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    pass_fds=[theirs],
                    env=env,
                    cwd="/",  # `-m` imports from the current folder: anyone's numpy.py may be there
                )
        return self._child

    def _exchange(self, child: subprocess.Popen[bytes], line: bytes) -> bytes | None:
        """Send a line and wait for one; None if none came in time, cut off if the child died."""
        assert child.stdin is not None  # noqa: S101 - it was started with pipes
        assert self._answers is not None  # noqa: S101 - the same
        try:
            child.stdin.write(line)
            child.stdin.flush()
        except BrokenPipeError:
            return b""
        ready, _, _ = select.select([self._answers], [], [], self._seconds)
        if not ready:
            return None
        # It writes a whole line at once: whoever began one ends it, or is dead.
        return self._answers.readline()

    def _how_it_died(self) -> str:
        code = self._end()
        killer = signal_name(code)
        if killer is not None:
            return (
                f"its process was killed by {killer}: a layer can't be made so "
                "(GRU and LSTM need unroll=True), or the file is damaged"
            )
        said = last_line(self._log.read_text(errors="replace"))
        return f"its process ended with {code}; the last it said: {said}"

    def _end(self) -> int:
        """End the child, if there is one, and say how it ended."""
        child, self._child = self._child, None
        if child is None:
            return 0
        for pipe in (child.stdin, self._answers):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what it did not read is lost
                    pipe.close()
        killer = threading.Timer(5.0, child.kill)  # TensorFlow may hang as it ends
        killer.start()
        try:
            return child.wait()
        finally:
            killer.cancel()
