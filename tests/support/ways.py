"""Models with another way in or out, made of a lineside model by adding real operators."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from tests.support.bundles import edit_model

TYPES = {"float32": 0, "int32": 2, "uint8": 3, "int8": 9}  # TFLite's TensorType


def other_input(model: bytes, dtype: str) -> bytes:
    """The same model behind a QUANTIZE: it takes p as float32, or p - 128 as int8.

    Args:
        model: a .tflite whose input is raw uint8.
        dtype: `float32` or `int8`.
    """

    def change(tree: Any) -> None:  # noqa: ANN401 - generated code without types
        graph = tree.subgraphs[0]
        inner = graph.tensors[graph.inputs[0]]
        quantization = _quantization(1.0, -128) if dtype == "int8" else None
        new = _tensor(tree, "raw", inner.shape, dtype, quantization)
        _operator(tree, "QUANTIZE", [new], [graph.inputs[0]], first=True)
        graph.inputs = np.array([new], np.int32)

    return edit_model(model, change)


def never_quantized(model: bytes) -> bytes:
    """The same model behind a CAST from uint8, as `keras.Input(dtype="uint8")` makes it.

    The file says that the scale of such an input is 0.

    Args:
        model: a .tflite whose input is float32.
    """

    def change(tree: Any) -> None:  # noqa: ANN401 - the same
        graph = tree.subgraphs[0]
        inner = graph.tensors[graph.inputs[0]]
        new = _tensor(tree, "integers", inner.shape, "uint8", None)
        _operator(tree, "CAST", [new], [graph.inputs[0]], first=True)
        graph.inputs = np.array([new], np.int32)

    return edit_model(model, change)


def channels_first(model: bytes) -> bytes:
    """The same model behind a TRANSPOSE: its input is n x c x h x w."""

    def change(tree: Any) -> None:  # noqa: ANN401 - the same
        graph = tree.subgraphs[0]
        inner = graph.tensors[graph.inputs[0]]
        n, h, w, c = inner.shape
        kind = next(name for name, number in TYPES.items() if number == inner.type)
        new = _tensor(tree, "first", [n, c, h, w], kind, inner.quantization)
        order = _constant(tree, "order", np.array([0, 2, 3, 1], np.int32))
        _operator(tree, "TRANSPOSE", [new, order], [graph.inputs[0]], first=True)
        graph.inputs = np.array([new], np.int32)

    return edit_model(model, change)


def probabilities(model: bytes, *, binary: bool = False) -> bytes:
    """The same model with its last step in it: a softmax over the labels.

    Args:
        model: a .tflite whose output is int8 logits, 1 x labels.
        binary: only the probability of the last label comes out, 1 x 1, where there are two.
    """

    def change(tree: Any) -> None:  # noqa: ANN401 - the same
        schema = importlib.import_module("ai_edge_litert.schema_py_generated")
        graph = tree.subgraphs[0]
        shape = graph.tensors[graph.outputs[0]].shape
        grid = _quantization(1 / 256, -128)
        new = _tensor(tree, "p", shape, "int8", grid)
        softmax = schema.SoftmaxOptionsT()
        softmax.beta = 1.0
        _operator(tree, "SOFTMAX", [graph.outputs[0]], [new]).builtinOptions = softmax
        graph.operators[-1].builtinOptionsType = schema.BuiltinOptions.SoftmaxOptions
        if binary:
            both, new = new, _tensor(tree, "second", [1, 1], "int8", grid)
            parts = [_tensor(tree, "first", [1, 1], "int8", grid), new]
            axis = _constant(tree, "axis", np.array(1, np.int32))
            split = schema.SplitOptionsT()
            split.numSplits = 2
            _operator(tree, "SPLIT", [axis, both], parts).builtinOptions = split
            graph.operators[-1].builtinOptionsType = schema.BuiltinOptions.SplitOptions
        graph.outputs = np.array([new], np.int32)

    return edit_model(model, change)


def _quantization(scale: float, zero_point: int) -> Any:  # noqa: ANN401 - the same
    schema = importlib.import_module("ai_edge_litert.schema_py_generated")
    quantization = schema.QuantizationParametersT()
    quantization.scale = np.array([scale], np.float32)
    quantization.zeroPoint = np.array([zero_point], np.int64)
    return quantization


def _tensor(
    tree: Any,  # noqa: ANN401 - the same
    name: str,
    shape: Any,  # noqa: ANN401 - an array or a list
    dtype: str,
    quantization: Any,  # noqa: ANN401 - the same
) -> int:
    """Add a tensor without contents; its index."""
    schema = importlib.import_module("ai_edge_litert.schema_py_generated")
    tensor = schema.TensorT()
    tensor.name, tensor.shape = name, np.asarray(shape, np.int32)
    tensor.type, tensor.quantization = TYPES[dtype], quantization
    tensor.buffer = 0
    tree.subgraphs[0].tensors.append(tensor)
    return len(tree.subgraphs[0].tensors) - 1


def _constant(tree: Any, name: str, values: np.ndarray) -> int:  # noqa: ANN401 - the same
    """Add a tensor of int32 that is known; its index."""
    buffer = importlib.import_module("ai_edge_litert.schema_py_generated").BufferT()
    buffer.data = values.reshape(-1).view(np.uint8)
    tree.buffers.append(buffer)
    index = _tensor(tree, name, values.shape, "int32", None)
    tree.subgraphs[0].tensors[index].buffer = len(tree.buffers) - 1
    return index


def _operator(
    tree: Any,  # noqa: ANN401 - the same
    name: str,
    inputs: list[int],
    outputs: list[int],
    *,
    first: bool = False,
) -> Any:  # noqa: ANN401 - the same
    """Add an operator at one end of the graph, and forget signatures: they name old tensors."""
    schema = importlib.import_module("ai_edge_litert.schema_py_generated")
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
    code.version = 1 if name == "CAST" else 2  # the first one for int8 of each of these
    tree.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(tree.operatorCodes) - 1
    operator.inputs = np.array(inputs, np.int32)
    operator.outputs = np.array(outputs, np.int32)
    operators = tree.subgraphs[0].operators
    operators.insert(0 if first else len(operators), operator)
    tree.signatureDefs = []
    return operator
