"""Which values the tensors of a float model take on the calibration images.

Three ways to choose the range of a tensor out of them:

    minmax      the least and the greatest value
    percentile  the 0.01 % and 99.99 % quantiles
    mse         of some narrower ranges the one whose int8 is nearest to the values, by mean square
                (Nagel et al., A White Paper on Neural Network Quantization, 2021, section 2.3.2)

An outlier makes the steps of `minmax` coarse, clipping it costs the outlier itself: which one is
best for a model is measured, not known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from lineside.errors import ConvertError
from lineside.manifest import ModelInput, Normalization
from lineside.runtime import TensorInfo
from lineside.runtime.feed import make_feed, table_of
from lineside_convert.describe import describe_input
from lineside_convert.tflite.graph import Graph, read_graph
from lineside_convert.worker.edit import Range
from lineside_convert.worker.probe import Probe
from lineside_convert.worker.protocol import Calibrate, Layout
from lineside_convert.worker.weights import round_weights

METHODS: Final = ("minmax", "percentile", "mse")

FILE: Final = "ranges.json"
ROUNDED: Final = "rounded.tflite"

_KEPT: Final = 1024
"""Values of a tensor that are kept of each image, at random."""

_JUDGED: Final = 50_000
"""Values of a tensor that narrower ranges are tried on."""

_SHARES: Final = np.concatenate([np.linspace(1.0, 0.3, 15), [0.2, 0.1, 0.05]])
"""Of the greatest (and least) value: how far a range may reach."""

Ranges = dict[str, dict[int, Range]]
"""Method -> index of a tensor -> its least and its greatest value."""


def calibrate(request: Calibrate, folder: Path) -> None:
    """Round the weights of original.tflite, find the ranges of its tensors, write both down.

    Raises:
        ConvertError: it has loops.
    """
    model = (folder / "original.tflite").read_bytes()
    graph = read_graph(model)
    if len(graph.subgraphs) > 1:
        msg = (
            "it has loops, inside of which no ranges can be measured: GRU and LSTM need "
            "unroll=True, or take a scheme without calibration"
        )
        raise ConvertError(msg)
    feed = make_feed(input_of(graph, request.layout, request.normalization))
    pictures = np.load(folder / "calibration.npy", mmap_mode="r")
    model = round_weights(model, pictures, feed)
    (folder / ROUNDED).write_bytes(model)
    probe = Probe(model)
    given = graph.subgraphs[0].inputs[0]
    calculated = sorted({index for op in graph.operators for index in op.outputs})
    found = {index: _Values() for index in calculated if graph.tensors[index].dtype == "float32"}
    random = np.random.default_rng(0)
    for pixels in pictures:
        probe.run(feed(np.ascontiguousarray(pixels))[np.newaxis])
        for index, values in found.items():
            values.add(probe.real(index), random)
    # The input can be any picture, whatever the photos span: so its stored values are pixels.
    table = table_of(input_of(graph, request.layout, request.normalization))
    every_pixel = (float(table.min()), float(table.max()))
    ranges: Ranges = {
        method: {given: every_pixel} | {index: one.range(method) for index, one in found.items()}
        for method in METHODS
    }
    (folder / FILE).write_bytes(msgspec.json.encode(ranges))


def read_ranges(folder: Path) -> Ranges:
    """What `calibrate` wrote."""
    return msgspec.json.decode((folder / FILE).read_bytes(), type=Ranges)


def input_of(graph: Graph, layout: Layout, normalization: Normalization | None) -> ModelInput:
    """The manifest's entry for a graph's input."""
    tensor = graph.inputs[0]
    info = TensorInfo(tensor.shape, tensor.dtype, tensor.scale, tensor.zero_point)
    return describe_input(info, layout, normalization)


class _Values:
    """What one tensor holds, image after image."""

    def __init__(self) -> None:
        self._low, self._high = np.inf, -np.inf
        self._some: list[npt.NDArray[np.float32]] = []

    def add(self, values: npt.NDArray[np.float32], random: np.random.Generator) -> None:
        self._low = min(self._low, float(values.min()))
        self._high = max(self._high, float(values.max()))
        chosen = random.integers(0, values.size, _KEPT) if values.size > _KEPT else slice(None)
        self._some.append(values[chosen].copy())

    def range(self, method: str) -> Range:
        if method == "minmax":
            return self._low, self._high
        some = np.concatenate(self._some)
        if method == "percentile":
            low, high = np.quantile(some, [0.0001, 0.9999])
            return float(low), float(high)
        step = max(1, some.size // _JUDGED)
        return _nearest(self._low, self._high, some[::step])


def _nearest(low: float, high: float, values: npt.NDArray[np.float32]) -> Range:
    """Of some ranges inside `low` to `high` the one of the least mean square error."""
    low, high = min(low, 0.0), max(high, 0.0)
    ranges = [
        (float(low * below), float(high * above))
        for above in (_SHARES if high else (1.0,))
        for below in (_SHARES[::3] if low else (1.0,))
    ]
    return min(ranges, key=lambda one: _error(one[0], one[1], values))


def _error(low: float, high: float, values: npt.NDArray[np.float32]) -> float:
    """The mean square error of `values`, stored in 256 steps from `low` to `high`."""
    scale = (high - low) / 255
    if scale <= 0:
        return float(np.mean(np.square(values)))
    zero_point = np.round(-low / scale)
    steps = np.clip(np.round(values / scale) + zero_point, 0, 255)
    return float(np.mean(np.square((steps - zero_point) * scale - values)))
