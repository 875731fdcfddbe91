"""The child: `python -m lineside_convert.worker FOLDER FD`.

Requests come on stdin, answers go to the file descriptor FD.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from lineside.errors import ConvertError, LinesideError
from lineside.runtime.feed import make_feed
from lineside_convert.scheme import parse_scheme
from lineside_convert.tflite.graph import read_graph
from lineside_convert.worker import layers, original, ranges, score
from lineside_convert.worker.biases import correct_biases
from lineside_convert.worker.protocol import (
    REQUESTS,
    AnyRequest,
    Ask,
    AskOriginal,
    Calibrate,
    Done,
    Errors,
    Load,
    Make,
    Reply,
    Scored,
)
from lineside_convert.worker.weights import unround

CORRECTED_BY: Final = 64
"""Calibration images that biases are corrected by."""


class Worker:
    """Does what it is asked, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready: original.Ready | None = None

    def do(self, request: AnyRequest) -> Struct:
        """Answer a request.

        Raises:
            LinesideError: it can't be done.
        """
        folder = self._folder
        match request:
            case Load():
                self._ready = original.load(request, folder)
                return self._ready.told
            case AskOriginal():
                return self._ask_original(request)
            case Ask():
                return score.ask(request, folder)
            case Calibrate():
                ranges.calibrate(request, folder)
                return Done()
            case Make():
                self._make(request)
                return Done()
            case Errors():
                return layers.errors(request, folder)

    def _ask_original(self, request: AskOriginal) -> Scored:
        if self._ready is None:
            msg = "the model was not loaded yet"
            raise ConvertError(msg)
        tensors = np.load(self._folder / f"{request.part}.npy", mmap_mode="r")
        found = original.ask(self._ready, tensors)
        (self._folder / request.out).parent.mkdir(exist_ok=True)
        np.save(self._folder / request.out, found)
        return Scored()

    def _make(self, request: Make) -> None:
        from lineside_convert.worker.quantize import make

        scheme = parse_scheme(request.scheme)
        found = ranges.read_ranges(self._folder)[request.ranges] if scheme.calibrated else {}
        original_model = (self._folder / "original.tflite").read_bytes()
        rounded = self._folder / ranges.ROUNDED
        begin = original_model
        if scheme.rounded and rounded.exists():
            begin = unround(rounded.read_bytes(), original_model, scheme.in_float)
        made = make(begin, scheme, found)
        if request.corrected:
            way = (request.layout, request.normalization)
            models = (made, original_model)
            feeds = [make_feed(ranges.input_of(read_graph(one), *way)) for one in models]
            pixels = np.load(self._folder / "calibration.npy", mmap_mode="r")[:CORRECTED_BY]
            made = correct_biases(made, original_model, pixels, (feeds[0], feeds[1]))
        out = self._folder / request.out
        out.parent.mkdir(exist_ok=True)
        out.write_bytes(made)


def main() -> None:
    """Answer until the parent closes stdin."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected, its dump is not
    worker, answers = Worker(Path(sys.argv[1])), os.fdopen(int(sys.argv[2]), "wb")
    for line in sys.stdin.buffer:
        try:
            reply = Reply(answer=worker.do(REQUESTS.decode(line)))
        except LinesideError as error:
            reply = Reply(error=str(error))
        answers.write(msgspec.json.encode(reply) + b"\n")
        answers.flush()
    # Nothing is left to be written, and TensorFlow takes seconds to put itself away.
    os._exit(0)


if __name__ == "__main__":
    main()
