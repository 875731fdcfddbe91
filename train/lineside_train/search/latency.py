"""How long one inference takes: an untrained network of the same shape, as int8 TFLite, is timed.

As `lineside bench` does it: from raw pixels to raw outputs, one thread, the runtime that lineside
prefers, the median. Each network takes turns with the first one of the search, and its latency is
that one's, times how much longer it took: whatever else the machine was doing hit both alike.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec
import numpy as np
from typing_extensions import Self

from lineside.bench.measure import Call, time_in_turn
from lineside.errors import TrainError
from lineside.extras import quiet_native
from lineside.progress import working
from lineside.runtime import Engine, open_engine
from lineside.runtime.child import last_line, signal_name
from lineside_train.options import TrainOptions
from lineside_train.search.untrained import Request

SECONDS: Final = 1.0
"""How long a network is timed."""


class Stopwatch:
    """Times networks. Use it as a context manager: it has a child process.

    Args:
        start: the network that others are compared with.
        channels: of what the networks see.
        labels: how many.
        known: milliseconds on this machine by shape, that of `start` first, if any; added to.
        scale: what is multiplied by, for another device.
    """

    def __init__(
        self,
        start: TrainOptions,
        channels: int,
        labels: int,
        known: dict[str, float],
        scale: float = 1.0,
    ) -> None:
        self._start = start
        self._channels = channels
        self._labels = labels
        self._known = known
        self._scale = scale
        self._reference: list[Call] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="lineside-search-")

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
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
        self._folder.cleanup()

    def milliseconds(self, options: TrainOptions) -> float:
        """The median time of one inference, in ms; of the same shape it is always the same.

        Args:
            options: what decides the network's shape.

        Raises:
            TrainError: the network can't be converted or run.
        """
        key, first = shape_of(options), shape_of(self._start)
        with working("Timing the network"):
            if first not in self._known:
                (times,) = time_in_turn([self._calls_of_start()], seconds=SECONDS, what="Timing")
                self._known[first] = float(np.median(times))
            if key not in self._known:
                works = [self._calls(options), self._calls_of_start()]
                own, reference = time_in_turn(works, seconds=SECONDS, what="Timing")
                self._known[key] = self._known[first] * float(np.median(own) / np.median(reference))
        return float(f"{self._known[key] * self._scale:.4g}")

    def _calls_of_start(self) -> list[Call]:
        if self._reference is None:
            self._reference = self._calls(self._start)
        return self._reference

    def _calls(self, options: TrainOptions) -> list[Call]:
        with quiet_native(drop=b"INFO:"):
            engine: Engine = open_engine(self._converted(options))
        given = engine.inputs[0]
        random = np.random.default_rng(0)
        pixels = random.integers(0, 256, given.shape).astype(given.dtype)
        return [partial(engine.invoke, pixels)]

    def _converted(self, options: TrainOptions) -> bytes:
        out = Path(self._folder.name) / "untrained.tflite"
        request = Request(
            options=options, channels=self._channels, labels=self._labels, out=str(out)
        )
        log = Path(self._folder.name) / "log"
        if self._child is None:
            with log.open("wb") as said:
                self._child = subprocess.Popen(
                    [sys.executable, "-m", "lineside_train.search.untrained"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    env=os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""},
                    start_new_session=True,  # Ctrl-C is for the search
                )
        child = self._child
        if child.stdin is None or child.stdout is None:
            msg = "a child was started without pipes"
            raise RuntimeError(msg)
        try:
            child.stdin.write(msgspec.json.encode(request) + b"\n")
            child.stdin.flush()
        except BrokenPipeError:  # it died: the answer is missing as well
            pass
        if not child.stdout.readline():
            ended, self._child = child.wait(), None
            why = signal_name(ended) or last_line(log.read_text(errors="replace"))
            msg = f"a network of shape {shape_of(options)} can't be converted: {why}"
            raise TrainError(msg)
        return out.read_bytes()


def shape_of(options: TrainOptions) -> str:
    """What decides how long a network takes, such as `plain 1 128`."""
    return f"{options.arch} {options.width:g} {options.image_size}"
