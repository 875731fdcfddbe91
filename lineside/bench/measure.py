"""Time configurations in turns.

Each configuration (a bundle, an installed runtime, a number of threads) is visited in turn, round
after round, so that whatever else happens on the device hits all alike; medians are compared. What
is timed is what a station does: from raw pixels to logits, and, for the fastest configuration of
each bundle, from the bytes of an image to the verdict. The images are the bundle's golden ones.
"""

from __future__ import annotations

import hashlib
import itertools
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from lineside.bench.record import Bench, Row
from lineside.image import Frame
from lineside.inspector import Inspector
from lineside.progress import track
from lineside.runtime.device import device_name
from lineside.runtime.golden import golden_frame

ROUNDS: Final = 20
"""How often each configuration is visited."""

Call = Callable[[], object]
Times = npt.NDArray[np.float64]
"""Milliseconds."""


@dataclass(frozen=True)
class Contestant:
    """One configuration, loaded.

    Attributes:
        inspector: with its bundle and engine.
        threads: how many CPU threads the engine uses.
    """

    inspector: Inspector
    threads: int

    def invokes(self) -> list[Call]:
        """From raw pixels to logits: one call for each golden image."""
        inspector = self.inspector
        tensors = [inspector.tensor(self._frame(file)) for file in self._files()]
        return [partial(inspector.logits, tensor) for tensor in tensors]

    def paths(self) -> list[Call]:
        """From an image's bytes to the verdict: one call for each golden image."""
        return [partial(self._look, file) for file in self._files()]

    def _files(self) -> list[str]:
        return [golden.file for golden in self.inspector.bundle.manifest.golden]

    def _frame(self, file: str) -> Frame:
        bundle = self.inspector.bundle
        return golden_frame(file, bundle.files[file], bundle.manifest.preprocess)

    def _look(self, file: str) -> object:
        return self.inspector.inspect(self._frame(file))

    def row(self, invoke_ms: Times, path_ms: Times | None) -> Row:
        """What is said of it.

        Args:
            invoke_ms: the times of `invokes`, in milliseconds.
            path_ms: those of `paths`, where they were measured.
        """
        bundle, engine = self.inspector.bundle, self.inspector.engine
        model = bundle.manifest.model
        return Row(
            bundle=bundle.manifest.name,
            version=bundle.manifest.version,
            digest=bundle.digest,
            scheme=model.scheme,
            graph=model.graph,
            model_sha256=hashlib.sha256(bundle.model).hexdigest(),
            model_bytes=len(bundle.model),
            runtime=engine.name,
            runtime_version=engine.version,
            xnnpack=engine.xnnpack,
            threads=self.threads,
            invoke_ms_p50=_percentile(invoke_ms, 50),
            invoke_ms_p99=_percentile(invoke_ms, 99),
            path_ms_p50=None if path_ms is None else _percentile(path_ms, 50),
        )


def _percentile(times: Times, q: float) -> float:
    return round(float(np.percentile(times, q)), 4)


def time_in_turn(works: Sequence[Sequence[Call]], *, seconds: float, what: str) -> list[Times]:
    """Time pieces of work that take turns, in ROUNDS rounds, every other one backwards.

    Args:
        works: for each piece the calls that are made, again and again.
        seconds: how long each piece is measured, all rounds together; each call at least once.
        what: what is being done, for the progress bar.

    Returns:
        For each piece the times of its calls in milliseconds.
    """
    times: list[list[float]] = [[] for _ in works]
    calls = [itertools.cycle(work) for work in works]
    order = range(len(works))
    turns = [i for n in range(ROUNDS) for i in (order if n % 2 == 0 else reversed(order))]
    for i in track(turns, what=what):
        times[i] += _visit(calls[i], seconds / ROUNDS)
    return [np.array(found) for found in times]


def _visit(calls: Iterator[Call], seconds: float) -> list[float]:
    """Milliseconds of each call, until `seconds` are over."""
    next(calls)()  # untimed: it wakes threads, and brings the model back into the caches
    times: list[float] = []
    until = time.perf_counter_ns() + seconds * 1e9
    while not times or time.perf_counter_ns() < until:
        call = next(calls)
        start = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times


def run_bench(contestants: Sequence[Contestant], *, seconds: float) -> Bench:
    """Measure.

    Args:
        contestants: the configurations.
        seconds: how long each is measured.

    Raises:
        EngineError: an engine fails.
    """
    invokes = time_in_turn(
        [one.invokes() for one in contestants], seconds=seconds, what="Asking the models"
    )
    medians = [float(np.median(times)) for times in invokes]
    best: dict[str, int] = {}  # digest -> the fastest of that bundle
    for i in sorted(range(len(contestants)), key=medians.__getitem__):
        best.setdefault(contestants[i].inspector.bundle.digest, i)
    paths = time_in_turn(
        [contestants[i].paths() for i in best.values()],
        seconds=seconds,
        what="From bytes to verdicts",
    )
    path_of = dict(zip(best.values(), paths, strict=True))
    return Bench(
        device=device_name(),
        arch=platform.machine(),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        rows=[
            one.row(times, path_of.get(i))
            for i, (one, times) in enumerate(zip(contestants, invokes, strict=True))
        ],
        fastest=int(np.argmin(medians)),
    )
