"""What is trained beside the run's own model, only to measure: folds, and the learning curve."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineside.errors import TrainError
from lineside.run import CurveMetrics, FoldMetrics
from lineside_train.curve import learn_curve
from lineside_train.fitting.examples import Examples, Rows, predict
from lineside_train.fitting.fit import Trained
from lineside_train.folds import cross_validate
from lineside_train.task import Material, Task


@dataclass(frozen=True)
class Besides:
    """What other trainings say.

    Attributes:
        folds: None where it was not asked for, or given up.
        curve: the same.
        notices: what was given up, a line each.
    """

    folds: FoldMetrics | None
    curve: CurveMetrics | None
    notices: tuple[str, ...]


def measure_besides(
    task: Task,
    material: Material,
    trained: Trained,
    tensors: npt.NDArray[np.uint8],
    stop: threading.Event,
) -> Besides:
    """Train the models that were asked for besides; none of them changes the run's own.

    Args:
        task: what was asked for.
        material: the photos, and how they are divided.
        trained: the run's own model.
        tensors: of all photos: uint8, n x height x width x channels.
        stop: once set, what is left is given up.

    Raises:
        TrainError: a training failed.
    """
    curve, folds = None, None
    try:
        if material.subsets and not stop.is_set():
            train, val = (material.examples(part, tensors) for part in ("train", "val"))
            last = predict(trained.network, val.tensors)
            curve = learn_curve(material.subsets, train, val, last, task.options, stop)
        if material.folds and not stop.is_set():
            index = {label.name: k for k, label in enumerate(material.labels)}
            truth = np.array([index[row.label] for row in material.rows], np.int64)
            every = Examples(Rows(tensors, np.arange(len(truth))), truth)
            folds = cross_validate(
                material.folds, every, material.labels, task.options, task.rules, stop
            )
    except TrainError:
        if not stop.is_set():
            raise
    asked = (
        ("learning curve", bool(material.subsets), curve),
        ("cross-validation", bool(material.folds), folds),
    )
    notices = tuple(
        f"the {name} was stopped before its end: there are no figures of it"
        for name, was_asked, found in asked
        if was_asked and found is None
    )
    return Besides(folds, curve, notices)
