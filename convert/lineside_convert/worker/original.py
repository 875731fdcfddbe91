"""Keras models and SavedModels: load them, score images with them, write them as original.tflite.

A file of Keras may hold code (Lambda layers, custom classes): it is not run. A SavedModel is a
graph of TensorFlow's own operators.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from lineside.errors import ConvertError
from lineside.extras import require
from lineside.manifest import Normalization
from lineside.outputs import to_logits
from lineside.runtime import open_engine
from lineside.runtime.feed import Pixels, make_feed
from lineside_convert.describe import describe_input
from lineside_convert.tflite.check import channels_of, kind_of, layout_of
from lineside_convert.tflite.graph import read_graph
from lineside_convert.worker.edit import (
    cut_last_activation,
    keras_path,
    rename_layers,
    without_metadata,
)
from lineside_convert.worker.protocol import Layout, Load, Loaded
from lineside_convert.worker.score import values_of

BATCH: Final = 64
"""Images for which the original is asked at once."""


@dataclass(frozen=True)
class Original:
    """A loaded model.

    Attributes:
        ask: from pixels, uint8, n x h x w x channels, to its outputs, n x m.
        convert: gives its .tflite, with a batch of 1.
        shape: of its input without the batch.
        values: how many it gives.
        versions: of what loaded it.
    """

    ask: Callable[[Pixels], npt.NDArray[np.float64]]
    convert: Callable[[], bytes]
    shape: tuple[int, int, int]
    values: int
    versions: dict[str, str]


@dataclass(frozen=True)
class Ready:
    """A loaded model, written as float32.

    Attributes:
        original: the model.
        told: what the parent is told of it.
        kind: of the original's outputs; `told.kind` is the one of original.tflite.
    """

    original: Original
    told: Loaded
    kind: str


def load(request: Load, folder: Path) -> Ready:
    """Load a model and write original.tflite.

    Where it ends in a softmax or a sigmoid, that is left out of the file: logits quantize better.

    Raises:
        ConvertError: it can't be loaded or converted, or lineside can't use it.
    """
    path = Path(request.path)
    original = _open(path, request.normalization)
    layout = picture_layout(original.shape, str(path))
    content = original.convert()
    kind = kind_of(read_graph(content))
    content, kept = cut_last_activation(content, kind)
    (folder / "original.tflite").write_bytes(content)
    (folder / "rounded.tflite").unlink(missing_ok=True)  # of what was loaded before
    sides = original.shape if layout == "nhwc" else (*original.shape[1:], original.shape[0])
    told = Loaded(
        height=sides[0],
        width=sides[1],
        channels=sides[2],
        layout=layout,
        kind=kept,
        own_kind=kind,
        values=original.values,
        dtype=read_graph(content).inputs[0].dtype,
        versions=original.versions,
    )
    return Ready(original, told, kind)


def _open(path: Path, normalization: Normalization | None) -> Original:
    if path.suffix == ".tflite":
        return _tflite(path, normalization)
    keras, tensorflow = require("keras", extra="convert"), require("tensorflow", extra="convert")
    versions = {"keras": keras.__version__, "tensorflow": tensorflow.__version__}
    fold = _Fold(normalization)
    if path.is_dir():
        return _saved_model(tensorflow, path, fold, versions)
    return _keras(keras, tensorflow, path, fold, versions)


def picture_layout(shape: tuple[int, ...], name: str) -> Layout:
    """Where the channels of a picture are.

    Args:
        shape: of an input without the batch.
        name: of the model, for an error.

    Raises:
        ConvertError: it is no picture, or of no fixed size.
    """
    if len(shape) != 3 or not all(shape):
        said = "x".join("?" if side in {None, 0} else str(side) for side in shape) or "nothing"
        msg = (
            f"{name} takes {said}: a picture of a fixed height, width and 1 or 3 channels is "
            "expected; save it with its input_shape"
        )
        raise ConvertError(msg)
    if channels_of((1, *shape)) not in {1, 3}:
        said = "x".join(map(str, shape))
        msg = f"{name} takes {said}: 1 or 3 channels are expected, first or last"
        raise ConvertError(msg)
    return layout_of((1, *shape))


def one_line(error: Exception) -> str:
    """The first sentence of an error: what follows is advice that doesn't fit here."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    return re.split(r"(?<=[a-z]\.)\s", first)[0][:300]


class _Fold:
    """Folds (pixel - mean) / std into a graph, as one SUB and one MUL."""

    def __init__(self, normalization: Normalization | None) -> None:
        self.normalization = normalization

    def __call__(self, pixels: Any, layout: Layout) -> Any:  # noqa: ANN401 - Keras has no types
        if self.normalization is None:
            return pixels
        shape = (-1, 1, 1) if layout == "nchw" else (-1,)
        mean = np.asarray(self.normalization.mean, np.float32).reshape(shape)
        std = np.asarray(self.normalization.std, np.float32).reshape(shape)
        return (pixels - mean) * (1.0 / std)


def _tflite(path: Path, normalization: Normalization | None) -> Original:
    """A file that `lineside_convert.tflite.examine` has found to be one that can be used."""
    content = path.read_bytes()
    engine = open_engine(content, xnnpack=False)
    info, output = engine.inputs[0], engine.outputs[0]
    shape = cast("tuple[int, int, int]", info.shape[1:])
    feed = make_feed(describe_input(info, picture_layout(shape, str(path)), normalization))

    def ask(pixels: Pixels) -> npt.NDArray[np.float64]:
        return output.dequantize(values_of(engine, feed, pixels))

    values = int(np.prod(output.shape))
    return Original(
        ask, lambda: without_metadata(content), shape, values, {engine.name: engine.version}
    )


def _keras(
    keras: Any,  # noqa: ANN401 - Keras has no types
    tensorflow: Any,  # noqa: ANN401 - nor has TensorFlow
    path: Path,
    fold: _Fold,
    versions: dict[str, str],
) -> Original:
    if not zipfile.is_zipfile(path):
        msg = f"{path} is no file of Keras, or is damaged: a .keras file of Keras 3 is expected"
        raise ConvertError(msg)
    try:
        # safe_mode: a model file may hold code (Lambda layers), which is not run.
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises what it likes for a file that is no model
        msg = f"{path} can't be loaded: {_missing_code(str(error)) or one_line(error)}"
        raise ConvertError(msg) from error
    _check_weights(model, path)
    inputs, outputs = getattr(model, "inputs", None) or [], getattr(model, "outputs", None) or []
    _check_count(path, len(inputs), len(outputs))
    shape, values = tuple(inputs[0].shape[1:]), _flat(tuple(outputs[0].shape), path)
    layout = picture_layout(shape, str(path))
    dtype = inputs[0].dtype

    def ask(pixels: Pixels) -> npt.NDArray[np.float64]:
        rows = [
            np.asarray(model.predict_on_batch(np.asarray(fold(some, layout)).astype(dtype)))
            for some in _batches(pixels, layout)
        ]
        return np.concatenate(rows).reshape(len(pixels), -1).astype(np.float64)

    def convert() -> bytes:
        image = keras.Input(batch_shape=(1, *shape), name="image")
        folded = fold(image, layout)
        given = folded if dtype == "float32" else keras.ops.cast(folded, dtype)
        fixed = keras.Model(image, model(given, training=False))
        make = tensorflow.lite.TFLiteConverter.from_keras_model
        layers = {model.name, *_layer_names(model)}
        content = _to_tflite(tensorflow, lambda: make(fixed), path, layers)
        return rename_layers(content, layers, _last_layer(model).name)

    return Original(ask, convert, shape, values, versions)


def _layer_names(model: Any) -> Iterator[str]:  # noqa: ANN401
    """The names of all layers, those of models inside of it too."""
    for layer in getattr(model, "layers", ()):
        yield layer.name
        yield from _layer_names(layer)


def _last_layer(model: Any) -> Any:  # noqa: ANN401
    """What makes the output, inside of models inside of it too."""
    inside = getattr(model, "operations", None) or getattr(model, "layers", None)
    return _last_layer(inside[-1]) if inside else model


def _missing_code(said: str) -> str | None:
    """What a file needs that no file of Keras holds, out of Keras' error."""
    found = re.search(r"Could not locate (?:class|function) '([^']+)'", said)
    if found is None:
        return None
    return (
        f"it needs the code of {found[1]!r}, and no code of a model is run here; save it with "
        "layers of Keras alone"
    )


def _check_weights(model: Any, path: Path) -> None:  # noqa: ANN401
    for weight in model.weights:
        if not np.isfinite(np.asarray(weight.value)).all():
            msg = f"{path}: the weights {weight.path} are not finite (NaN or infinite): train again"
            raise ConvertError(msg)


def _check_count(path: Path, inputs: int, outputs: int) -> None:
    if (inputs, outputs) != (1, 1):
        msg = f"{path} has {inputs} inputs and {outputs} outputs: one picture and one vector of"
        msg += " values are expected; save a model with those alone"
        raise ConvertError(msg)


def _flat(shape: tuple[int | None, ...], path: Path) -> int:
    """How many values an output has, 1 x n or 1 x 1 x 1 x n."""
    sides = [side for side in shape[1:] if side != 1]
    if len(shape) < 2 or len(sides) > 1 or None in sides:
        msg = f"{path} gives {list(shape)}: one value for each label is expected"
        raise ConvertError(msg)
    return int(sides[0] or 1) if sides else 1


def _saved_model(
    tensorflow: Any,  # noqa: ANN401 - TensorFlow has no types
    path: Path,
    fold: _Fold,
    versions: dict[str, str],
) -> Original:
    try:
        module = tensorflow.saved_model.load(str(path))
        signature = module.signatures["serving_default"]
    except Exception as error:  # TensorFlow raises what it likes
        msg = f"{path} is no SavedModel with a signature serving_default: {one_line(error)}"
        raise ConvertError(msg) from error
    specs = list(signature.structured_input_signature[1].items())
    gives = list(signature.structured_outputs.values())
    _check_count(path, len(specs), len(gives))
    (name, spec), shape = specs[0], tuple(specs[0][1].shape[1:])
    layout, values = picture_layout(shape, str(path)), _flat(tuple(gives[0].shape), path)

    def run(pixels: Any) -> Any:  # noqa: ANN401
        given = {name: tensorflow.cast(fold(pixels, layout), spec.dtype)}
        return next(iter(signature(**given).values()))

    float32 = tensorflow.TensorSpec((1, *shape), tensorflow.float32, name="image")
    concrete = tensorflow.function(run).get_concrete_function(float32)

    def ask(pixels: Pixels) -> npt.NDArray[np.float64]:
        rows = [
            np.asarray(concrete(tensorflow.constant(one[np.newaxis])))
            for some in _batches(pixels, layout)
            for one in some
        ]
        return np.concatenate(rows).reshape(len(pixels), -1).astype(np.float64)

    def convert() -> bytes:
        make = tensorflow.lite.TFLiteConverter.from_concrete_functions
        return _to_tflite(tensorflow, lambda: make([concrete], module), path)

    return Original(ask, convert, shape, values, versions)


def _to_tflite(
    tensorflow: Any,  # noqa: ANN401 - the same
    make: Callable[[], Any],
    path: Path,
    layers: Collection[str] = (),
) -> bytes:
    try:
        converter = make()
        converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS]
        return bytes(converter.convert())
    except Exception as error:  # the converter raises what it likes
        msg = f"{path} can't be converted: {_missing_op(str(error), layers) or one_line(error)}"
        raise ConvertError(msg) from error


def _missing_op(said: str, layers: Collection[str]) -> str | None:
    """The operator that TFLite lacks, and the layer that uses it, out of the converter's error."""
    found = re.search(r"'tf\.(\w+)' op is neither a custom op nor a flex op", said)
    if found is None:
        return None
    where = re.findall(r'"([^"]*)"', said[: found.start()][-2000:])
    names = [name for name in where if "/" in name and not name.endswith(".py")]
    layer = f", used by the layer {_layer(names[-1], layers)}" if names else ""
    return f"TFLite has no operator {found[1]}{layer}; replace that layer"


def _layer(name: str, layers: Collection[str]) -> str:
    """`functional_1/inv_1/MatrixInverse@__inference…` is of the layer inv."""
    return keras_path(name.split("@", 1)[0].rsplit("/", 1)[0].rsplit("/", 1)[-1], layers)


def ask(ready: Ready, pixels: Pixels) -> npt.NDArray[np.float64]:
    """The logits of a loaded model, n x labels, of n pictures.

    Raises:
        ConvertError: they are not finite.
    """
    logits = to_logits(ready.original.ask(pixels), ready.kind)
    if not np.isfinite(logits).all():
        msg = "the original model's answers are not finite (NaN or infinite): train it again"
        raise ConvertError(msg)
    return logits


def _batches(pixels: Pixels, layout: Layout) -> Iterator[npt.NDArray[np.float32]]:
    """The pixels as the model takes them, some at once."""
    for first in range(0, len(pixels), BATCH):
        part = pixels[first : first + BATCH].astype(np.float32)
        yield np.ascontiguousarray(part.transpose(0, 3, 1, 2)) if layout == "nchw" else part
