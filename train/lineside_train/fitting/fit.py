"""Training: arrays in, a trained network out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from lineside.errors import TrainError
from lineside.extras import quiet_native
from lineside.progress import working
from lineside_train.backend import accelerators, computing_in, load_keras
from lineside_train.fitting.checkpoint import Checkpoint, restored
from lineside_train.fitting.draws import Draws
from lineside_train.fitting.epochs import Ending, Judge, epoch_callback
from lineside_train.fitting.examples import Examples, label_weights
from lineside_train.fitting.machines import ALONE, Alone
from lineside_train.fitting.probe import fit_head
from lineside_train.fitting.progress import Ended, Progress, State
from lineside_train.fitting.teaching import load_teacher
from lineside_train.fitting.trainee import batches_ahead, make_trainee
from lineside_train.networks import build_network
from lineside_train.options import TrainOptions
from lineside_train.progress import epoch_progress


@dataclass(frozen=True)
class Control:
    """What reaches into a training from outside.

    Attributes:
        checkpoint: where the state is kept between epochs, and what is there is gone on from.
        stop: once set, the training ends after the batch, with the best weights so far.
        enough: asked after each epoch, with how many there may be, whether the training shall end.
        machines: who share the training; the state is kept by the first one alone.
    """

    checkpoint: Checkpoint | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    enough: Callable[[State, int], bool] = lambda _state, _epochs: False
    machines: Alone = ALONE


@dataclass(frozen=True, eq=False)
class Trained:
    """What came out.

    Attributes:
        network: the Keras model, with the weights of the best epoch.
        history: for each epoch one value, as Keras names them: `loss`, `val_loss`…
        seconds: how long the epochs took.
        ended: why it ended.
        notice: what a person must know of how it ended, one line; None where all is well.
    """

    network: Any
    history: dict[str, list[float]]
    seconds: float
    ended: Ended
    notice: str | None


def train_network(
    train: Examples,
    val: Examples,
    labels: int,
    options: TrainOptions,
    control: Control | None = None,
) -> Trained:
    """Train a network on `train`, keeping the weights that do best on `val`.

    Labels are weighted so that each counts the same, n / (labels * n of the label), unless the
    options say otherwise. Where the network starts from trained weights, its last layer is fitted
    first, in closed form.

    Args:
        train: what is learned from; each label has an image at least.
        val: what the best epoch is chosen by: the one with the lowest weighted loss.
        labels: how many there are.
        options: how.
        control: to stop it, and to go on with it; None: neither.

    Raises:
        TrainError: the weights to start from, or the teacher, don't fit; or there is nothing to
            keep, because the loss was no number, or the training was stopped, before the first
            epoch was done.
        StorageError: the checkpoint is damaged or can't be written.
    """
    keras = load_keras()
    with quiet_native():  # for jax it loads TensorFlow as well, where that is installed
        keras.utils.set_random_seed(options.seed)
    control = control or Control()
    _, height, width, channels = train.tensors.shape
    with computing_in(options.precision):
        network = build_network(options, channels, labels)
    draws = Draws(len(train.truth), (height, width), options)
    epochs = options.total_epochs(draws.steps)
    weights = label_weights(train.truth, labels, balance=options.balance)
    inside = bool(accelerators())
    machines = control.machines
    folder = control.checkpoint.folder if control.checkpoint else None
    kept = machines.first(control.checkpoint.read() if control.checkpoint else b"")
    if not kept and options.weights is not None and machines.index == 0:
        with working("Fitting the last layer"):
            fit_head(network, train, val, weights)
    learner = machines.spread(network)
    judge = Judge(network, val, weights, machines, learner)
    teacher = machines.spread(load_teacher(options.teacher, network)) if options.teacher else None
    with computing_in(options.precision), machines.scope():
        trainee = make_trainee(learner, draws, epochs, inside=inside, teacher=teacher)
        progress = restored(kept, trainee, folder) if kept else Progress()
    if not kept and options.weights is not None:
        judge.keep_if_best(progress, judge.figures()["val_loss"])
    if progress.state.ended is None:
        ending = Ending(
            options.total_patience(epochs),
            draws.steps,
            control.stop,
            lambda state: control.enough(state, epochs),
        )
        feed = batches_ahead(
            train, weights, draws, first=progress.epochs, inside=inside, machines=machines
        )
        said = epoch_progress(epochs, draws.steps, done=progress.epochs, quiet=machines.index > 0)
        with said as shown, feed as batches, machines.scope():
            trainee.fit(
                batches,
                shuffle=False,  # they come shuffled
                steps_per_epoch=draws.steps,
                initial_epoch=progress.epochs,
                epochs=epochs,
                callbacks=[epoch_callback(progress, judge, ending, control.checkpoint), shown],
                verbose=0,
            )
        if progress.epochs == epochs and not progress.state.ended:
            progress.state.ended = "all"
        if control.checkpoint is not None and progress.best is not None:
            control.checkpoint.save(trainee, progress)
    return _trained(network, progress, options, draws.steps)


def _trained(network: Any, progress: Progress, options: TrainOptions, steps: int) -> Trained:  # noqa: ANN401
    """The network with its best weights, computing in float32."""
    state, notice = progress.state, None
    kept = f"the weights after epoch {state.best_epoch} are kept"
    if state.ended == "not finite":
        step = state.broken_step or 0
        notice = (
            f"the loss is no number any more at step {step} (epoch {-(-step // steps)}): try a "
            f"smaller --learning-rate than {options.peak_learning_rate:g}"
        )
    elif state.ended == "stopped":
        notice = f"stopped by hand in epoch {progress.epochs + 1}"
    if progress.best is None:
        msg = f"{notice}; there is nothing to keep yet"
        raise TrainError(msg)
    if network.dtype_policy.compute_dtype != "float32":
        fresh = msgspec.structs.replace(options, weights=None)
        network = build_network(fresh, network.input_shape[-1], network.output_shape[-1])
    network.set_weights(progress.best)
    return Trained(
        network,
        state.history,
        state.seconds,
        state.ended or "all",
        notice and f"{notice}; {kept}",
    )
