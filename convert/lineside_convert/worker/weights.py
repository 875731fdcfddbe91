"""Weights, rounded so that what a layer gives changes least.

Rounding each weight to the nearest step minimises the error of the weights. What counts is the
error of the layer's output on the pictures that it sees: so the weights of each output channel
are rounded one after the other, and what the rounding of one does to the output is made up for by
those that are still to come. With H the covariance of the layer's inputs over the calibration
images, and C the upper Cholesky factor of its inverse,

    q_i = round(w_i / s) s        e = (w_i - q_i) / C_ii        w_j -= e C_ij   for all j > i

(Frantar et al., GPTQ, 2023, after Hassibi and Stork's optimal brain surgeon, 1992). What remains
is a shift of the mean of the output, which the bias takes back: (w - q) times the mean input.

The rounded weights are written as float32, on the steps that the quantizer takes afterwards: of
each channel the greatest one stays as it is, and with it the step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside.runtime.feed import Feed, Pixels
from lineside_convert.tflite.graph import Graph, Operator, read_graph
from lineside_convert.worker.edit import pack, set_floats, unpack
from lineside_convert.worker.probe import Probe

Floats = npt.NDArray[np.float64]

STEPS: Final = 127
"""Steps of int8 weights on either side of 0."""

_PATCHES: Final = 48
"""Places of a picture, at random, at which a convolution's inputs are looked at."""

_DAMPING: Final = 0.01
"""Of the mean variance, added to each: so that H can be inverted with few images."""

_DEPTHWISE: Final = "DEPTHWISE_CONV_2D"
_WEIGHTED: Final = frozenset({"CONV_2D", _DEPTHWISE, "FULLY_CONNECTED"})


def round_weights(model: bytes, pixels: Pixels, feed: Feed) -> bytes:
    """Round the weights of a model in float32 to the steps of int8.

    Args:
        model: a .tflite.
        pixels: uint8, n x h x w x channels, the calibration images.
        feed: from one of them to what the model is fed.
    """
    graph, tree = read_graph(model), unpack(model)
    layers = [op for op in graph.operators if _can_be_rounded(graph, op)]
    options = [operator.builtinOptions for operator in tree.subgraphs[0].operators]
    seen = _look(Probe(model), graph, layers, options, pixels, feed)
    for op in layers:
        weights, *bias = op.inputs[1:]
        _round_layer(tree, graph, op, seen.pop(op.index), weights, bias[0] if bias else -1)
    return pack(tree)


def unround(rounded: bytes, model: bytes, names: Collection[str]) -> bytes:
    """Give layers that stay in float their own weights and biases back.

    Args:
        rounded: what `round_weights` made.
        model: of this.
        names: of layers, or of operators for all of a kind.
    """
    if not names:
        return rounded
    tree, before = unpack(rounded), unpack(model)
    graph = read_graph(model)
    tensors = tree.subgraphs[0].tensors
    for op in graph.operators:
        if not {op.layer, op.op}.isdisjoint(names) and _can_be_rounded(graph, op):
            for index in op.inputs[1:]:
                if index >= 0:
                    set_floats(tree, tensors[index], _floats(before, index))
    return pack(tree)


def _can_be_rounded(graph: Graph, op: Operator) -> bool:
    if op.op not in _WEIGHTED or op.inputs[1] < 0:
        return False
    given, weights = (graph.tensors[index] for index in op.inputs[:2])
    plain = weights.constant and weights.dtype == given.dtype == "float32"
    # More than one channel of a depthwise layer for each of the input is rare.
    return plain and (op.op != _DEPTHWISE or weights.shape[-1] == given.shape[-1])


def _look(
    probe: Probe,
    graph: Graph,
    layers: list[Operator],
    options: list[Any],
    pixels: Pixels,
    feed: Feed,
) -> dict[int, Floats]:
    """What each layer is given: n x weights, and n x weights x channels where it is depthwise."""
    random = np.random.default_rng(0)
    seen: dict[int, list[Floats]] = {op.index: [] for op in layers}
    for picture in pixels:
        probe.run(feed(np.ascontiguousarray(picture))[np.newaxis])
        for op in layers:
            shape = graph.tensors[op.inputs[0]].shape
            given = probe.real(op.inputs[0]).reshape(shape)
            kernel = graph.tensors[op.inputs[1]].shape
            if op.op == "FULLY_CONNECTED":
                seen[op.index].append(given.reshape(-1, kernel[1]).astype(np.float64))
                continue
            some = _patches(given[0], kernel[1:3], options[op.index], random)
            flat = (len(some), -1) if op.op == "CONV_2D" else (len(some), kernel[1] * kernel[2], -1)
            seen[op.index].append(some.reshape(flat))
    return {index: np.concatenate(parts) for index, parts in seen.items()}


def _patches(
    given: npt.NDArray[np.float32],
    kernel: tuple[int, ...],
    options: Any,  # noqa: ANN401 - generated code without types
    random: np.random.Generator,
) -> Floats:
    """What some places of a convolution see: n x height x width x channels."""
    strides = (options.strideH, options.strideW)
    dilations = (options.dilationHFactor, options.dilationWFactor)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if options.padding == 0:  # SAME
        sides = zip(given.shape[:2], spans, strides, strict=True)
        missing = [max((-(-side // s) - 1) * s + span - side, 0) for side, span, s in sides]
        given = np.pad(given, [(m // 2, m - m // 2) for m in missing] + [(0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(given, spans, axis=(0, 1))
    windows = windows[:: strides[0], :: strides[1], :, :: dilations[0], :: dilations[1]]
    places = windows.shape[0] * windows.shape[1]
    chosen = random.choice(places, min(_PATCHES, places), replace=False)
    rows, columns = np.unravel_index(chosen, windows.shape[:2])
    return windows[rows, columns].transpose(0, 2, 3, 1).astype(np.float64)


@dataclass(frozen=True)
class _Channels:
    """Some output channels that see the same inputs.

    Attributes:
        weights: channels x weights.
        steps: of each channel.
        inputs: n x weights.
        numbers: which channels of the layer they are.
    """

    weights: Floats
    steps: Floats
    inputs: Floats
    numbers: slice


def _round_layer(
    tree: Any,  # noqa: ANN401 - generated code without types
    graph: Graph,
    op: Operator,
    inputs: Floats,
    weights: int,
    bias: int,
) -> None:
    shape = graph.tensors[weights].shape
    tensors = tree.subgraphs[0].tensors
    before = _floats(tree, weights).reshape(shape)
    by_channel = before.reshape(-1, shape[-1]).T if op.op == _DEPTHWISE else before
    by_channel = by_channel.reshape(len(by_channel), -1)
    after, shift = np.empty_like(by_channel), np.empty(len(by_channel))
    for one in _channels(op, by_channel, inputs):
        mean = one.inputs.mean(axis=0)
        off = one.inputs - mean
        after[one.numbers] = _round(one.weights, one.steps, off.T @ off / len(off))
        shift[one.numbers] = (one.weights - after[one.numbers]) @ mean
    rounded = after.T if op.op == _DEPTHWISE else after
    set_floats(tree, tensors[weights], rounded.reshape(shape))
    if bias >= 0:
        set_floats(tree, tensors[bias], _floats(tree, bias) + shift)


def _channels(op: Operator, weights: Floats, inputs: Floats) -> Iterator[_Channels]:
    greatest = np.abs(weights).max(axis=1)
    if op.op == "FULLY_CONNECTED":  # one step for all: see quantize.static
        greatest = np.full_like(greatest, greatest.max())
    steps = np.where(greatest > 0, greatest, 1.0) / STEPS
    if op.op != _DEPTHWISE:
        yield _Channels(weights, steps, inputs, slice(None))
        return
    for number in range(len(weights)):
        mine = slice(number, number + 1)
        yield _Channels(weights[mine], steps[mine], inputs[:, :, number], mine)


def _round(weights: Floats, steps: Floats, covariance: Floats) -> Floats:
    """Round as described above.

    Args:
        weights: channels x weights.
        steps: of each channel.
        covariance: weights x weights, of the inputs.
    """
    variance = np.diag(covariance).copy()
    seen = variance > 0
    if not seen.any():
        return np.round(weights / steps[:, np.newaxis]) * steps[:, np.newaxis]
    # What varies most goes first: it has most others to make up for it.
    order = np.argsort(-variance, kind="stable")
    damped = covariance + np.diag(np.where(seen, 0.0, 1.0) + _DAMPING * variance[seen].mean())
    left = weights[:, order].copy()
    upper = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    rounded = np.empty_like(left)
    for i in range(left.shape[1]):
        rounded[:, i] = np.clip(np.round(left[:, i] / steps), -STEPS, STEPS) * steps
        error = (left[:, i] - rounded[:, i]) / upper[i, i]
        left[:, i + 1 :] -= np.outer(error, upper[i, i + 1 :])
    back = np.empty_like(rounded)
    back[:, order] = rounded
    # The greatest weight says what a step is.
    rows, peaks = np.arange(len(weights)), np.abs(weights).argmax(axis=1)
    own = np.isclose(np.abs(weights[rows, peaks]), steps * STEPS)
    back[rows[own], peaks[own]] = weights[rows[own], peaks[own]]
    return back


def _floats(tree: Any, index: int) -> Floats:  # noqa: ANN401 - generated code without types
    buffer = tree.buffers[tree.subgraphs[0].tensors[index].buffer]
    return np.asarray(buffer.data, np.uint8).view(np.float32).astype(np.float64)
