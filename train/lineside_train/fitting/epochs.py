"""What happens between epochs: val is asked, the best weights and the state are kept."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lineside.decision import softmax
from lineside_train.backend import load_keras
from lineside_train.fitting.checkpoint import Checkpoint
from lineside_train.fitting.examples import Examples, predict
from lineside_train.fitting.progress import Progress, State


@dataclass(frozen=True, eq=False)
class Judge:
    """What an epoch is judged by.

    Attributes:
        network: gives logits; shares its weights with what is trained.
        val: images and labels.
        weights: of each label, so that each counts the same.
    """

    network: Any
    val: Examples
    weights: npt.NDArray[np.float64]

    def figures(self) -> dict[str, float]:
        """Weighted cross entropy and accuracy on val, as `val_loss` and `val_accuracy`.

        The loss is the sum over the number of images, not over the weights, as Keras has it.
        """
        probabilities = softmax(predict(self.network, self.val.tensors))
        own = probabilities[np.arange(len(self.val.truth)), self.val.truth]
        weight = self.weights[self.val.truth]
        right = probabilities.argmax(axis=1) == self.val.truth
        loss = weight * -np.log(np.maximum(own, np.finfo(np.float32).tiny))
        return {
            "val_loss": float(loss.mean()),
            "val_accuracy": float(np.average(right, weights=weight)),
        }

    def keep_if_best(self, progress: Progress, loss: float) -> None:
        """Keep the weights if the loss on val is the lowest so far."""
        state = progress.state
        if state.best_loss is None or loss < state.best_loss:
            state.best_loss, state.best_epoch = loss, progress.epochs
            progress.best = self.network.get_weights()


@dataclass(frozen=True, eq=False)
class Ending:
    """When a training ends.

    Attributes:
        patience: epochs to go on without a lower loss on val.
        steps: in one epoch.
        stop: once set, it ends after the batch.
        enough: asked after each epoch whether it shall end.
    """

    patience: int
    steps: int
    stop: threading.Event
    enough: Callable[[State], bool]


class _Epochs:
    """What `keras.callbacks.Callback` lacks; it is mixed in when Keras is loaded."""

    # Keras may call on_train_batch_end from another thread: the next step doesn't wait for it.
    async_safe = True
    model: Any

    def __init__(
        self, progress: Progress, judge: Judge, ending: Ending, checkpoint: Checkpoint | None
    ) -> None:
        super().__init__()
        self._progress = progress
        self._judge = judge
        self._ending = ending
        self._checkpoint = checkpoint
        self._began = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float]) -> None:  # noqa: ARG002 - Keras'
        if self._checkpoint is not None and self._progress.epochs:
            self._checkpoint.save(self.model, self._progress)
        self._began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        state = self._progress.state
        # The loss is a mean since the epoch began: once it is no number, it stays so.
        if not math.isfinite(logs["loss"]):
            step = self._progress.epochs * self._ending.steps + batch + 1
            state.broken_step = min(step, state.broken_step or step)
        if state.broken_step is not None or self._ending.stop.is_set():
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        state = self._progress.state
        if state.broken_step is not None:
            state.ended = "not finite"
        elif self._ending.stop.is_set():
            state.ended = "stopped"  # in the middle of an epoch, which does not count
        else:
            logs |= self._judge.figures()
            self._judged(epoch + 1, logs)
        state.seconds += time.monotonic() - self._began
        if state.ended is not None:
            self.model.stop_training = True

    def _judged(self, epochs: int, logs: dict[str, float]) -> None:
        state = self._progress.state
        if not math.isfinite(logs["val_loss"]):
            state.broken_step, state.ended = epochs * self._ending.steps, "not finite"
            return
        for name, value in logs.items():
            state.history.setdefault(name, []).append(float(value))
        self._judge.keep_if_best(self._progress, logs["val_loss"])
        if epochs - state.best_epoch >= self._ending.patience:
            state.ended = "no better"
        elif self._ending.enough(state):
            state.ended = "given up"


def epoch_callback(
    progress: Progress, judge: Judge, ending: Ending, checkpoint: Checkpoint | None
) -> Any:  # noqa: ANN401 - Keras ships no types
    """The Keras callback that fills `progress` and ends the training.

    Args:
        progress: is written to.
        judge: says how good an epoch was.
        ending: says when it is enough.
        checkpoint: where the state is kept before each epoch but the first.
    """

    class Epochs(_Epochs, load_keras().callbacks.Callback):  # type: ignore[misc]
        """Both."""

    return Epochs(progress, judge, ending, checkpoint)
