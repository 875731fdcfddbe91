"""Tiny .tflite files, built in a millisecond: a picture in, one dense layer, a vector out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pytest

Shape = Sequence[int]
Tree = Any
"""Objects of generated code without types."""
Values = Any
"""What numpy makes an array of."""

_OPTIONS: Final = {
    "RESHAPE": "ReshapeOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "SOFTMAX": "SoftmaxOptions",
    "CAST": "CastOptions",
    "DEQUANTIZE": "DequantizeOptions",
}


class _Builder:
    def __init__(self) -> None:
        reason = "ai-edge-litert comes with the extra 'runtime'"
        self.schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason=reason)
        self.tree = self.schema.ModelT()
        self.tree.version, self.tree.description = 3, "tiny"
        self.tree.buffers, self.tree.operatorCodes = [self.schema.BufferT()], []
        self.graph = self.schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.tree.subgraphs = [self.graph]

    def tensor(
        self,
        shape: Shape,
        dtype: str = "float32",
        *,
        name: str = "",
        scale: tuple[float, int] | None = None,
        data: Values = None,
    ) -> int:
        tensor = self.schema.TensorT()
        tensor.shape = np.array(shape, np.int32)
        tensor.type = getattr(self.schema.TensorType, dtype.upper())
        tensor.name = name or f"t{len(self.graph.tensors)}"
        tensor.buffer = 0
        if data is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(np.asarray(data, dtype).tobytes(), np.uint8)
            tensor.buffer = len(self.tree.buffers)
            self.tree.buffers.append(buffer)
        if scale is not None:
            tensor.quantization = self.schema.QuantizationParametersT()
            tensor.quantization.scale = np.array(scale[:1], np.float32)
            tensor.quantization.zeroPoint = np.array(scale[1:], np.int64)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def op(self, name: str, inputs: Sequence[int], output: int) -> None:
        code = self.schema.OperatorCodeT()
        code.builtinCode = getattr(self.schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
        self.tree.operatorCodes.append(code)
        operator = self.schema.OperatorT()
        operator.opcodeIndex = len(self.tree.operatorCodes) - 1
        operator.inputs = np.array(inputs, np.int32)
        operator.outputs = np.array([output], np.int32)
        if name in _OPTIONS:
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, _OPTIONS[name])
            operator.builtinOptions = getattr(self.schema, _OPTIONS[name] + "T")()
            if name == "SOFTMAX":
                operator.builtinOptions.beta = 1.0
        self.graph.operators.append(operator)


def tiny_tree(
    shape: Shape = (1, 8, 8, 1),
    dtype: str = "float32",
    *,
    scale: tuple[float, int] | None = None,
    last: str | None = "SOFTMAX",
    weights: Values = None,
    bias: Sequence[float] = (0.0, 0.0),
) -> Tree:
    """The object tree of a model, to be changed and packed.

    Args:
        shape: of the input.
        dtype: of the input.
        scale: scale and zero point of a uint8 or int8 input; None: as it is.
        last: the operator behind the dense layer.
        weights: outputs x pixels; drawn by chance if None.
        bias: one for each output.
    """
    builder = _Builder()
    pixels, values = int(np.prod(shape)), len(bias)
    if weights is None:
        weights = np.random.default_rng(1).normal(0, 0.05, (values, pixels))
    source = builder.tensor(shape, dtype, name="picture", scale=scale)
    real = source
    if dtype != "float32":
        real = builder.tensor(shape)
        builder.op("DEQUANTIZE" if scale else "CAST", [source], real)
    flat = builder.tensor((1, pixels))
    form = builder.tensor((2,), "int32", data=[1, pixels])
    builder.op("RESHAPE", [real, form], flat)
    kernel = builder.tensor((values, pixels), data=weights)
    offset = builder.tensor((values,), data=bias)
    dense = builder.tensor((1, values), name="net/dense_1/MatMul;net/dense_1/BiasAdd")
    builder.op("FULLY_CONNECTED", [flat, kernel, offset], dense)
    answer = dense
    if last is not None:
        answer = builder.tensor((1, values), name="StatefulPartitionedCall_1:0")
        builder.op(last, [dense], answer)
    builder.graph.inputs = np.array([source], np.int32)
    builder.graph.outputs = np.array([answer], np.int32)
    return builder.tree


def pack(tree: Tree) -> bytes:
    """The file of an object tree."""
    flatbuffers = pytest.importorskip(
        "flatbuffers", reason="flatbuffers comes with ai-edge-litert, the extra 'runtime'"
    )
    builder = flatbuffers.Builder(4096)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tiny_model(*args: Values, **kwargs: Values) -> bytes:
    """The file of `tiny_tree`."""
    return pack(tiny_tree(*args, **kwargs))


def behind_a_picture(model: bytes) -> bytes:
    """A model that takes int16 [1, 96] and gives int32 [1, 2], behind a picture of 8 x 12 floats.

    What it does inside stays as it is.
    """
    builder = _Builder()
    tree = builder.schema.ModelT.InitFromPackedBuf(model, 0)
    builder.tree, builder.graph = tree, tree.subgraphs[0]
    graph = builder.graph
    inside, operators = list(graph.operators), graph.operators
    picture, flat = builder.tensor((1, 8, 12, 1)), builder.tensor((1, 96))
    form = builder.tensor((2,), "int32", data=[1, 96])
    answer = builder.tensor((1, 2))
    operators.clear()
    builder.op("RESHAPE", [picture, form], flat)
    builder.op("QUANTIZE", [flat], int(graph.inputs[0]))
    operators.extend(inside)
    builder.op("CAST", [int(graph.outputs[0])], answer)
    graph.inputs = np.array([picture], np.int32)
    graph.outputs = np.array([answer], np.int32)
    return pack(tree)


def repeated(times: int, *, said: int | None = None) -> bytes:
    """A model that holds its picture of 8 x 8 so many times, and gives its first two pixels.

    Args:
        times: how often.
        said: how often its shape says; as often as it is if None.
    """
    builder = _Builder()
    picture, flat = builder.tensor((1, 8, 8, 1)), builder.tensor((1, 64))
    builder.op("RESHAPE", [picture, builder.tensor((2,), "int32", data=[1, 64])], flat)
    many = builder.tensor((1, 64 * (said or times)))
    builder.op("TILE", [flat, builder.tensor((2,), "int32", data=[1, times])], many)
    begin, size = (builder.tensor((2,), "int32", data=data) for data in ([0, 0], [1, 2]))
    answer = builder.tensor((1, 2))
    builder.op("SLICE", [many, begin, size], answer)
    builder.graph.inputs = np.array([picture], np.int32)
    builder.graph.outputs = np.array([answer], np.int32)
    return pack(builder.tree)
