"""Rounded weights and corrected biases: nearer to the float model than rounding to the nearest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lineside.runtime import open_engine
from lineside.runtime.feed import Feed, make_feed
from lineside_convert.tflite.graph import Graph, read_graph
from lineside_convert.worker.biases import correct_biases
from lineside_convert.worker.edit import pack, set_floats, unpack
from lineside_convert.worker.ranges import input_of
from lineside_convert.worker.weights import STEPS, round_weights, unround
from lineside_convert.workshop import Workshop
from tests.support.converting import prepared
from tests.support.shared import shared

Floats = npt.NDArray[np.float64]
WEIGHTED = {"CONV_2D": 0, "FULLY_CONNECTED": 0, "DEPTHWISE_CONV_2D": 3}  # where channels are


@dataclass(frozen=True)
class Case:
    """A float model, pictures to calibrate with, and others to judge by."""

    model: bytes
    calibration: npt.NDArray[np.uint8]
    others: npt.NDArray[np.uint8]

    @property
    def feed(self) -> Feed:
        return make_feed(input_of(read_graph(self.model), "nhwc", None))


@pytest.fixture(scope="module")
def cells_cnn(workshop: Workshop, run_folder: Path) -> Case:
    """The run's CNN and its cells; what the worker made is in its folder too."""
    trials = prepared(workshop, run_folder)
    trials.make("static_wi8_ai8")
    folder = workshop.folder
    return Case(
        (folder / "original.tflite").read_bytes(),
        np.load(folder / "calibration.npy"),
        np.load(folder / "val.npy"),
    )


@pytest.fixture(scope="module")
def depthwise() -> Case:
    """MobileNet by others, with strides, and depthwise layers; pictures of noise and ramps."""
    model = shared("models/works/vww_96_float.tflite").read_bytes()
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (48, 12, 12, 3), np.uint8)
    pictures = coarse.repeat(8, axis=1).repeat(8, axis=2)
    return Case(model, pictures[:32], pictures[32:])


def answers(model: bytes, pictures: npt.NDArray[np.uint8], *, real: bool = False) -> Floats:
    """What a model says, its input in pixels, or in pixels / 255 where that is what it wants."""
    engine = open_engine(model)
    feed = make_feed(input_of(read_graph(model), "nhwc", None))
    given = (feed(np.ascontiguousarray(one)) for one in pictures)
    scale = np.float32(255 if real else 1)
    rows = [engine.invoke(one / scale if real else one)[0] for one in given]
    return engine.outputs[0].dequantize(np.concatenate(rows))


def weights_of(model: bytes) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Each weighted layer's operator and weights, channels first."""
    graph, tree = read_graph(model), unpack(model)
    for op in graph.operators:
        if op.op in WEIGHTED:
            tensor = tree.subgraphs[0].tensors[op.inputs[1]]
            stored = np.asarray(tree.buffers[tensor.buffer].data, np.uint8).view(np.float32)
            yield op.op, np.moveaxis(stored.reshape(tensor.shape), WEIGHTED[op.op], 0)


def rounded_to_nearest(model: bytes) -> bytes:
    """What a quantizer does to weights by itself."""
    graph, tree = read_graph(model), unpack(model)
    for op in graph.operators:
        if op.op in WEIGHTED:
            tensor = tree.subgraphs[0].tensors[op.inputs[1]]
            stored = np.asarray(tree.buffers[tensor.buffer].data, np.uint8).view(np.float32)
            weights = stored.reshape(tensor.shape)
            axes = tuple(n for n in range(weights.ndim) if n != WEIGHTED[op.op])
            one_step = op.op == "FULLY_CONNECTED"
            greatest = np.abs(weights).max(axis=None if one_step else axes, keepdims=True)
            step = np.where(greatest > 0, greatest, 1.0) / STEPS
            set_floats(tree, tensor, np.round(weights / step) * step)
    return pack(tree)


def off(one: Floats, other: Floats) -> float:
    """The RMS of the difference, without what softmax does not see."""
    difference = one - other
    return float(np.sqrt(np.mean((difference - difference.mean(axis=1, keepdims=True)) ** 2)))


def test_it_is_nearer_than_the_nearest_on_other_pictures(cells_cnn: Case) -> None:
    original = answers(cells_cnn.model, cells_cnn.others)
    rounded = round_weights(cells_cnn.model, cells_cnn.calibration, cells_cnn.feed)
    nearest = off(answers(rounded_to_nearest(cells_cnn.model), cells_cnn.others), original)
    assert off(answers(rounded, cells_cnn.others), original) < 0.6 * nearest


def test_depthwise_layers_and_strides_too(depthwise: Case) -> None:
    def feed(pixels: npt.NDArray[np.uint8]) -> Any:  # noqa: ANN401 - a tensor
        return depthwise.feed(pixels) / np.float32(255)

    original = answers(depthwise.model, depthwise.others, real=True)
    rounded = round_weights(depthwise.model, depthwise.calibration, feed)
    nearest = answers(rounded_to_nearest(depthwise.model), depthwise.others, real=True)
    found = answers(rounded, depthwise.others, real=True)
    assert off(found, original) < 0.6 * off(nearest, original)


def test_every_weight_is_on_a_step_and_the_greatest_stays(cells_cnn: Case) -> None:
    rounded = round_weights(cells_cnn.model, cells_cnn.calibration, cells_cnn.feed)
    pairs = list(zip(weights_of(cells_cnn.model), weights_of(rounded), strict=True))
    assert len(pairs) >= 4
    for (op, before), (_, after) in pairs:
        flat_before, flat_after = (one.reshape(len(one), -1) for one in (before, after))
        greatest = np.abs(flat_before).max(axis=1, keepdims=True)
        if op == "FULLY_CONNECTED":
            greatest = np.full_like(greatest, greatest.max())
        steps = flat_after / (greatest / STEPS)
        assert np.abs(steps - np.round(steps)).max() < 1e-3
        assert np.abs(steps).max() <= STEPS + 1e-3
        assert np.isclose(np.abs(flat_after).max(), np.abs(flat_before).max(), rtol=1e-6)


def test_layers_that_stay_in_float_keep_their_own_weights(depthwise: Case) -> None:
    model, rounded = depthwise.model, rounded_to_nearest(depthwise.model)
    layers = [op for op in read_graph(model).operators if op.op in WEIGHTED]
    kept = {layers[1].layer, "FULLY_CONNECTED"}
    mixed = unround(rounded, model, kept)
    found = zip(layers, weights_of(mixed), weights_of(model), weights_of(rounded), strict=True)
    for op, (_, after), (_, own), (_, on_steps) in found:
        is_kept = op.layer in kept or op.op in kept
        assert not np.array_equal(own, on_steps)
        assert np.array_equal(after, own if is_kept else on_steps)


def means(model: bytes, pictures: npt.NDArray[np.uint8], graph: Graph) -> Floats:
    """The mean answer, one value for each output."""
    assert graph.outputs[0].shape[-1] == 2
    return np.asarray(answers(model, pictures).mean(axis=0))


def test_biases_take_back_what_int8_is_off_in_the_mean(cells_cnn: Case, workshop: Workshop) -> None:
    made = [file.read_bytes() for file in sorted((workshop.folder / "made").glob("*.tflite"))]
    model = next(one for one in made if read_graph(one).inputs[0].dtype == "uint8")
    graph = read_graph(model)
    feeds = (make_feed(input_of(graph, "nhwc", None)), cells_cnn.feed)
    # Off by a known amount, beside what rounding does.
    wrong = shifted(model, layer="conv2d_1", by=0.2)
    corrected = correct_biases(wrong, cells_cnn.model, cells_cnn.calibration[:64], feeds)
    wanted = answers(cells_cnn.model, cells_cnn.others)
    before = np.abs(means(wrong, cells_cnn.others, graph) - wanted.mean(axis=0)).max()
    after = np.abs(means(corrected, cells_cnn.others, graph) - wanted.mean(axis=0)).max()
    assert after < before / 3
    assert off(answers(corrected, cells_cnn.others), wanted) < off(
        answers(wrong, cells_cnn.others), wanted
    )


def shifted(model: bytes, *, layer: str, by: float) -> bytes:
    """The same model with the biases of one layer off by so much, in real values."""
    graph, tree = read_graph(model), unpack(model)
    op = next(op for op in graph.operators if op.layer == layer)
    known, tensor = graph.tensors[op.inputs[2]], tree.subgraphs[0].tensors[op.inputs[2]]
    stored = np.asarray(tree.buffers[tensor.buffer].data, np.uint8).view(np.int32)
    moved = stored + np.round(by / np.asarray(known.scales)).astype(np.int32)
    tree.buffers[tensor.buffer].data = moved.astype(np.int32).view(np.uint8)
    return pack(tree)
