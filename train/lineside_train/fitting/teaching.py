"""A large network teaches a small one: knowledge distillation.

The small one is to answer as the large one does, of the same changed images (Hinton et al.,
Distilling the Knowledge in a Neural Network, 2015; Beyer et al., Knowledge distillation: A good
teacher is patient and consistent, CVPR 2022). With p and q the softmax of both logits divided by
the temperature T,

    loss = (1 - SHARE) * loss of the labels + SHARE * T^2 * KL(p of the teacher || q of the student)
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Final

from lineside.errors import TrainError
from lineside.run import open_run
from lineside_train.backend import load_keras
from lineside_train.predictor import open_run_predictor

SHARE: Final = 0.5
TEMPERATURE: Final = 2.0


def load_teacher(path: str, network: Any) -> Any:  # noqa: ANN401 - Keras ships no types
    """The model of a run, as a teacher.

    Args:
        path: of the run.
        network: that it will teach.

    Raises:
        RunError: it is no run, or damaged.
        TrainError: it sees other colours or knows other labels.
    """
    teacher = open_run_predictor(Path(path)).network
    seen, said = teacher.input_shape[-1], teacher.output_shape[-1]
    if (seen, said) != (network.input_shape[-1], network.output_shape[-1]):
        msg = (
            f"--teacher {path} sees {seen} channels and knows {said} labels, "
            f"{network.input_shape[-1]} and {network.output_shape[-1]} are expected: "
            "train it on the same photos, with the same --colour"
        )
        raise TrainError(msg)
    # Its own name may be the student's, too.
    return load_keras().Model(teacher.input, teacher.output, name="teacher")


def check_teacher(path: str, split: str) -> None:
    """Refuse a teacher that has learned from photos that are measured on.

    Args:
        path: of its run.
        split: fingerprint of the split.

    Raises:
        RunError: it is no run, or damaged.
        TrainError: it was trained on another split.
    """
    if open_run(Path(path)).info.split != split:
        msg = (
            f"--teacher {path} was trained on another split, and may have learned from photos that "
            f"this one is measured on: give --split {path}/split.csv"
        )
        raise TrainError(msg)


def taught(logits: Any, pixels: Any, teacher: Any) -> Any:  # noqa: ANN401 - Keras ships no types
    """The student's logits, with the loss of not answering as the teacher does.

    Args:
        logits: of the student: n x labels.
        pixels: what it saw: float32, n x height x width x channels, 0 to 255.
        teacher: takes pixels of another size, perhaps, and gives logits of the same labels; it is
            frozen.
    """
    keras = load_keras()
    teacher.trainable = False
    height, width = teacher.input_shape[1:3]
    if (height, width) != tuple(pixels.shape[1:3]):
        pixels = keras.layers.Resizing(height, width, interpolation="bilinear")(pixels)
    return _listen()()([logits, teacher(pixels, training=False)])


@functools.cache
def _listen() -> Any:  # noqa: ANN401 - a class, but its base is loaded late
    keras = load_keras()
    ops = keras.ops

    class Listen(keras.layers.Layer):  # type: ignore[misc,name-defined] # no types
        """Gives the first logits as they are, and adds the loss."""

        def call(self, both: list[Any]) -> Any:  # noqa: ANN401
            """Compare a batch."""
            student, teacher = (ops.cast(logits, "float32") / TEMPERATURE for logits in both)
            p = ops.softmax(teacher)
            divergence = ops.sum(p * (ops.log_softmax(teacher) - ops.log_softmax(student)), axis=1)
            self.add_loss(SHARE * TEMPERATURE**2 * ops.mean(divergence))
            return both[0]

    return Listen
