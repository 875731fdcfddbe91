"""One training from start to end: a folder of photos in, a run folder out."""

from __future__ import annotations

from dataclasses import replace

from lineside_train.besides import measure_besides
from lineside_train.fitting.fit import Control, train_network
from lineside_train.fitting.machines import ALONE, Alone
from lineside_train.outcome import Outcome, measure, report_run
from lineside_train.stopping import stop_on_interrupt
from lineside_train.task import Material, Task, all_examples, identity
from lineside_train.unfinished import under_way


def train_run(task: Task, material: Material, machines: Alone = ALONE) -> Outcome:
    """Train, measure and write the run.

    `val` chooses the weights; `test` is measured once, at the end.

    Args:
        task: what was asked for.
        material: the photos.
        machines: who share the training; this is the first of them, and all else is its own.

    Raises:
        DatasetError: a photo has changed since it was read.
        TrainError: the training failed.
        StorageError: the run can't be written: nothing is left of it, but a training that had
            come far enough can be gone on with.
    """
    tensors, examples = all_examples(task, material)
    with under_way(task.out, identity(task, material), resume=task.resume) as checkpoint:
        control = Control(checkpoint, machines=machines)
        with stop_on_interrupt(control.stop):
            trained = train_network(
                examples["train"], examples["val"], len(material.labels), task.options, control
            )
            machines.leave()
            besides = measure_besides(task, material, trained, tensors, control.stop)
        outcome = measure(task, material, trained, examples, besides)
        if control.stop.is_set():
            outcome = replace(outcome, ended="stopped")
    report_run(task, material, trained, examples, outcome.run)
    return outcome
