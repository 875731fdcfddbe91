"""Training: arrays in, a trained network out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside.errors import TrainError
from lineside.extras import quiet_native
from lineside_train.augment import augmentation
from lineside_train.backend import load_keras
from lineside_train.networks import build_network
from lineside_train.options import TrainOptions
from lineside_train.progress import epoch_progress

PREDICT_BATCH: Final = 64
CLIP_NORM: Final = 1.0
WEIGHT_DECAY: Final = 0.02
MOMENTUM: Final = 0.9

_Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.float64]]
"""Images, labels and weights."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Images and their labels.

    Attributes:
        tensors: uint8, n x height x width x channels.
        truth: int64, n indices into the labels.
    """

    tensors: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Trained:
    """What came out.

    Attributes:
        network: the Keras model, with the weights of the best epoch.
        history: for each epoch one value, as Keras names them: `loss`, `val_loss`…
        seconds: how long it took.
    """

    network: Any
    history: dict[str, list[float]]
    seconds: float


def train_network(train: Examples, val: Examples, labels: int, options: TrainOptions) -> Trained:
    """Train a network on `train`, keeping the weights that do best on `val`.

    Labels are weighted so that each counts the same: n / (labels * n of the label).

    Args:
        train: what is learned from; each label has an image at least.
        val: what the best epoch is chosen by: the one with the lowest weighted loss.
        labels: how many there are.
        options: how.

    Raises:
        TrainError: the loss is no longer a number.
    """
    keras = load_keras()
    with quiet_native():  # for jax it loads TensorFlow as well, where that is installed
        keras.utils.set_random_seed(options.seed)
    network = build_network(options, train.tensors.shape[-1], labels)
    steps = max(1, len(train.truth) // options.batch_size)
    epochs = options.total_epochs(steps)
    network.compile(
        _optimizer(options, steps, epochs),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=["accuracy"],
        # On a CPU, TensorFlow's own kernels train these networks about twice as fast as XLA's.
        jit_compile=keras.backend.backend() == "jax",
    )
    best = keras.callbacks.EarlyStopping(
        "val_loss", patience=options.total_patience(epochs), restore_best_weights=True
    )
    weights = len(train.truth) / (labels * np.bincount(train.truth, minlength=labels))
    started = time.monotonic()
    with epoch_progress(epochs, steps) as shown:
        history = network.fit(
            _batches(train, weights, options),
            steps_per_epoch=steps,
            shuffle=False,  # they come shuffled
            epochs=epochs,
            validation_data=_val_batches(val, weights),
            callbacks=[best, keras.callbacks.TerminateOnNaN(), shown],
            verbose=0,
        ).history
    _check_finite(history, options)
    values = {name: [float(value) for value in values] for name, values in history.items()}
    return Trained(network, values, time.monotonic() - started)


def _batches(
    train: Examples, weights: npt.NDArray[np.float64], options: TrainOptions
) -> Iterator[_Batch]:
    """Full batches without end, in another order each epoch, augmented; with labels and weights."""
    convert = load_keras().ops.convert_to_numpy
    chain = augmentation(options)
    random = np.random.default_rng(options.seed)
    size = min(options.batch_size, len(train.truth))
    while True:
        order = random.permutation(len(train.truth))
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size]
            images = train.tensors[chosen].astype(np.float32)
            for layer in chain:
                images = layer(images, training=True)
            truth = train.truth[chosen]
            yield convert(images), truth, weights[truth]


def _val_batches(val: Examples, weights: npt.NDArray[np.float64]) -> Any:  # noqa: ANN401
    """All of `val`, in batches that Keras asks for one by one.

    Arrays would be copied into a new graph at each epoch, which took a quarter of the training;
    of a generator, Keras reads more than it uses, and an epoch would not begin at its start.
    """
    keras = load_keras()

    class Batches(keras.utils.PyDataset):  # type: ignore[misc, name-defined] # Keras has no types
        def __len__(self) -> int:
            return math.ceil(len(val.truth) / PREDICT_BATCH)

        def __getitem__(self, index: int) -> _Batch:
            chosen = slice(index * PREDICT_BATCH, (index + 1) * PREDICT_BATCH)
            truth = val.truth[chosen]
            return val.tensors[chosen].astype(np.float32), truth, weights[truth]

    return Batches()


def _check_finite(history: dict[str, list[float]], options: TrainOptions) -> None:
    if (
        not history.get("val_loss")
        or not np.isfinite([*history["loss"], *history["val_loss"]]).all()
    ):
        msg = (
            f"the loss is no longer a number after {len(history['loss'])} epochs: try a smaller "
            f"--learning-rate than {options.peak_learning_rate:g}"
        )
        raise TrainError(msg)


def _optimizer(options: TrainOptions, steps: int, epochs: int) -> Any:  # noqa: ANN401
    """The optimizer, with a learning rate that rises for a tenth of all steps, then falls."""
    optimizers = load_keras().optimizers
    peak = options.peak_learning_rate
    warmup = max(1, min(3 * steps, epochs * steps // 10))
    rate = optimizers.schedules.CosineDecay(
        peak / 20,
        max(1, epochs * steps - warmup),
        alpha=0.005,
        warmup_target=peak,
        warmup_steps=warmup,
    )
    if options.optimizer == "sgd":
        return optimizers.SGD(rate, momentum=MOMENTUM, nesterov=True, global_clipnorm=CLIP_NORM)
    if options.optimizer == "rmsprop":
        return optimizers.RMSprop(rate, global_clipnorm=CLIP_NORM)
    if options.optimizer == "adam":
        return optimizers.Adam(rate, global_clipnorm=CLIP_NORM)
    adamw = optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY, global_clipnorm=CLIP_NORM)
    adamw.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return adamw


def predict_logits(network: Any, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:  # noqa: ANN401
    """What a network says.

    Args:
        network: a Keras model.
        tensors: uint8, n x height x width x channels.

    Returns:
        float32, n x labels: logits.
    """
    batches = range(0, len(tensors), PREDICT_BATCH)
    keras = load_keras()
    return np.concatenate(
        [
            np.asarray(
                keras.ops.convert_to_numpy(
                    network.predict_on_batch(tensors[i : i + PREDICT_BATCH].astype(np.float32))
                ),
                np.float32,
            )
            for i in batches
        ]
    )
