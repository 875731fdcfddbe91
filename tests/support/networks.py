"""Keras models made of a run's: of others, wrong in one way, or such that int8 ruins them.

    python -m tests.support.networks RUN OUT

writes OUT/KIND.keras for each kind, and OUT/saved_model. TensorFlow lives in a process of its own
in the tests: it takes its time, and raises warnings that are not ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from typing_extensions import override

Model = Any
"""Of Keras, which ships no types."""

SHAPE: Final = (64, 64, 1)
"""What the run's network takes: height, width, channels."""


# ---- the same function as the run's network, as others would write it


def softmax(run: Model, _out: Path) -> Model:
    """It gives probabilities."""
    pixels = keras.Input(SHAPE)
    return keras.Model(pixels, keras.layers.Softmax()(run(pixels)))


def sigmoids(run: Model, _out: Path) -> Model:
    """A probability of its own for each label, as with labels that may come together."""
    pixels = keras.Input(SHAPE)
    return keras.Model(pixels, keras.layers.Activation("sigmoid", name="each")(run(pixels)))


def binary(run: Model, _out: Path) -> Model:
    """It gives one probability: of the second label."""
    pixels, end = keras.Input(SHAPE), keras.layers.Dense(1, activation="sigmoid")
    model = keras.Model(pixels, end(run(pixels)))
    end.set_weights([np.array([[-1.0], [1.0]]), np.zeros(1)])
    return model


def channels_first(run: Model, _out: Path) -> Model:
    """It takes 1 x height x width."""
    pixels = keras.Input((SHAPE[2], *SHAPE[:2]))
    return keras.Model(pixels, run(keras.layers.Permute((2, 3, 1))(pixels)))


def other_range(run: Model, _out: Path) -> Model:
    """It takes pixels from -1 to 1."""
    pixels = keras.Input(SHAPE)
    return keras.Model(pixels, run(pixels * 127.5 + 127.5))


def colour(run: Model, _out: Path) -> Model:
    """It takes pictures in colour, as integers, and uses the mean of their channels."""
    pixels = keras.Input((*SHAPE[:2], 3), dtype="uint8")
    gray = keras.layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones")
    return keras.Model(pixels, run(gray(keras.ops.cast(pixels, "float32")) * (1 / 3)))


# ---- hard to quantize


def outgrown(run: Model, _out: Path) -> Model:
    """The same function, but int8 ruins it: half of a layer's channels are 300 times as large.

    What a ReLU is given is multiplied, and the next layer's weights are divided by as much.
    """
    model = keras.models.clone_model(run)
    model.set_weights(run.get_weights())
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


def outlier(run: Model, _out: Path) -> Model:
    """One value of 32,768 of an activation is far from all others, and is then cut off."""
    pixels = keras.Input(SHAPE)
    first, others = _split(run, "max_pooling2d")
    x = keras.layers.UpSampling2D(2)(_through(first, _scaled(pixels)))
    add = keras.layers.EinsumDense("abcd,de->abce", x.shape[1:], bias_axes="bce")
    x = keras.layers.Cropping2D(((2, 0), (2, 0)))(add(x))
    x = _through(others, keras.layers.AveragePooling2D(2)(x))
    one = np.zeros(add.bias.shape)
    one[0, 0, 0] = 2000.0
    add.set_weights([np.eye(one.shape[-1]), one])
    return keras.Model(pixels, x)


def swish(run: Model, _out: Path) -> Model:
    """With activations that XNNPACK does not run in int8."""
    pixels = keras.Input(SHAPE)
    first, others = _split(run, "max_pooling2d_2")
    x = keras.layers.Activation("hard_swish", name="swish")(_through(first, _scaled(pixels)) - 1.0)
    return keras.Model(pixels, _through(others, x))


def _scaled(pixels: Any) -> Any:  # noqa: ANN401
    return (pixels - 127.5) * (1 / 127.5)


def _split(run: Model, name: str) -> tuple[Sequence[Any], Sequence[Any]]:
    """The layers behind the scaling: those before one, and the others."""
    layers = run.layers[1:]  # the scaling is done by operations: they are no layers
    at = [layer.name for layer in layers].index(name)
    return layers[:at], layers[at:]


def _through(layers: Sequence[Any], x: Any) -> Any:  # noqa: ANN401
    for layer in layers:
        x = layer(x)
    return x


# ---- wrong


def not_a_number(run: Model, _out: Path) -> Model:
    """A training that went wrong."""
    return _with_end(run, 1.0, np.nan)


def constant(run: Model, _out: Path) -> Model:
    """Answers the same to every picture, but for what int8 rounds away."""
    return _with_end(run, 1e-6, 1.0)


def _with_end(run: Model, weights: float, bias: float) -> Model:
    model = keras.models.clone_model(run)
    model.set_weights(run.get_weights())
    kernel, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * weights, np.array([bias, -0.9 * bias])])
    return model


def of_code(_run: Model, out: Path) -> Model:
    """Holds Python code, which writes a file where it is run."""
    mark = str(out / "executed")
    pixels = keras.Input(SHAPE)
    code = keras.layers.Lambda(lambda t, mark=mark: (open(mark, "w"), t / 255.0)[1])  # noqa: PTH123, SIM115
    model = _dense(pixels, code(pixels))
    Path(mark).unlink()
    return model


@keras.saving.register_keras_serializable(package="theirs")
class _Doubled(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A layer of others."""

    @override
    def call(self, x: Any) -> Any:
        return x * 2.0


def of_a_class(_run: Model, _out: Path) -> Model:
    """Holds a layer whose class is not there."""
    pixels = keras.Input(SHAPE)
    return _dense(pixels, _Doubled()(pixels))


def of_three_labels(_run: Model, _out: Path) -> Model:
    """Another network's."""
    pixels = keras.Input(SHAPE)
    return _dense(pixels, pixels, 3)


def recurrent(_run: Model, _out: Path) -> Model:
    """A rolled GRU: calibrating it kills TensorFlow's process."""
    pixels = keras.Input(SHAPE)
    rows = keras.layers.Reshape((SHAPE[0], SHAPE[1] * SHAPE[2]))(pixels)
    return _dense(pixels, keras.layers.GRU(8)(rows))


def two_inputs(_run: Model, _out: Path) -> Model:
    """Two pictures at once."""
    both = [keras.Input(SHAPE), keras.Input(SHAPE)]
    return _dense(both, keras.layers.Add()(both))


def of_any_size(_run: Model, _out: Path) -> Model:
    """A picture of any size."""
    pixels = keras.Input((None, None, 1))
    return _dense(pixels, keras.layers.GlobalAveragePooling2D()(pixels))


def of_a_rare_operator(_run: Model, _out: Path) -> Model:
    """An operator that TFLite lacks."""
    pixels = keras.Input(SHAPE)
    square = keras.Input(SHAPE[:2])
    whiten = keras.Model(square, keras.ops.linalg.inv(square), name="whiten")
    return _dense(pixels, whiten(keras.layers.Reshape(SHAPE[:2])(pixels)))


def _dense(pixels: Any, x: Any, labels: int = 2) -> Model:  # noqa: ANN401
    return keras.Model(pixels, keras.layers.Dense(labels)(keras.layers.Flatten()(x)))


KINDS: Final[Sequence[Callable[[Model, Path], Model]]] = (
    softmax, sigmoids, binary, channels_first, other_range, colour, outgrown, outlier, swish,
    not_a_number, constant, of_code, of_a_class, of_three_labels, recurrent, two_inputs,
    of_any_size, of_a_rare_operator,
)  # fmt: skip


def main(run: Path, out: Path) -> None:
    """Make all."""
    network = keras.saving.load_model(run / "model.keras", compile=False)
    for make in KINDS:
        make(network, out).save(out / f"{make.__name__}.keras")
    softmax(network, out).export(out / "saved_model", verbose=False)
    (out / "damaged.keras").write_bytes((run / "model.keras").read_bytes()[:5000])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
