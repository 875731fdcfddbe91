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
from lineside.runtime.feed import make_feed
from lineside_convert.describe import describe_input
from lineside_convert.tflite.graph import read_graph
from lineside_convert.worker.probe import undelegated
from lineside_convert.worker.protocol import Ask, Scored

TIMED: Final = 100
"""Inferences that are timed, by one thread; the median is kept."""


def ask(request: Ask, folder: Path) -> Scored:
    """Score a part, write the logits, and time the model.

    Raises:
        ConvertError: the model gives nonsense.
        EngineError: it does not load or run.
    """
    model = (folder / request.model).read_bytes()
    tensors = np.load(folder / f"{request.part}.npy", mmap_mode="r")
    engine = open_engine(model, threads=os.cpu_count() or 1, xnnpack=request.xnnpack)
    logits = logits_of(engine, tensors, request)
    (folder / request.out).parent.mkdir(exist_ok=True)
    np.save(folder / request.out, logits)
    if not request.xnnpack:
        return Scored()
    operators = read_graph(model).operators
    left_out = [operators[number].op for number in undelegated(model) if number < len(operators)]
    return Scored(invoke_ms_p50=_time(model, tensors, request), undelegated=left_out)


def logits_of(
    engine: Engine, tensors: npt.NDArray[np.uint8], request: Ask
) -> npt.NDArray[np.float64]:
    """The logits, n x labels, of n pictures.

    Raises:
        ConvertError: they are not finite, or the same for every picture.
    """
    output = engine.outputs[0]
    feed = make_feed(describe_input(engine.inputs[0], request.layout, request.normalization))
    rows = [output.dequantize(engine.invoke(feed(one))[0]).reshape(-1) for one in tensors]
    logits = to_logits(np.stack(rows), request.kind)
    if not np.isfinite(logits).all():
        msg = f"{request.model}: the answers are not finite (NaN or infinite)"
        raise ConvertError(msg)
    if len(logits) > 1 and (logits == logits[0]).all():
        msg = (
            f"{request.model} gives the same answer for every image: its scales don't fit; "
            "try more images for --calibration, or train it again"
        )
        raise ConvertError(msg)
    return logits


def _time(model: bytes, tensors: npt.NDArray[np.uint8], request: Ask) -> float:
    """The median of an inference, in milliseconds, by one thread."""
    engine = open_engine(model)
    feed = make_feed(describe_input(engine.inputs[0], request.layout, request.normalization))
    pixels = [np.ascontiguousarray(one) for one in tensors[:8]]
    times = []
    for turn in range(TIMED):
        start = time.perf_counter_ns()
        engine.invoke(feed(pixels[turn % len(pixels)]))
        times.append((time.perf_counter_ns() - start) / 1e6)
    return statistics.median(times)
