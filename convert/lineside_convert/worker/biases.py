"""Biases that take back by how much a quantized layer is off in the mean.

Rounded activations are off in the same direction again and again, and layer after layer adds to
it. So, from the first layer to the last, each channel's mean over the calibration images is
compared between the float model and the quantized one, whose earlier layers are corrected
already, and the difference is added to the channel's bias (Nagel et al., Data-Free Quantization
Through Weight Equalization and Bias Correction, ICCV 2019, section 4.2, here by measuring). It
has to be one layer at a time: corrected together, layers take back what others did.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside.runtime import open_engine
from lineside.runtime.feed import Feed, Pixels
from lineside_convert.tflite.graph import Graph, Operator, read_graph
from lineside_convert.worker.edit import pack, set_data, unpack
from lineside_convert.worker.probe import Probe

Floats = npt.NDArray[np.float64]

_WITH_BIAS: Final = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})


def correct_biases(
    model: bytes, original: bytes, pixels: Pixels, feeds: tuple[Feed, Feed]
) -> bytes:
    """Correct the biases of a quantized model.

    Args:
        model: the quantized .tflite.
        original: the same in float32; layers are told by the names of what they give.
        pixels: uint8, n x h x w x channels: calibration images.
        feeds: from one of them to what `model`, and to what `original` is fed.
    """
    graph, floats = read_graph(model), read_graph(original)
    wanted = dict(_pairs(graph, floats))
    means = _means(original, floats, list(wanted.values()), pixels, feeds[1])
    tree = unpack(model)
    for op, there in wanted.items():
        given = _mean_of(tree, graph, graph.operators[op], pixels, feeds[0])
        _add(tree, graph, graph.operators[op].inputs[2], means[there] - given)
    return pack(tree)


def _pairs(graph: Graph, floats: Graph) -> Iterator[tuple[int, int]]:
    """The layers that have a bias, and what the float model calls their output."""
    by_name = {floats.tensors[i].name: i for op in floats.operators for i in op.outputs}
    ends = {**by_name, **_last(graph, floats)}
    for op in graph.operators:
        has_bias = op.op in _WITH_BIAS and len(op.inputs) > 2 and op.inputs[2] >= 0
        if has_bias and graph.tensors[op.inputs[2]].constant and op.output_names[0] in ends:
            yield op.index, ends[op.output_names[0]]


def _last(graph: Graph, floats: Graph) -> dict[str, int]:
    """An output that was made int8 may have a name of its own."""
    return {graph.outputs[0].name: floats.subgraphs[0].outputs[0]}


def _means(
    model: bytes, graph: Graph, wanted: list[int], pixels: Pixels, feed: Feed
) -> dict[int, Floats]:
    """The mean of each channel of some tensors, over all pictures."""
    probe, sums = Probe(model), dict.fromkeys(wanted, np.zeros(1))
    for picture in pixels:
        probe.run(feed(np.ascontiguousarray(picture))[np.newaxis])
        for index in wanted:
            channels = graph.tensors[index].shape[-1]
            sums[index] = sums[index] + _channel_mean(probe.real(index), channels)
    return {index: total / len(pixels) for index, total in sums.items()}


def _channel_mean(values: npt.NDArray[np.floating], channels: int) -> Floats:
    return np.asarray(values.reshape(-1, channels).mean(axis=0, dtype=np.float64))


def _mean_of(
    tree: Any,  # noqa: ANN401 - generated code without types
    graph: Graph,
    op: Operator,
    pixels: Pixels,
    feed: Feed,
) -> Floats:
    """The mean of each channel of a layer's output, of the model up to there."""
    whole = tree.subgraphs[0]
    operators, outputs, signatures = whole.operators, whole.outputs, tree.signatureDefs
    whole.operators, whole.outputs = operators[: op.index + 1], [op.outputs[0]]
    tree.signatureDefs = None
    engine = open_engine(pack(tree), threads=2)
    whole.operators, whole.outputs, tree.signatureDefs = operators, outputs, signatures
    output, channels = engine.outputs[0], graph.tensors[op.outputs[0]].shape[-1]
    rows = (engine.invoke(feed(np.ascontiguousarray(one)))[0] for one in pixels)
    means = [_channel_mean(output.dequantize(row), channels) for row in rows]
    return np.asarray(np.mean(means, axis=0))


def _add(tree: Any, graph: Graph, index: int, shift: Floats) -> None:  # noqa: ANN401 - the same
    """Add to a bias, of int32 in the steps of its own, or of float32."""
    known, tensor = graph.tensors[index], tree.subgraphs[0].tensors[index]
    stored = np.asarray(tree.buffers[tensor.buffer].data, np.uint8)
    if known.dtype == "int32":
        steps = np.round(shift / np.asarray(known.scales))
        added = stored.view(np.int32).astype(np.float64) + steps
        bounds = np.iinfo(np.int32)
        set_data(tree, tensor, added.clip(bounds.min, bounds.max).astype(np.int32))
    else:
        set_data(tree, tensor, (stored.view(np.float32) + shift).astype(np.float32))
