"""What a .tflite says of images."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from lineside.errors import ConvertError
from lineside.outputs import to_logits
from lineside.runtime import Engine, open_engine
from lineside.runtime.feed import Feed, make_feed
from lineside_convert.describe import describe_input
from lineside_convert.tflite.graph import read_graph
from lineside_convert.worker.probe import undelegated
from lineside_convert.worker.protocol import Ask, Scored

TIMED: Final = 100
"""Inferences that are timed, by one thread; the median is kept."""


def ask(request: Ask, folder: Path) -> Scored:
    """Score a part, write down what it says, and time the model if that is wanted.

    Raises:
        ConvertError: the model gives nonsense.
        EngineError: it does not load or run.
    """
    model = (folder / request.model).read_bytes()
    tensors = np.load(folder / f"{request.part}.npy", mmap_mode="r")
    engine = open_engine(model, threads=os.cpu_count() or 1)
    feed = make_feed(describe_input(engine.inputs[0], request.layout, request.normalization))
    values = values_of(engine, feed, tensors)
    logits = to_logits(engine.outputs[0].dequantize(values), request.kind)
    _check(logits, request.model)
    (folder / request.out).parent.mkdir(exist_ok=True)
    np.save(folder / request.out, logits)
    np.save(folder / values_file(request.out), values)
    if not request.timed:
        return Scored()
    graph = read_graph(model)
    left_out = {graph.operators[number].op for number in undelegated(model, graph)}
    return Scored(invoke_ms_p50=_time(model, feed, tensors), undelegated=sorted(left_out))


def values_file(out: str) -> str:
    """Where the stored values are whose logits are in `out`."""
    return out.removesuffix(".npy") + ".values.npy"


def values_of(
    engine: Engine, feed: Feed, tensors: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float64]:
    """The stored values of the output, n x values, of n pictures."""
    rows = [engine.invoke(feed(np.ascontiguousarray(one)))[0].reshape(-1) for one in tensors]
    return np.stack(rows).astype(np.float64)


def _check(logits: npt.NDArray[np.float64], name: str) -> None:
    if not np.isfinite(logits).all():
        msg = f"{name}: the answers are not finite (NaN or infinite)"
        raise ConvertError(msg)
    if len(logits) > 1 and (logits == logits[0]).all():
        msg = (
            "it gives the same answer for every image: its scales don't fit; "
            "try more images for --calibration, or train it again"
        )
        raise ConvertError(msg)


def _time(model: bytes, feed: Feed, tensors: npt.NDArray[np.uint8]) -> float:
    """The median of an inference, in milliseconds, by one thread."""
    engine = open_engine(model)
    given = [feed(np.ascontiguousarray(one)) for one in tensors[:8]]
    times = []
    for turn in range(TIMED):
        start = time.perf_counter_ns()
        engine.invoke(given[turn % len(given)])
        times.append((time.perf_counter_ns() - start) / 1e6)
    return statistics.median(times)
