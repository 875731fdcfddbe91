"""Changes to a .tflite's graph, that no converter makes: take it apart, change, put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lineside.errors import ConvertError
from lineside.extras import require

Range = tuple[float, float]


def cut_last_activation(model: bytes, kind: str) -> tuple[bytes, str]:
    """Leave out the softmax or the sigmoid that a classifier ends with.

    Args:
        model: a .tflite.
        kind: of its output.

    Returns:
        The model and the kind of its output; both as they were where it ends with neither.
    """
    logits = {"class_probabilities": "class_logits", "binary_probability": "binary_logit"}.get(kind)
    if logits is None:
        return model, kind
    tree = _unpack(model)
    graph = tree.subgraphs[0]
    last = graph.operators[-1]
    end, start = int(graph.outputs[0]), int(last.inputs[0])
    shape = list(graph.tensors[end].shape)
    if int(last.outputs[0]) != end or list(graph.tensors[start].shape) != shape:
        return model, kind  # something stands behind it: rare, and no harm
    graph.operators.pop()
    graph.outputs[0] = start
    for signature in tree.signatureDefs or []:
        for output in signature.outputs or []:
            output.tensorIndex = start if output.tensorIndex == end else output.tensorIndex
    return _pack(tree), logits


def with_ranges(model: bytes, ranges: Mapping[int, Range]) -> bytes:
    """Write down what values tensors take, as a calibration does.

    Args:
        model: a .tflite in float32.
        ranges: index of a tensor -> its least and its greatest value.
    """
    schema = require("ai_edge_litert.schema_py_generated", extra="convert")
    tree = _unpack(model)
    tensors = tree.subgraphs[0].tensors
    for index, (low, high) in ranges.items():
        quantization = schema.QuantizationParametersT()
        quantization.min, quantization.max = [low], [high]
        tensors[index].quantization = quantization
    return _pack(tree)


def _unpack(model: bytes) -> Any:  # noqa: ANN401 - generated code without types
    schema = require("ai_edge_litert.schema_py_generated", extra="convert")
    try:
        return schema.ModelT.InitFromPackedBuf(model, 0)
    except Exception as error:  # the parser trusts the file, and raises anything
        msg = f"the model's structure is damaged ({type(error).__name__})"
        raise ConvertError(msg) from error


def _pack(tree: Any) -> bytes:  # noqa: ANN401 - the same
    flatbuffers = require("flatbuffers", extra="convert")
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())
