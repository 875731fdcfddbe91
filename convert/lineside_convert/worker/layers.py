"""What quantization does to each layer: the same images through both models, tensor by tensor.

The signal-to-noise ratio of a layer, in dB, is 10 log10(sum x^2 / sum (x - q)^2) over all values
of its output, x of the float model and q of the quantized one: of all that led there. Tensors are
told by their names, which quantization keeps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from lineside.runtime.feed import make_feed
from lineside_convert.tflite.graph import Graph, read_graph
from lineside_convert.worker.probe import Probe, undelegated
from lineside_convert.worker.protocol import Errors, Layer, Layers
from lineside_convert.worker.ranges import input_of

BEST_DB: Final = 120.0
"""Where nothing differs at all."""


def errors(request: Errors, folder: Path) -> Layers:
    """Compare a model with original.tflite on the first images of a part."""
    models = [(folder / name).read_bytes() for name in ("original.tflite", request.model)]
    graphs, probes = [read_graph(model) for model in models], [Probe(model) for model in models]
    feeds = [make_feed(input_of(graph, request.layout, request.normalization)) for graph in graphs]
    pairs = _pairs(*graphs)
    signal, noise = np.zeros(len(pairs)), np.zeros(len(pairs))
    tensors = np.load(folder / f"{request.part}.npy", mmap_mode="r")[: request.images]
    for pixels in tensors:
        for probe, feed in zip(probes, feeds, strict=True):
            probe.run(feed(np.ascontiguousarray(pixels))[np.newaxis])
        for number, (_, one, other) in enumerate(pairs):
            x = probes[0].real(one).astype(np.float64)
            signal[number] += np.sum(np.square(x))
            noise[number] += np.sum(np.square(x - probes[1].real(other)))
    slow = {graphs[1].operators[number].layer for number in undelegated(models[1], graphs[1])}
    return Layers(
        layers=[
            Layer(
                layer=graphs[0].operators[number].layer,
                op=graphs[0].operators[number].op,
                snr_db=_decibel(signal[row], noise[row]),
                delegated=graphs[0].operators[number].layer not in slow,
            )
            for row, (number, _, _) in enumerate(pairs)
        ]
    )


def _decibel(signal: float, noise: float) -> float:
    if noise <= 0.0:
        return BEST_DB
    return round(float(np.clip(10 * np.log10(max(signal, 1e-30) / noise), -BEST_DB, BEST_DB)), 2)


def _pairs(one: Graph, other: Graph) -> list[tuple[int, int, int]]:
    """Operator of the float graph, its output there, and the tensor of that name here."""
    # A name may come twice: what is quantized at an end has a float twin. The last one stands
    # nearest to what follows.
    calculated = {index for op in other.operators for index in op.outputs}
    by_name = {other.tensors[index].name: index for index in sorted(calculated)}
    ends = one.subgraphs[0].outputs, other.subgraphs[0].outputs  # their names may differ
    same = dict(zip(*ends, strict=True))
    pairs = []
    for op in one.operators:
        made = op.outputs[0] if op.outputs else -1
        twin = same.get(made, by_name.get(op.output_names[0]) if op.outputs else None)
        if twin is not None and one.tensors[made].dtype == "float32":
            pairs.append((op.index, made, twin))
    return pairs
