"""Whether a graph is one that lineside can use: an image in, a vector out. Read, not run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, Literal

from lineside.errors import ConvertError
from lineside_convert.tflite.graph import Graph, GraphTensor, Operator

DTYPES: Final = ("uint8", "int8", "float32")
"""Of inputs and outputs."""

SIDES: Final = (8, 4096)
"""Pixels of a picture's height and width, from and to."""

MAX_VALUES: Final = 100_000
"""How many values an output may have."""

MAX_ITEMS: Final = 1 << 29
"""How many values a tensor may have: 2 GiB of float32."""

_CHIPS: Final = {
    "edgetpu-custom-op": (
        "it is made for the Edge TPU (operator 'edgetpu-custom-op'): "
        "take the file as it was before edgetpu_compiler"
    ),
    "ethos-u": (
        "it is made for an Arm Ethos-U (operator 'ethos-u'): take the file as it was before vela"
    ),
}
_RANGES: Final = {"uint8": (0, 255), "int8": (-128, 127), "int16": (-32768, 32767)}

Layout = Literal["nhwc", "nchw"]


def check_graph(graph: Graph) -> None:
    """Refuse a graph that lineside can't use.

    Raises:
        ConvertError: what is in its way, in the words that follow "… is refused: ".
    """
    for problem in _problems(graph):
        raise ConvertError(problem)


def layout_of(shape: tuple[int, ...]) -> Layout:
    """Where the channels are in an input's shape: last, or first."""
    return "nhwc" if shape[-1] in {1, 3} else "nchw"


def channels_of(shape: tuple[int, ...]) -> int:
    """How many channels an input takes: 1 or 3."""
    return shape[-1] if layout_of(shape) == "nhwc" else shape[1]


def kind_of(graph: Graph) -> str:
    """What the output most likely is, judged by the last operator; as in the manifest."""
    last = graph.last_operator
    normalized = last is not None and last.op in {"SOFTMAX", "LOGISTIC"}
    if math.prod(graph.outputs[0].shape) == 1:
        return "binary_probability" if normalized else "binary_logit"
    return "class_probabilities" if normalized else "class_logits"


def _problems(graph: Graph) -> Iterator[str]:
    """What is wrong, the most telling first."""
    for subgraph in graph.subgraphs:
        yield from map(_custom, (op for op in subgraph.operators if op.custom))
    if len(graph.inputs) != 1:
        yield f"one input is expected, a picture; it has {len(graph.inputs)}"
    if len(graph.outputs) != 1:
        yield f"one output is expected, a value for each label; it has {len(graph.outputs)}"
    yield from _input_problems(graph.inputs[0])
    yield from _output_problems(graph.outputs[0])
    for subgraph in graph.subgraphs:
        for index, tensor in enumerate(subgraph.tensors):
            name = _name(tensor) or f"number {index}"
            if math.prod(tensor.shape) > MAX_ITEMS:
                yield f"it is too large for a device: tensor {name} has shape {list(tensor.shape)}"
            for problem in _quantization_problems(tensor):
                yield f"it has an invalid quantization: tensor {name} {problem}"


def _custom(op: Operator) -> str:
    if op.op in _CHIPS:
        return _CHIPS[op.op]
    if op.op.startswith("Flex"):
        return (
            f"it needs TensorFlow's own operator {op.op.removeprefix('Flex')!r} (layer {op.layer}):"
            " convert it without SELECT_TF_OPS"
        )
    return (
        f"it needs the custom operator {op.op[:64]!r} (layer {op.layer}), which no runtime of "
        "lineside has: convert it with TFLite's own operators only"
    )


def _input_problems(tensor: GraphTensor) -> Iterator[str]:
    found = f"{tensor.dtype} {list(tensor.shape)[:8]}"
    if len(tensor.shape) != 4 or tensor.dtype not in DTYPES:
        yield (
            "its input is no picture: uint8, int8 or float32 with batch, height, width and "
            f"channels are expected, got {found}"
        )
        return
    if len(tensor.signature) != 4 or -1 in tensor.signature[1:]:
        yield (
            f"its input has a dynamic shape, {list(tensor.signature)}: save it with a fixed "
            "height, width and number of channels"
        )
    if tensor.shape[0] != 1:
        yield f"it takes {tensor.shape[0]} pictures at a time ({found}): save it with a batch of 1"
    if channels_of(tensor.shape) not in {1, 3}:
        yield f"its input is no picture: 1 or 3 channels, last or first, are expected, got {found}"
    sides = tensor.shape[1:3] if layout_of(tensor.shape) == "nhwc" else tensor.shape[2:]
    if not all(SIDES[0] <= side <= SIDES[1] for side in sides):
        yield (
            f"its input is no picture: {SIDES[0]} to {SIDES[1]} pixels of height and width are "
            f"expected, got {found}"
        )
    if tensor.per_axis:
        yield f"its input has {len(tensor.scales)} scales; one for all channels is expected"


def _output_problems(tensor: GraphTensor) -> Iterator[str]:
    found = f"{tensor.dtype} {list(tensor.shape)[:8]}"
    if tensor.dtype not in DTYPES:
        yield f"its output is no uint8, int8 or float32, but {found}"
    longer = [side for side in tensor.shape if side != 1]
    if not tensor.shape or len(longer) > 1 or not 1 <= math.prod(tensor.shape) <= MAX_VALUES:
        yield f"its output is no vector with a value for each label, but {found}"
    if tensor.dtype in {"uint8", "int8"} and (len(tensor.scales) != 1 or tensor.scale == 0):
        yield f"its output is {found}, with {len(tensor.scales)} scales: one is expected"


def _quantization_problems(tensor: GraphTensor) -> Iterator[str]:
    scales, zero_points = tensor.scales, tensor.zero_points
    if not all(math.isfinite(scale) and scale >= 0 for scale in scales):
        bad = next(scale for scale in scales if not (math.isfinite(scale) and scale >= 0))
        yield f"has a scale of {bad:g}"
    if tensor.per_axis:
        if not 0 <= tensor.axis < len(tensor.shape):
            yield (
                f"has scales along dimension {tensor.axis}, but its shape is {list(tensor.shape)}"
            )
        elif tensor.shape[tensor.axis] != len(scales):
            yield (
                f"has {len(scales)} scales along dimension {tensor.axis} "
                f"of {tensor.shape[tensor.axis]}"
            )
    if scales and len(zero_points) not in {0, 1, len(scales)}:
        yield f"has {len(scales)} scales, but {len(zero_points)} zero points"
    least, most = _RANGES.get(tensor.dtype, (None, None))
    if scales and least is not None and most is not None:
        bad_points = [point for point in zero_points if not least <= point <= most]
        if bad_points:
            yield f"is {tensor.dtype}, but has zero point {bad_points[0]}"


def _name(tensor: GraphTensor) -> str:
    """The beginning of a tensor's name, in quotes; empty where it has none."""
    printable = "".join(sign for sign in tensor.name if sign.isprintable())
    return repr(printable if len(printable) <= 80 else printable[:80] + "…") if printable else ""
