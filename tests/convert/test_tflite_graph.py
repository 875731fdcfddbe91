"""What is read of a .tflite file without running it, and what is refused already then."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import numpy as np
import pytest

from lineside.errors import ConvertError
from lineside_convert.tflite.check import check_graph, kind_of, layout_of
from lineside_convert.tflite.graph import fingerprint, read_graph
from lineside_convert.tflite.naming import layer_name, unique
from tests.support.shared import shared
from tests.support.tiny import Tree, Values, pack, tiny_model, tiny_tree


def test_a_graph_is_read() -> None:
    graph = read_graph(tiny_model((1, 8, 8, 3), "uint8", scale=(0.5, 3)))
    assert len(graph.subgraphs) == 1
    (source,), (output,) = graph.inputs, graph.outputs
    assert (source.name, source.shape, source.dtype) == ("picture", (1, 8, 8, 3), "uint8")
    assert (source.scale, source.zero_point, source.per_axis) == (0.5, 3, False)
    assert (output.shape, output.dtype, output.scale) == ((1, 2), "float32", 0.0)
    assert [(op.index, op.op) for op in graph.operators] == [
        (0, "DEQUANTIZE"),
        (1, "RESHAPE"),
        (2, "FULLY_CONNECTED"),
        (3, "SOFTMAX"),
    ]
    assert graph.operators[2].layer == "dense_1"
    assert graph.operators[2].output_names == ("net/dense_1/MatMul;net/dense_1/BiasAdd",)
    constants = [tensor.shape for tensor in graph.tensors if tensor.constant]
    assert constants == [(2,), (2, 192), (2,)]


@pytest.mark.parametrize(
    ("last", "values", "kind"),
    [
        ("SOFTMAX", 2, "class_probabilities"),
        ("LOGISTIC", 3, "class_probabilities"),
        (None, 2, "class_logits"),
        ("LOGISTIC", 1, "binary_probability"),
        (None, 1, "binary_logit"),
        ("RESHAPE", 2, "class_logits"),
    ],
)
def test_the_kind_of_output_is_seen_at_the_last_operator(
    last: str | None, values: int, kind: str
) -> None:
    assert kind_of(read_graph(tiny_model(last=last, bias=[0.0] * values))) == kind


def test_what_follows_the_softmax_is_looked_through() -> None:
    tree = tiny_tree()
    dequantize = tree.subgraphs[0].operators[0]
    graph = tree.subgraphs[0]
    answer = int(graph.outputs[0])
    graph.operators.append(type(dequantize)())
    graph.operators[-1].opcodeIndex = dequantize.opcodeIndex  # RESHAPE
    graph.operators[-1].inputs = np.array([answer], np.int32)
    graph.operators[-1].outputs = np.array([1], np.int32)
    graph.outputs = np.array([1], np.int32)
    last = read_graph(pack(tree)).last_operator
    assert last is not None
    assert last.op == "SOFTMAX"


def test_an_output_that_nothing_makes_has_no_last_operator() -> None:
    tree = tiny_tree()
    tree.subgraphs[0].outputs = tree.subgraphs[0].inputs
    assert read_graph(pack(tree)).last_operator is None


def test_dense_weights_with_a_scale_for_each_output() -> None:
    tree = tiny_tree()
    weights = tree.subgraphs[0].operators[-2].inputs[1]
    quantization = tiny_tree(dtype="uint8", scale=(1.0, 0)).subgraphs[0].tensors[0].quantization
    quantization.scale = np.array([0.5, 0.25], np.float32)
    tree.subgraphs[0].tensors[weights].quantization = quantization
    assert read_graph(pack(tree)).per_channel_dense == ("dense_1",)
    assert read_graph(tiny_model()).per_channel_dense == ()


def test_the_fingerprint_knows_the_graph_but_not_its_weights() -> None:
    def of(*args: Values, **kwargs: Values) -> str:
        return fingerprint(read_graph(tiny_model(*args, **kwargs)))

    same = of(dtype="uint8", scale=(1.0, 0))
    assert of(dtype="uint8", scale=(0.5, 7), weights=np.zeros((2, 64))) == same
    others = {
        of(dtype="int8", scale=(1.0, 0)),
        of((1, 8, 9, 1), "uint8", scale=(1.0, 0)),
        of(dtype="uint8", scale=(1.0, 0), last=None),
        of(dtype="uint8", scale=(1.0, 0), last="LOGISTIC"),
    }
    assert len(others | {same}) == 5
    swapped = tiny_tree(dtype="uint8", scale=(1.0, 0))
    dense = swapped.subgraphs[0].operators[-2]
    dense.inputs = dense.inputs[[1, 0, 2]]
    assert fingerprint(read_graph(pack(swapped))) != same


@pytest.mark.parametrize(
    ("op", "tensor", "layer"),
    [
        (
            "CONV_2D",
            "f/plain_1/re_lu_1/Relu;f/plain_1/norm_1/add_1;f/plain_1/conv2d_1/convolution;f/norm/s",
            "conv2d_1",
        ),
        # Constants that two layers share bring the other one's name in.
        (
            "CONV_2D",
            "m/block_1_project_BN/V3;m/block_2_project/Conv2D;m/block_1_project/Conv2D1",
            "block_1_project",
        ),
        (
            "DEPTHWISE_CONV_2D",
            "m/relu/Relu6;m/bn/FusedBatchNormV3;m/first/depthwise;m/conv2d/Conv2D",
            "first",
        ),
        ("FULLY_CONNECTED", "model/dense/MatMul;model/dense/BiasAdd", "dense"),
        ("CONV_2D", "MobilenetV1/Logits/Conv2d_1c_1x1/BiasAdd", "Conv2d_1c_1x1"),
        ("SOFTMAX", "StatefulPartitionedCall_1:0", "softmax"),
        ("SOFTMAX", "Identity_int8", "softmax"),
        ("QUANTIZE", "tfl.quantize", "quantize"),
        ("ADD", "", "add"),
        ("ADD", "a b,c(d)", "a_b_c_d"),
        ("ADD", "x" * 200, "x" * 64),
    ],
)
def test_short_names(op: str, tensor: str, layer: str) -> None:
    assert layer_name(op, tensor) == layer


def test_short_names_come_once() -> None:
    assert list(unique(["a", "a", "a.2", "b", "a"])) == ["a", "a.2", "a.2.2", "b", "a.3"]


def test_the_layers_of_a_real_file() -> None:
    graph = read_graph((shared("models/works") / "apple_fresh_rotten_quant.tflite").read_bytes())
    layers = [op.layer for op in graph.operators]
    assert layers[:4] == ["quantize", "Conv1", "expanded_conv_depthwise", "expanded_conv_project"]
    assert len(set(layers)) == len(layers) == 72
    assert not [layer for layer in layers if layer.endswith(".2") and layer != "quantize.2"]


def _refusal(model: bytes) -> str:
    with pytest.raises(ConvertError) as caught:
        check_graph(read_graph(model))
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_what_is_no_tflite_file() -> None:
    assert _refusal(b"") == "it is no TFLite file: b'TFL3' is expected at byte 4, it has 0 bytes"
    assert "byte 4, got b'\\x1a\\n\\x00\\x00'" in _refusal(b"\x89PNG\x1a\n\0\0\0\0")


def test_every_cut_is_refused() -> None:
    model = tiny_model(weights=np.zeros((2, 64)))
    told = {_refusal(model[:size]) for size in range(8, len(model), 4)}
    assert told == {"its structure is damaged, or the end of the file is missing"}


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((1, 96), "float32", r"no picture: .* got float32 \[1, 96\]"),
        ((1, 8, 8, 1), "int16", r"no picture: uint8, int8 or float32 .* got int16 \[1, 8, 8, 1\]"),
        ((1, 8, 8, 4), "uint8", r"no picture: 1 or 3 channels, .* got uint8 \[1, 8, 8, 4\]"),
        ((1, 4, 40, 1), "uint8", r"no picture: 8 to 4096 pixels .* got uint8 \[1, 4, 40, 1\]"),
        ((2, 8, 8, 1), "uint8", r"takes 2 pictures at a time .*: save it with a batch of 1"),
    ],
)
def test_inputs_that_are_no_picture(shape: tuple[int, ...], dtype: str, message: str) -> None:
    tree = tiny_tree(shape, dtype, scale=None if dtype == "float32" else (1.0, 0))
    text = _refusal(pack(tree))
    assert re.search(message, text), text


@pytest.mark.parametrize(
    ("shape", "layout"),
    [((1, 8, 16, 3), "nhwc"), ((1, 8, 16, 1), "nhwc"), ((1, 3, 8, 16), "nchw")],
)
def test_channels_last_or_first(shape: tuple[int, ...], layout: str) -> None:
    graph = read_graph(tiny_model(shape))
    check_graph(graph)
    assert layout_of(graph.inputs[0].shape) == layout


def _two_inputs(graph: Tree) -> None:
    graph.inputs = np.array([0, 0], np.int32)


def _two_outputs(graph: Tree) -> None:
    graph.outputs = graph.outputs.repeat(2)


def _open_height(graph: Tree) -> None:
    graph.tensors[0].shapeSignature = np.array([-1, -1, 8, 1], np.int32)


def _map(graph: Tree) -> None:
    graph.tensors[graph.outputs[0]].shape = np.array([1, 4, 4, 2], np.int32)


def _int64(graph: Tree) -> None:
    graph.tensors[graph.outputs[0]].type = 4


def _unscaled(graph: Tree) -> None:
    graph.tensors[graph.outputs[0]].type = 9


def _not_finite(graph: Tree) -> None:
    graph.tensors[0].quantization.scale = np.array([np.nan], np.float32)


def _zero_point(graph: Tree) -> None:
    graph.tensors[0].quantization.zeroPoint = np.array([300], np.int64)


def _dimension(graph: Tree) -> None:
    quantization = copy.copy(graph.tensors[0].quantization)
    quantization.scale, quantization.quantizedDimension = np.array([1, 2], np.float32), 3
    graph.tensors[4].quantization = quantization


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_two_inputs, "one input is expected, a picture; it has 2"),
        (_two_outputs, "one output is expected, a value for each label; it has 2"),
        (_open_height, "its input has a dynamic shape, [-1, -1, 8, 1]: save it with"),
        (_map, "its output is no vector with a value for each label, but float32 [1, 4, 4, 2]"),
        (_int64, "its output is no uint8, int8 or float32, but int64 [1, 2]"),
        (_unscaled, "its output is int8 [1, 2], with 0 scales: one is expected"),
        (_not_finite, "it has an invalid quantization: tensor 'picture' has a scale of nan"),
        (_zero_point, "invalid quantization: tensor 'picture' is uint8, but has zero point 300"),
        (_dimension, "has scales along dimension 3, but its shape is [2, 64]"),
    ],
)
def test_graphs_that_are_refused(change: Callable[[Tree], None], message: str) -> None:
    tree = tiny_tree(dtype="uint8", scale=(1.0, 0))
    change(tree.subgraphs[0])
    assert message in _refusal(pack(tree))


def test_an_open_batch_is_taken_as_one() -> None:
    tree = tiny_tree()
    tree.subgraphs[0].tensors[0].shapeSignature = np.array([-1, 8, 8, 1], np.int32)
    graph = read_graph(pack(tree))
    check_graph(graph)
    assert graph.inputs[0].signature == (-1, 8, 8, 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("edgetpu-custom-op", "made for the Edge TPU .* before edgetpu_compiler"),
        ("ethos-u", "made for an Arm Ethos-U .* before vela"),
        ("FlexErf", "TensorFlow's own operator 'Erf' .* without SELECT_TF_OPS"),
        ("my-op", "custom operator 'my-op' .*, which no runtime of lineside has"),
    ],
)
def test_custom_operators_are_named(name: str, message: str) -> None:
    tree = tiny_tree()
    tree.operatorCodes[-1].builtinCode = tree.operatorCodes[-1].deprecatedBuiltinCode = 32
    tree.operatorCodes[-1].customCode = name
    text = _refusal(pack(tree))
    assert re.search(message, text), text


def test_indices_that_lead_nowhere() -> None:
    tree = tiny_tree()
    tree.subgraphs[0].operators[1].inputs = np.array([99, 0, 0], np.int32)
    assert "damaged (tensor 99 of" in _refusal(pack(tree))
    tree = tiny_tree()
    tree.subgraphs[0].tensors[0].buffer = 99
    assert "damaged (a tensor names buffer 99)" in _refusal(pack(tree))
    tree = tiny_tree()
    tree.subgraphs = []
    assert "damaged (it holds no graph)" in _refusal(pack(tree))
    tree = tiny_tree()
    tree.operatorCodes[0].builtinCode = 30000
    assert "operator number 30000, which this ai-edge-litert does not know" in _refusal(pack(tree))
