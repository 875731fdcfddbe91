"""Keras models that are wrong in one way.

    python -m tests.support.networks RUN OUT KIND…

writes OUT/KIND.keras for each kind there is; for those that are named, and for a damaged file,
OUT/KIND.said holds what the child of `lineside convert` says of it. TensorFlow lives in a
process of its own in the tests: it takes its time, and raises warnings that are not ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import msgspec
import numpy as np

from lineside.errors import ConvertError
from lineside_convert.child import Job, work


def outgrown(path: Path) -> Any:  # noqa: ANN401 - Keras ships no types
    """The same function, but int8 ruins it: half of a layer's channels are 300 times as large.

    What a ReLU is given is multiplied, and the next layer's weights are divided by as much.
    """
    model = keras.saving.load_model(path, compile=False)
    norms = [n for n, layer in enumerate(model.layers) if "normalization" in layer.name]
    for n in norms[:3]:
        norm = model.layers[n]
        after = next(layer for layer in model.layers[n + 1 :] if layer.weights)
        gamma, beta, *moments = norm.get_weights()
        factors = np.where(np.arange(len(gamma)) % 2, 300.0, 1.0).astype("float32")
        norm.set_weights([gamma * factors, beta * factors, *moments])
        kernel, *others = after.get_weights()
        after.set_weights([kernel / factors[:, np.newaxis], *others])
    return model


def not_a_number(path: Path) -> Any:  # noqa: ANN401
    """A training that went wrong."""
    model = keras.saving.load_model(path, compile=False)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, bias * np.nan])
    return model


def constant(path: Path) -> Any:  # noqa: ANN401
    """Answers the same to every picture, but for what int8 rounds away."""
    model = keras.saving.load_model(path, compile=False)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * 1e-6, bias + np.array([1.0, -1.0], "float32")])
    return model


def of_code(path: Path) -> Any:  # noqa: ANN401
    """Holds Python code, which nobody may run."""
    shape = keras.saving.load_model(path, compile=False).input_shape[1:]
    pixels = keras.Input(shape)
    x = keras.layers.Lambda(lambda t: t / 255.0)(pixels)
    return keras.Model(pixels, keras.layers.Dense(2)(keras.layers.Flatten()(x)))


def of_three_labels(path: Path) -> Any:  # noqa: ANN401
    """Another network's."""
    shape = keras.saving.load_model(path, compile=False).input_shape[1:]
    pixels = keras.Input(shape)
    return keras.Model(pixels, keras.layers.Dense(3)(keras.layers.Flatten()(pixels)))


def recurrent(path: Path) -> Any:  # noqa: ANN401
    """A rolled GRU: calibrating it kills TensorFlow's process."""
    shape = keras.saving.load_model(path, compile=False).input_shape[1:]
    pixels = keras.Input(shape)
    x = keras.layers.Reshape((shape[0], shape[1] * shape[2]))(pixels)
    return keras.Model(pixels, keras.layers.Dense(2)(keras.layers.GRU(8)(x)))


KINDS: Final[dict[str, Callable[[Path], Any]]] = {
    "outgrown": outgrown,
    "not_a_number": not_a_number,
    "constant": constant,
    "of_code": of_code,
    "of_three_labels": of_three_labels,
    "recurrent": recurrent,
}


def ask(model: Path, out: Path, shape: tuple[int, ...]) -> str:
    """What the child of `lineside convert` says of a model."""
    job = out / "job"
    job.mkdir(exist_ok=True)
    (job / "job.json").write_bytes(msgspec.json.encode(Job(model=str(model), labels=2)))
    pixels = np.random.default_rng(0).integers(0, 256, (8, *shape), np.uint8)
    for name in ("calibration", "val", "test"):
        np.save(job / f"{name}.npy", pixels)
    try:
        work(job)
    except ConvertError as error:
        return str(error)
    return "nothing"


def main(run: Path, out: Path, kinds: list[str]) -> None:
    """Make all, ask for some."""
    for kind, make in KINDS.items():
        make(run / "model.keras").save(out / f"{kind}.keras")
    (out / "damaged.keras").write_bytes((run / "model.keras").read_bytes()[:5000])
    shape = keras.saving.load_model(run / "model.keras", compile=False).input_shape[1:]
    for kind in kinds:
        (out / f"{kind}.said").write_text(ask(out / f"{kind}.keras", out, shape))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
