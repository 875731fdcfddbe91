"""What a .tflite file holds: its operators and its tensors, read without running it.

The flatbuffer's parser trusts its input: a file that is not intact makes it read anything from
anywhere in the file. What it raises becomes one ConvertError here, and how much is read is
limited; yet files from outside are parsed in a child process only, see
`lineside_convert.tflite.examine`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy.typing as npt

from lineside.errors import ConvertError
from lineside.extras import require
from lineside_convert.tflite.naming import layer_name, unique

MAX_ITEMS: Final = 4_000_000
"""How many operators, tensors, dimensions, scales, … are read of a file, all together."""

_Generated = Any
"""An object of the code that is generated from TFLite's schema, without types."""

_IDENTIFIER: Final = b"TFL3"
_PASSED_THROUGH: Final = frozenset(
    {"QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "CAST"}
)
"""Operators that change how values are stored or laid out, not what they mean."""


@dataclass(frozen=True)
class GraphTensor:
    """A tensor: real value = (stored value - zero_point) * scale.

    Attributes:
        name: as the file says; may be long, empty, or there twice.
        shape: as it is stored, with the batch dimension.
        signature: the same with -1 where a size is open; equal to `shape` where none is.
        dtype: in small letters, such as uint8, float32, int4.
        scales: none where it is not quantized, several where each channel has its own.
        zero_points: as many as `scales`, or one.
        axis: the dimension that `scales` counts along, where there are several.
        constant: whether its values are in the file.
    """

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int
    constant: bool

    @property
    def scale(self) -> float:
        """The first scale; 0.0 where it is not quantized."""
        return self.scales[0] if self.scales else 0.0

    @property
    def zero_point(self) -> int:
        """The first zero point; 0 where it is not quantized."""
        return self.zero_points[0] if self.zero_points else 0

    @property
    def per_axis(self) -> bool:
        """Whether each channel has a scale of its own."""
        return len(self.scales) > 1


@dataclass(frozen=True)
class Operator:
    """One operator.

    Attributes:
        index: its place in the order of execution, from 0.
        op: its name, such as CONV_2D; of a custom operator the name that its maker gave it.
        custom: whether it is a custom operator.
        inputs: indices of tensors; -1 where an optional one is left out.
        outputs: indices of tensors.
        output_names: the names of what it makes.
        layer: a short name for people, unique within the graph.
    """

    index: int
    op: str
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    output_names: tuple[str, ...]
    layer: str


@dataclass(frozen=True)
class Subgraph:
    """One of a file's graphs: the first is run, operators such as WHILE call the others."""

    tensors: tuple[GraphTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]


@dataclass(frozen=True)
class Graph:
    """A file's operators and tensors."""

    subgraphs: tuple[Subgraph, ...]

    @property
    def tensors(self) -> tuple[GraphTensor, ...]:
        """The tensors of the graph that is run."""
        return self.subgraphs[0].tensors

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The operators of the graph that is run, in the order of execution."""
        return self.subgraphs[0].operators

    @property
    def inputs(self) -> tuple[GraphTensor, ...]:
        """What the model is given."""
        return tuple(self.tensors[index] for index in self.subgraphs[0].inputs)

    @property
    def outputs(self) -> tuple[GraphTensor, ...]:
        """What the model answers."""
        return tuple(self.tensors[index] for index in self.subgraphs[0].outputs)

    @cached_property
    def last_operator(self) -> Operator | None:
        """The operator that makes the first output, looked for behind QUANTIZE, RESHAPE, ….

        None where the output is an input or a constant.
        """
        makers = {index: op for op in self.operators for index in op.outputs}
        wanted = self.subgraphs[0].outputs[:1]
        found = makers.get(wanted[0]) if wanted else None
        for _ in self.operators:  # a damaged file may hold a ring
            if found is None or found.op not in _PASSED_THROUGH or not found.inputs:
                break
            found = makers.get(found.inputs[0])
        return found

    @property
    def per_channel_dense(self) -> tuple[str, ...]:
        """The FULLY_CONNECTED operators whose weights have a scale for each output.

        tflite-runtime 2.14 crashes on them on 64-bit arm.
        """
        return tuple(
            op.layer
            for op in self.operators
            if op.op == "FULLY_CONNECTED"
            and len(op.inputs) > 1
            and op.inputs[1] >= 0
            and self.tensors[op.inputs[1]].per_axis
        )


def fingerprint(graph: Graph) -> str:
    """A hash of operators, shapes and types of tensors, and of what is connected with what.

    Weights, names and scales are left out: files with the same fingerprint take the same time.

    Returns:
        64 hexadecimal digits.
    """
    lines = []
    for subgraph in graph.subgraphs:
        lines.append(f"graph {subgraph.inputs} {subgraph.outputs}")
        lines += [f"{tensor.dtype} {tensor.shape}" for tensor in subgraph.tensors]
        lines += [f"{op.op} {op.inputs} {op.outputs}" for op in subgraph.operators]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_graph(model: bytes) -> Graph:
    """Read the graph of a .tflite file.

    Raises:
        ConvertError: it is no TFLite file, or a damaged one.
        MissingExtraError: ai-edge-litert is not installed.
    """
    schema = require("ai_edge_litert.schema_py_generated", extra="convert")
    if model[4:8] != _IDENTIFIER:
        found = f"got {model[4:8]!r}" if len(model) >= 8 else f"it has {len(model)} bytes"
        msg = f"it is no TFLite file: {_IDENTIFIER!r} is expected at byte 4, {found}"
        raise ConvertError(msg)
    try:
        return _Reader(schema, model).read()
    except ConvertError:
        raise
    except Exception as error:  # the parser trusts the file, and raises anything
        msg = "its structure is damaged, or the end of the file is missing"
        raise ConvertError(msg) from error


class _Reader:
    """Walks through the flatbuffer, and gives up where there is too much of anything."""

    def __init__(self, schema: _Generated, model: bytes) -> None:
        self._left = MAX_ITEMS
        self._model: Any = schema.Model.GetRootAs(model)
        self._ops = _names_by_number(schema.BuiltinOperator)
        self._types = _names_by_number(schema.TensorType)

    def read(self) -> Graph:
        codes = self._each(self._model.OperatorCodesLength, self._model.OperatorCodes)
        names = [self._op_name(code) for code in codes]
        graphs = self._each(self._model.SubgraphsLength, self._model.Subgraphs)
        if not graphs:
            msg = "its structure is damaged (it holds no graph)"
            raise ConvertError(msg)
        return Graph(tuple(self._subgraph(found, names) for found in graphs))

    def _take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            msg = f"its structure is damaged, or it has over {MAX_ITEMS} operators and tensors"
            raise ConvertError(msg)
        return count

    def _each(self, length: Callable[[], int], get: Callable[[int], Any]) -> list[Any]:
        return [get(index) for index in range(self._take(length()))]

    def _numbers(
        self, length: Callable[[], int], get: Callable[[], npt.NDArray[Any]]
    ) -> tuple[Any, ...]:
        return tuple(get().tolist()) if self._take(length()) else ()

    def _op_name(self, code: _Generated) -> tuple[str, bool]:
        # Older files have only the first of the two fields, newer ones say 127 there.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if self._ops.get(number) == "CUSTOM":
            return _text(code.CustomCode()) or "unnamed", True
        if number not in self._ops:
            msg = f"it uses operator number {number}, which this ai-edge-litert does not know"
            raise ConvertError(msg)
        return self._ops[number], False

    def _subgraph(self, found: _Generated, names: list[tuple[str, bool]]) -> Subgraph:
        tensors = tuple(map(self._tensor, self._each(found.TensorsLength, found.Tensors)))
        inputs = self._numbers(found.InputsLength, found.InputsAsNumpy)
        outputs = self._numbers(found.OutputsLength, found.OutputsAsNumpy)
        _check_indices(inputs + outputs, tensors, lowest=0)
        rows = []
        for operator in self._each(found.OperatorsLength, found.Operators):
            taken = self._numbers(operator.InputsLength, operator.InputsAsNumpy)
            made = self._numbers(operator.OutputsLength, operator.OutputsAsNumpy)
            _check_indices(taken, tensors, lowest=-1)
            _check_indices(made, tensors, lowest=0)
            rows.append((*names[operator.OpcodeIndex()], taken, made))
        # The name of what is made says most; an operator that makes nothing has its own.
        short = [layer_name(op, tensors[made[0]].name if made else "") for op, _, _, made in rows]
        operators = tuple(
            Operator(index, op, custom, taken, made, tuple(tensors[i].name for i in made), layer)
            for index, ((op, custom, taken, made), layer) in enumerate(
                zip(rows, unique(short), strict=True)
            )
        )
        return Subgraph(tensors, inputs, outputs, operators)

    def _tensor(self, found: _Generated) -> GraphTensor:
        shape = self._numbers(found.ShapeLength, found.ShapeAsNumpy)
        signature = self._numbers(found.ShapeSignatureLength, found.ShapeSignatureAsNumpy)
        scales: tuple[float, ...] = ()
        zero_points: tuple[int, ...] = ()
        axis = 0
        quantization = found.Quantization()
        if quantization is not None:
            scales = self._numbers(quantization.ScaleLength, quantization.ScaleAsNumpy)
            zero_points = self._numbers(quantization.ZeroPointLength, quantization.ZeroPointAsNumpy)
            axis = quantization.QuantizedDimension()
        number = found.Type()
        if number not in self._types:
            msg = f"it has a tensor of type {number}, which this ai-edge-litert does not know"
            raise ConvertError(msg)
        return GraphTensor(
            name=_text(found.Name()),
            shape=shape,
            signature=signature or shape,
            dtype=self._types[number].lower(),
            scales=scales,
            zero_points=zero_points,
            axis=axis,
            constant=self._has_data(found.Buffer()),
        )

    def _has_data(self, index: int) -> bool:
        if index == 0:  # stands for none; there may be no buffers at all
            return False
        if not 0 < index < self._model.BuffersLength():
            msg = f"its structure is damaged (a tensor names buffer {index})"
            raise ConvertError(msg)
        buffer = self._model.Buffers(index)
        # In files over 2 GiB the data lie behind the flatbuffer; 0 and 1 stand for none.
        return bool(buffer.DataLength() or buffer.Offset() > 1)


def _check_indices(indices: tuple[int, ...], tensors: tuple[GraphTensor, ...], lowest: int) -> None:
    for index in indices:
        if not lowest <= index < len(tensors):
            msg = f"its structure is damaged (tensor {index} of {len(tensors)})"
            raise ConvertError(msg)


def _names_by_number(enum: type) -> dict[int, str]:
    return {value: name for name, value in vars(enum).items() if isinstance(value, int)}


def _text(raw: bytes | None) -> str:
    try:
        return (raw or b"").decode()
    except UnicodeDecodeError as error:  # the engines don't take such names either
        msg = "its structure is damaged (a name that is no UTF-8)"
        raise ConvertError(msg) from error
