"""From original.tflite to each scheme.

TensorFlow's quantizer makes the static ones: its kernels' versions are right, so that older
runtimes know what they load. litert-quantizer makes those that keep computing in float, with
explicit DEQUANTIZE operators that XNNPACK folds away when it loads the model; TensorFlow's would
quantize activations as it runs, which is several times slower.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from lineside.errors import ConvertError
from lineside.extras import require
from lineside_convert.scheme import SCHEMES, Scheme
from lineside_convert.tflite.graph import Graph, read_graph
from lineside_convert.worker.edit import Range, with_ranges


def make(model: bytes, scheme: Scheme, ranges: Mapping[int, Range]) -> bytes:
    """Make a scheme.

    Args:
        model: a .tflite in float32.
        scheme: which.
        ranges: of its tensors; read where the scheme is calibrated.

    Raises:
        ConvertError: it can't be made, or a layer that should stay in float is not there.
    """
    module, _, name = SCHEMES[scheme.base][0].partition(":")
    made: bytes = getattr(importlib.import_module(module), name)(model, scheme, ranges)
    return made


def float32(model: bytes, _scheme: Scheme, _ranges: Mapping[int, Range]) -> bytes:
    """As it is."""
    return model


def float16(model: bytes, _scheme: Scheme, _ranges: Mapping[int, Range]) -> bytes:
    """Weights in 16 bits."""
    types: Any = require("litert_quantizer.qtyping", extra="convert")
    weights = types.TensorQuantizationConfig(num_bits=16, dtype=types.TensorDataType.FLOAT)
    config = types.OpQuantizationConfig(
        weight_tensor_config=weights, compute_precision=types.ComputePrecision.FLOAT
    )
    quantizer = _quantizer(model)
    quantizer.update_quantization_recipe(
        regex=".*",
        operation_name=types.TFLOperationName.ALL_SUPPORTED,
        op_config=config,
        algorithm_key="float_casting",
    )
    return bytes(quantizer.quantize().quantized_model)


def weights(model: bytes, _scheme: Scheme, _ranges: Mapping[int, Range]) -> bytes:
    """Weights int8, one scale for each channel."""
    recipe: Any = require("litert_quantizer.recipe", extra="convert")
    quantizer = _quantizer(model)
    quantizer.load_quantization_recipe(recipe.weight_only_wi8_afp32())
    return bytes(quantizer.quantize().quantized_model)


def _quantizer(model: bytes) -> Any:  # noqa: ANN401 - no types are shipped
    return require("litert_quantizer.quantizer", extra="convert").Quantizer(bytearray(model))


def static(model: bytes, scheme: Scheme, ranges: Mapping[int, Range]) -> bytes:
    """Weights and activations int8: uint8 pixels in, int8 logits out.

    Where the first or the last layer stays in float, that end is float32.
    """
    tensorflow: Any = require("tensorflow", extra="convert")
    convert: Any = require("tensorflow.lite.python.convert", extra="convert")
    util: Any = require("tensorflow.lite.python.util", extra="convert")
    kept = kept_in_float(read_graph(model), scheme.in_float)
    try:
        made = bytes(
            convert.mlir_quantize(
                with_ranges(model, ranges),
                # With a scale for each channel here, tflite-runtime 2.14 crashes on 64-bit arm.
                disable_per_channel_for_dense_layers=True,
                denylisted_nodes=kept,
            )
        )
    except Exception as error:  # TensorFlow raises what it likes
        msg = f"TensorFlow can't make {scheme}: {' '.join(str(error).split())[:300]}"
        raise ConvertError(msg) from error
    graph = read_graph(made)
    first, last = graph.operators[0], graph.operators[-1]
    given = tensorflow.uint8 if first.op == "QUANTIZE" else tensorflow.float32
    answered = tensorflow.int8 if last.op == "DEQUANTIZE" else tensorflow.float32
    return bytes(util.modify_model_io_type(made, given, answered))


def kept_in_float(graph: Graph, names: tuple[str, ...]) -> list[str]:
    """The names of what the operators make that stay in float.

    Args:
        graph: of the float model.
        names: layers, or operators such as HARD_SWISH for all of a kind.

    Raises:
        ConvertError: one of them is not there.
    """
    kept = []
    for name in names:
        found = [op for op in graph.operators if name in {op.layer, op.op}]
        if not found:
            listed = ", ".join(op.layer for op in graph.operators[:40])
            msg = f"no layer and no operator is called {name!r}; there are {listed}"
            raise ConvertError(msg)
        kept += [tensor for op in found for tensor in op.output_names]
    return kept
