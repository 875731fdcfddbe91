"""What Keras compiles and trains: the network, with the changes of its images before it."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside_train.backend import load_keras
from lineside_train.fitting.changes import changed, changes
from lineside_train.fitting.draws import Draws, Floats
from lineside_train.fitting.examples import Examples
from lineside_train.fitting.machines import ALONE, Alone
from lineside_train.fitting.teaching import SHARE, taught
from lineside_train.options import TrainOptions

CLIP_NORM: Final = 1.0
WEIGHT_DECAY: Final = 0.02
MOMENTUM: Final = 0.9
WORKERS: Final = 2
AHEAD: Final = 4
"""Threads that make batches, and how many batches are made, or being made, at any time."""


def make_trainee(
    network: Any,  # noqa: ANN401 - Keras ships no types
    draws: Draws,
    epochs: int,
    *,
    inside: bool,
    teacher: Any = None,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """A compiled model that shares the network's weights.

    Args:
        network: takes float32 pixels, gives logits.
        draws: says which changes there are.
        epochs: how many there will be, which the learning rate follows.
        inside: whether images are changed inside it: it takes `Draw.inputs` then, and else images
            that are changed already, whose whole grey levels Keras makes float32 of.
        teacher: another such network, that the network is to answer like; None: nobody.
    """
    keras = load_keras()
    given, pixels = network.input, network.input
    if inside:
        height, width, channels = network.input_shape[1:]
        sample = draws.draw(0, 0).inputs(
            np.empty((draws.images, height, width, channels), np.uint8)
        )
        given = {
            name: keras.Input(value.shape[1:], dtype=str(value.dtype), name=name)
            for name, value in sample.items()
        }
        pixels = changes()()(given)
    logits = network(pixels)
    if teacher is not None:
        logits = taught(logits, pixels, teacher)
    trainee = keras.Model(given, logits, name="trainee")
    compile_trainee(trainee, draws.options, draws.steps, epochs)
    return trainee


def compile_trainee(model: Any, options: TrainOptions, steps: int, epochs: int) -> None:  # noqa: ANN401
    """Compile a model that gives logits, for targets that are probabilities of the labels.

    Args:
        model: of Keras.
        options: the loss and the optimizer.
        steps: batches in one epoch.
        epochs: how many there will be.
    """
    model.compile(
        _optimizer(options, steps, epochs),
        _loss(options),
        loss_weights=1.0 if options.teacher is None else 1.0 - SHARE,
        weighted_metrics=["accuracy"],
        # TensorFlow's kernel for affine transformations has no form for XLA; and on a CPU its own
        # kernels train these networks about twice as fast as XLA's.
        jit_compile=load_keras().backend.backend() == "jax",
    )
    _build(model)


def _build(model: Any) -> None:  # noqa: ANN401
    """Make the variables that training keeps besides the network's.

    Where they are not there yet TensorFlow traces the training step twice.
    """
    ops = load_keras().ops
    model.optimizer.build(model.trainable_variables)
    one = ops.zeros((1, model.output_shape[-1]))
    model.compute_loss(None, one, one, ops.ones((1,)))
    model.compute_metrics(None, one, one, ops.ones((1,)))
    model.reset_metrics()


def _loss(options: TrainOptions) -> Any:  # noqa: ANN401
    losses = load_keras().losses
    return losses.CategoricalCrossentropy(from_logits=True, label_smoothing=options.smoothing)


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
    common: dict[str, Any] = {"learning_rate": rate, "global_clipnorm": CLIP_NORM}
    if options.optimizer == "sgd":
        return optimizers.SGD(**common, momentum=MOMENTUM, nesterov=True)
    if options.optimizer == "rmsprop":
        return optimizers.RMSprop(**common)
    if options.optimizer == "adam":
        return optimizers.Adam(**common)
    adamw = optimizers.AdamW(**common, weight_decay=WEIGHT_DECAY)
    adamw.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return adamw


@contextmanager
def batches_ahead(
    train: Examples,
    weights: npt.NDArray[np.float64],
    draws: Draws,
    *,
    first: int,
    inside: bool,
    machines: Alone = ALONE,
) -> Iterator[Iterator[tuple[Any, Floats, npt.NDArray[np.float64]]]]:
    """The batches of a training, until the context ends, made beside it a few ahead.

    Not a `keras.utils.PyDataset`: that begins anew with each epoch, and each time the training
    waits for it.

    Args:
        train: what is learned from.
        weights: of each label.
        draws: which images, and how they are changed.
        first: the first epoch, counted from 0.
        inside: as of `make_trainee`.
        machines: who share the batches.

    Returns:
        What `make_trainee` says that it takes, the targets, and each image's weight.
    """
    rows = machines.rows(draws.batch)

    def batch(index: int) -> tuple[Any, Floats, npt.NDArray[np.float64]]:
        draw = draws.draw(*divmod(index, draws.steps))
        targets = draw.targets(train.truth, len(weights))[rows]
        if inside:
            given: Any = draw.some(rows).inputs(train.tensors)
        else:
            given = changed(draw, train.tensors, rows)
        return given, targets, targets @ weights

    indices = itertools.count(first * draws.steps)
    with ThreadPoolExecutor(WORKERS, "batches") as workers:
        ahead = deque(workers.submit(batch, next(indices)) for _ in range(AHEAD))
        ended = threading.Event()

        def batches() -> Iterator[tuple[Any, Floats, npt.NDArray[np.float64]]]:
            # TensorFlow never lets go of a generator, and asks it for more than it trains on.
            while not ended.is_set():
                yield ahead.popleft().result()
                try:
                    ahead.append(workers.submit(batch, next(indices)))
                except RuntimeError:
                    if not ended.is_set():  # else the context ended just now
                        raise

        try:
            yield batches()
        finally:
            ended.set()
