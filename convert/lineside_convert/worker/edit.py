"""Changes to a .tflite's graph, that no converter makes: take it apart, change, put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lineside.errors import ConvertError
from lineside.extras import require
from lineside_convert.tflite.metadata import BUFFER

Range = tuple[float, float]


def cut_last_activation(model: bytes, kind: str) -> tuple[bytes, str]:
    """Leave out the softmax, or the sigmoid of a single value, that a classifier ends with.

    A sigmoid for each of several labels stays: what softmax makes of its logits is another answer.

    Args:
        model: a .tflite.
        kind: of its output.

    Returns:
        The model and the kind of its output; both as they were where it ends with neither.
    """
    logits = {"class_probabilities": "class_logits", "binary_probability": "binary_logit"}.get(kind)
    if logits is None:
        return model, kind
    tree = unpack(model)
    graph = tree.subgraphs[0]
    last = graph.operators[-1]
    end, start = int(graph.outputs[0]), int(last.inputs[0])
    shape = list(graph.tensors[end].shape)
    code = tree.operatorCodes[last.opcodeIndex]
    schema = require("ai_edge_litert.schema_py_generated", extra="convert")
    is_sigmoid = _op(code) == schema.BuiltinOperator.LOGISTIC
    if is_sigmoid and kind == "class_probabilities":
        return model, kind
    if int(last.outputs[0]) != end or list(graph.tensors[start].shape) != shape:
        return model, kind  # something stands behind it: rare, and no harm
    graph.operators.pop()
    graph.outputs = [start]
    for signature in tree.signatureDefs or []:
        for output in signature.outputs or []:
            output.tensorIndex = start if output.tensorIndex == end else output.tensorIndex
    return pack(tree), logits


def _op(code: Any) -> int:  # noqa: ANN401 - generated code without types
    """An operator's number; older files have only the first of the two fields."""
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def with_ranges(model: bytes, ranges: Mapping[int, Range]) -> bytes:
    """Write down what values tensors take, as a calibration does.

    Args:
        model: a .tflite in float32.
        ranges: index of a tensor -> its least and its greatest value.
    """
    schema = require("ai_edge_litert.schema_py_generated", extra="convert")
    tree = unpack(model)
    tensors = tree.subgraphs[0].tensors
    for index, (low, high) in ranges.items():
        quantization = schema.QuantizationParametersT()
        quantization.min, quantization.max = [low], [high]
        tensors[index].quantization = quantization
    return pack(tree)


def without_metadata(model: bytes) -> bytes:
    """Leave out what a file says of itself: it is of the file as it was."""
    if BUFFER.encode() not in model:
        return model
    tree = unpack(model)
    kept = []
    for entry in tree.metadata or []:
        if entry.name == BUFFER.encode():
            tree.buffers[entry.buffer].data = None
        else:
            kept.append(entry)
    tree.metadata = kept
    return pack(tree)


def rename_layers(model: bytes, layers: Collection[str], last: str) -> bytes:
    """Let tensors' names say what Keras calls the layers.

    Keras opens a name scope twice when a layer is called, once to build it. So TensorFlow calls
    `conv2d` conv2d_1, and `conv2d_1` conv2d_1_2. The output has no layer in its name at all.

    Args:
        model: a .tflite that TensorFlow made of a Keras model.
        layers: the names that Keras has for its layers.
        last: the one that makes the output.
    """
    tree = unpack(model)
    tensors = tree.subgraphs[0].tensors
    tensors[tree.subgraphs[0].outputs[0]].name = f"{last}/output".encode()
    renamed = [keras_path(tensor.name.decode(), layers).encode() for tensor in tensors]
    # A layer that is called twice has two scopes: they must not become one.
    often = Counter(renamed)
    for tensor, name in zip(tensors, renamed, strict=True):
        if often[name] == 1:
            tensor.name = name
    return pack(tree)


def keras_path(name: str, layers: Collection[str]) -> str:
    """A name that TensorFlow gave, with the layers in it as Keras calls them."""

    def layer(part: str) -> str:
        own, _, number = part.rpartition("_")
        return own if number.isdigit() and own in layers else part

    return ";".join("/".join(map(layer, path.split("/"))) for path in name.split(";"))


def unpack(model: bytes) -> Any:  # noqa: ANN401 - generated code without types
    """Take a .tflite apart.

    Raises:
        ConvertError: it is damaged.
    """
    schema = require("ai_edge_litert.schema_py_generated", extra="convert")
    try:
        return schema.ModelT.InitFromPackedBuf(model, 0)
    except Exception as error:  # the parser trusts the file, and raises anything
        msg = f"the model's structure is damaged ({type(error).__name__})"
        raise ConvertError(msg) from error


def pack(tree: Any) -> bytes:  # noqa: ANN401 - the same
    """Put a .tflite together."""
    flatbuffers = require("flatbuffers", extra="convert")
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def set_floats(tree: Any, tensor: Any, values: npt.NDArray[np.floating]) -> None:  # noqa: ANN401
    """Give a constant tensor other values, as float32."""
    set_data(tree, tensor, values.astype(np.float32))


def set_data(tree: Any, tensor: Any, values: npt.NDArray[Any]) -> None:  # noqa: ANN401 - the same
    """Give a constant tensor other values, as they are to be stored."""
    data = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
    tensors = [one for graph in tree.subgraphs for one in graph.tensors]
    if sum(one.buffer == tensor.buffer for one in tensors) == 1:
        tree.buffers[tensor.buffer].data = data
        return
    schema = require("ai_edge_litert.schema_py_generated", extra="convert")
    buffer = schema.BufferT()
    buffer.data = data
    tree.buffers.append(buffer)  # others need the old one
    tensor.buffer = len(tree.buffers) - 1
