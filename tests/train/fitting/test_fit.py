"""Trainings of a few epochs, of real cells."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import numpy as np
import pytest
from typing_extensions import override

from lineside.dataset import load_tensors
from lineside.decision import softmax
from lineside.errors import StorageError, TrainError
from lineside.run import open_run
from lineside_train.fitting.checkpoint import FILE, Checkpoint
from lineside_train.fitting.epochs import Judge
from lineside_train.fitting.examples import Examples, Rows, label_weights, predict
from lineside_train.fitting.fit import Control, train_network
from lineside_train.fitting.probe import fit_head
from lineside_train.fitting.progress import Progress
from lineside_train.networks import build_network
from lineside_train.options import TrainOptions

pytestmark = pytest.mark.train

SIZE = 32


@pytest.fixture(scope="module")
def parts(run_folder: Path) -> dict[str, Examples]:
    run = open_run(run_folder)
    names = [label.name for label in run.info.labels]
    tensors = load_tensors(
        Path(run.info.data_root),
        [row.file for row in run.split],
        run.info.preprocess,
        (SIZE, SIZE),
        what="Reading",
    )
    truth = np.array([names.index(row.label) for row in run.split])
    found = {}
    for part in ("train", "val", "test"):
        rows = np.flatnonzero([row.part == part for row in run.split])
        found[part] = Examples(Rows(tensors, rows), truth[rows])
    return found


def small(**options: object) -> TrainOptions:
    return TrainOptions(**{"image_size": SIZE, "width": 0.5, "epochs": 4, "patience": 9} | options)


class DiskFull(Checkpoint):
    """Keeps the state once; the disk is full the second time."""

    @override
    def save(self, trainee: object, progress: Progress) -> None:
        if (self.folder / FILE).exists():
            msg = "the disk is full"
            raise StorageError(msg)
        super().save(trainee, progress)


@pytest.mark.parametrize("options", [{}, {"optimizer": "sgd"}, {"mix": "mixup"}])
def test_a_training_that_died_goes_on_as_if_it_never_had(
    parts: dict[str, Examples], tmp_path: Path, options: dict[str, object]
) -> None:
    how = small(**options)
    whole = train_network(parts["train"], parts["val"], 2, how)
    with pytest.raises(StorageError, match="the disk is full"):
        train_network(parts["train"], parts["val"], 2, how, Control(DiskFull(tmp_path)))
    resumed = train_network(parts["train"], parts["val"], 2, how, Control(Checkpoint(tmp_path)))
    assert resumed.ended == whole.ended == "all"
    assert resumed.history == whole.history
    for one, other in zip(resumed.network.weights, whole.network.weights, strict=True):
        assert np.array_equal(one.numpy(), other.numpy())


def test_a_training_that_is_done_is_not_done_again(
    parts: dict[str, Examples], tmp_path: Path
) -> None:
    control = Control(Checkpoint(tmp_path))
    first = train_network(parts["train"], parts["val"], 2, small(epochs=1), control)
    again = train_network(parts["train"], parts["val"], 2, small(epochs=1), control)
    assert (again.seconds, again.history) == (first.seconds, first.history)
    assert not [one for one in threading.enumerate() if one.name.startswith("batches")]
    test = parts["test"].tensors
    assert np.array_equal(predict(first.network, test), predict(again.network, test))


def test_a_loss_that_becomes_no_number_keeps_the_best_so_far(
    parts: dict[str, Examples], tmp_path: Path
) -> None:
    tame, wild = (small(optimizer="sgd", learning_rate=rate) for rate in (None, 1e38))
    with pytest.raises(StorageError):
        train_network(parts["train"], parts["val"], 2, tame, Control(DiskFull(tmp_path)))
    found = train_network(parts["train"], parts["val"], 2, wild, Control(Checkpoint(tmp_path)))
    steps = len(parts["train"].truth) // 32
    assert found.ended == "not finite"
    assert re.fullmatch(
        r"the loss is no number any more at step (\d+) \(epoch 2\): try a smaller "
        r"--learning-rate than 1e\+38; the weights after epoch 1 are kept",
        found.notice or "",
    )
    step = int(re.findall(r"step (\d+)", found.notice or "")[0])
    assert steps < step <= 2 * steps
    assert len(found.history["loss"]) == 1
    assert np.isfinite(predict(found.network, parts["test"].tensors)).all()


def test_nothing_is_kept_of_a_training_that_is_stopped_in_its_first_epoch(
    parts: dict[str, Examples],
) -> None:
    control = Control()
    control.stop.set()
    with pytest.raises(TrainError, match="stopped by hand in epoch 1; there is nothing to keep"):
        train_network(parts["train"], parts["val"], 2, small(), control)


def test_smoothing_changes_what_is_minimized(parts: dict[str, Examples]) -> None:
    losses = [
        train_network(parts["train"], parts["val"], 2, small(epochs=1, **options)).history["loss"]
        for options in ({}, {"smoothing": 0.2})
    ]
    assert len({round(loss[0], 4) for loss in losses}) == 2


def test_the_last_layer_weighs_labels_as_the_training_does(parts: dict[str, Examples]) -> None:
    rare = np.flatnonzero(parts["train"].truth == 0)[:8]
    rows = np.concatenate([rare, np.flatnonzero(parts["train"].truth == 1)])
    few = Examples(parts["train"].tensors[rows], parts["train"].truth[rows])
    network = build_network(small(), 1, 2)

    def called_rare(*, balance: bool) -> int:
        fit_head(network, few, parts["val"], label_weights(few.truth, 2, balance=balance))
        return int((predict(network, parts["test"].tensors).argmax(axis=1) == 0).sum())

    assert called_rare(balance=True) > called_rare(balance=False)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_the_precision_gives_a_network_of_whole_precision(
    parts: dict[str, Examples], tmp_path: Path, precision: str
) -> None:
    how = small(precision=precision)
    with pytest.raises(StorageError):
        train_network(parts["train"], parts["val"], 2, how, Control(DiskFull(tmp_path)))
    resumed = train_network(parts["train"], parts["val"], 2, how, Control(Checkpoint(tmp_path)))
    network = resumed.network
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    assert {variable.dtype for variable in network.weights} == {"float32"}
    assert resumed.history["loss"][-1] < resumed.history["loss"][0]
    # What val said in half the precision is what the whole network says, nearly.
    judge = Judge(network, parts["val"], np.ones(2))
    assert judge.figures()["val_loss"] == pytest.approx(min(resumed.history["val_loss"]), abs=0.05)
    whole = train_network(parts["train"], parts["val"], 2, small(epochs=1))
    assert whole.history["loss"][0] != resumed.history["loss"][0]


def test_labels_weigh_the_same_unless_told_otherwise(parts: dict[str, Examples]) -> None:
    rare = np.flatnonzero(parts["train"].truth == 0)[:10]
    often = np.flatnonzero(parts["train"].truth == 1)
    rows = np.concatenate([rare, often])
    few = Examples(parts["train"].tensors[rows], parts["train"].truth[rows])
    said = [
        predict(
            train_network(few, parts["val"], 2, small(balance=balance)).network,
            parts["test"].tensors,
        ).argmax(axis=1)
        for balance in (True, False)
    ]
    assert (said[0] == 0).sum() > (said[1] == 0).sum()


def test_the_last_layer_is_fitted_in_closed_form(parts: dict[str, Examples]) -> None:
    network = build_network(small(), 1, 2)
    before = predict(network, parts["train"].tensors)
    body = [layer.get_weights() for layer in network.layers if layer.name != "logits"]
    fit_head(network, parts["train"], parts["val"], np.ones(2))
    truth = parts["train"].truth
    after = predict(network, parts["train"].tensors)

    def loss(logits: np.ndarray) -> float:
        p = softmax(logits)
        return float(-np.log(p[np.arange(len(truth)), truth]).mean())

    assert loss(after) < min(np.log(2), loss(before))
    now = [layer.get_weights() for layer in network.layers if layer.name != "logits"]
    for one, other in zip(body, now, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
