"""The child process in which Keras and TensorFlow work: `python -m lineside_convert.child JOB`.

Some conversions kill the process they run in, and TensorFlow says a lot on the way. So a child
loads the Keras model, scores the images with it, converts it, and scores them with the result;
the parent reads what it left in the folder JOB:

    job.json           `Job`, from the parent
    calibration.npy    uint8, n x h x w x channels, from the parent
    val.npy test.npy   the same
    model.tflite       full int8
    float_{val,test}.npy   float64, n x labels: the Keras model's logits
    int8_{val,test}.npy    the same of model.tflite
    plain_val.npy          the same of model.tflite without XNNPACK
    answer.json        `Answer`
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from lineside.errors import ConvertError, LinesideError
from lineside.extras import require
from lineside.runtime import open_engine

PARTS: Final = ("val", "test")
BATCH: Final = 64
"""Images for which the Keras model is asked at once."""


class Job(Struct, kw_only=True):
    """What the child is to do."""

    model: str
    """The .keras file."""
    labels: int
    """How many outputs it must have."""


class Answer(Struct, kw_only=True):
    """What the child did."""

    error: str | None = None
    """Why it couldn't, in one line."""
    versions: dict[str, str] = {}


def work(folder: Path) -> Answer:
    """Do the job in `folder`.

    Raises:
        ConvertError: the model can't be loaded, answers nonsense, or can't be converted.
    """
    job = msgspec.json.decode((folder / "job.json").read_bytes(), type=Job)
    keras, tensorflow = require("keras", extra="convert"), require("tensorflow", extra="convert")
    calibration = np.load(folder / "calibration.npy")
    parts = {part: np.load(folder / f"{part}.npy", mmap_mode="r") for part in PARTS}
    model = _load(keras, Path(job.model), calibration.shape[1:], job.labels)
    for part, tensors in parts.items():
        np.save(folder / f"float_{part}.npy", _ask_keras(model, tensors))
    content = _convert(keras, tensorflow, model, calibration)
    (folder / "model.tflite").write_bytes(content)
    for part, tensors in parts.items():
        np.save(folder / f"int8_{part}.npy", _ask_engine(content, tensors))
    np.save(folder / "plain_val.npy", _ask_engine(content, parts["val"], xnnpack=False))
    return Answer(versions={"keras": keras.__version__, "tensorflow": tensorflow.__version__})


def _load(keras: Any, path: Path, shape: tuple[int, ...], labels: int) -> Any:  # noqa: ANN401 - Keras has no types
    try:
        # safe_mode: a model file may hold code (Lambda layers), which is not run.
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises what it likes for a file that is no model
        msg = f"{path} can't be loaded: {_one_line(error)}"
        raise ConvertError(msg) from error
    takes, gives = (None, *shape), (None, labels)
    if tuple(model.input_shape) != takes or tuple(model.output_shape) != gives:
        msg = (
            f"{path}: a model from {takes} to {gives} is expected, "
            f"got {model.input_shape} to {model.output_shape}"
        )
        raise ConvertError(msg)
    return model


def _ask_keras(model: Any, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:  # noqa: ANN401
    batches = [
        np.asarray(model.predict_on_batch(tensors[i : i + BATCH].astype(np.float32)), np.float64)
        for i in range(0, len(tensors), BATCH)
    ]
    logits = np.concatenate(batches)
    if not np.isfinite(logits).all():
        msg = "the Keras model's logits are not finite (NaN or infinite): train it again"
        raise ConvertError(msg)
    return logits


def _convert(keras: Any, tensorflow: Any, model: Any, calibration: npt.NDArray[np.uint8]) -> bytes:  # noqa: ANN401
    """Full int8: raw uint8 pixels in, int8 logits out, a batch of 1."""
    image = keras.Input(batch_shape=(1, *calibration.shape[1:]), name="image")
    lite = tensorflow.lite
    converter = lite.TFLiteConverter.from_keras_model(
        keras.Model(image, model(image, training=False))
    )

    def pictures() -> Iterator[list[npt.NDArray[np.float32]]]:
        for tensor in calibration:
            yield [tensor[np.newaxis].astype(np.float32)]

    converter.optimizations = [lite.Optimize.DEFAULT]
    converter.representative_dataset = pictures
    converter.target_spec.supported_ops = [lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tensorflow.uint8
    converter.inference_output_type = tensorflow.int8
    # With a scale for each channel here, tflite-runtime 2.14 crashes on 64-bit arm.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True  # noqa: SLF001
    try:
        return bytes(converter.convert())
    except Exception as error:  # the converter raises what it likes
        msg = f"TensorFlow can't convert the model to int8: {_one_line(error)}"
        raise ConvertError(msg) from error


def _ask_engine(
    content: bytes, tensors: npt.NDArray[np.uint8], *, xnnpack: bool = True
) -> npt.NDArray[np.float64]:
    engine = open_engine(content, threads=os.cpu_count() or 1, xnnpack=xnnpack)
    output = engine.outputs[0]
    rows = [output.dequantize(engine.invoke(tensor)[0]).reshape(-1) for tensor in tensors]
    logits = np.stack(rows)
    if len(logits) > 1 and (logits == logits[0]).all():
        msg = (
            "the int8 model gives the same answer for every image: its scales don't fit; "
            "try more images for --calibration, or train it again"
        )
        raise ConvertError(msg)
    return logits


def _one_line(error: Exception) -> str:
    """The first sentence: what follows is advice that doesn't fit here."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    return re.split(r"(?<=[a-z]\.)\s", first)[0][:300]


def main() -> None:
    """The child: do the job, leave an answer."""
    folder = Path(sys.argv[1])
    try:
        answer = work(folder)
    except LinesideError as error:
        answer = Answer(error=str(error))
    (folder / "answer.json").write_bytes(msgspec.json.encode(answer))


if __name__ == "__main__":
    main()
