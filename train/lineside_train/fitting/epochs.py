"""What happens between epochs: val is asked, the best weights and the state are kept."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside.decision import softmax
from lineside_train.backend import load_keras
from lineside_train.fitting.checkpoint import Checkpoint
from lineside_train.fitting.examples import Examples, Rows, predict
from lineside_train.fitting.machines import ALONE, Alone
from lineside_train.fitting.progress import Progress, State

VOTE_STEPS: Final = 16
"""Batches after which machines that share a training ask each other whether to stop: it makes them
wait for each other."""


@dataclass(frozen=True, eq=False)
class Judge:
    """What an epoch is judged by.

    Attributes:
        network: gives logits; shares its weights with what is trained.
        val: images and labels.
        weights: of each label, so that each counts the same.
        machines: who share the work; all of them come to the very same figures.
        learner: what has the weights of the training, if that is not the network itself.
    """

    network: Any
    val: Examples
    weights: npt.NDArray[np.float64]
    machines: Alone = ALONE
    learner: Any = None

    def figures(self) -> dict[str, float]:
        """Weighted cross entropy and accuracy on val, as `val_loss` and `val_accuracy`.

        The loss is the sum over the number of images, not over the weights, as Keras has it.
        """
        if self.learner is not None and self.learner is not self.network:
            self.network.set_weights(self.learner.get_weights())
        mine = np.arange(self.machines.index, len(self.val.truth), self.machines.count)
        truth = self.val.truth[mine]
        probabilities = softmax(predict(self.network, Rows(self.val.tensors, mine)))
        own = probabilities[np.arange(len(truth)), truth]
        weight = self.weights[truth]
        right = probabilities.argmax(axis=1) == truth
        loss = weight * -np.log(np.maximum(own, np.finfo(np.float32).tiny))
        sums = np.array([loss.sum(), (right * weight).sum(), weight.sum()], np.float64)
        every = [np.frombuffer(one) for one in self.machines.everyone(sums.tobytes())]
        losses, rights, weights = np.sum(every, axis=0)
        return {
            "val_loss": float(losses / len(self.val.truth)),
            "val_accuracy": float(rights / weights),
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
        self._machines = judge.machines
        self._began = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float]) -> None:  # noqa: ARG002 - Keras'
        if self._checkpoint is not None and self._progress.epochs:
            self._checkpoint.save(self.model, self._progress)
        self._began = time.monotonic()

    def on_train_batch_begin(self, batch: int, logs: dict[str, float]) -> None:  # noqa: ARG002
        if self._machines.count > 1 and batch and batch % VOTE_STEPS == 0 and self._vote():
            self.model.stop_training = True

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        state = self._progress.state
        # The loss is a mean since the epoch began: once it is no number, it stays so.
        if not math.isfinite(logs["loss"]):
            step = self._progress.epochs * self._ending.steps + batch + 1
            state.broken_step = min(step, state.broken_step or step)
        if self._machines.count == 1 and self._vote():
            self.model.stop_training = True

    def _vote(self) -> bool:
        """Whether the epoch shall end now; what one machine has seen, all have seen then.

        Where there are several, it is called by all of them, from the main thread.
        """
        state = self._progress.state
        if self._machines.any(state.broken_step is not None) and state.broken_step is None:
            state.broken_step = (self._progress.epochs + 1) * self._ending.steps
        if self._machines.any(self._ending.stop.is_set()):
            self._ending.stop.set()
        return state.broken_step is not None or self._ending.stop.is_set()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        state = self._progress.state
        self._vote()
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
