"""What is learned from, and what a network says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from lineside_train.backend import load_keras

PREDICT_BATCH: Final = 64


Tensors = npt.NDArray[np.uint8]


class Images(Protocol):
    """uint8, n x height x width x channels: an array, or some rows of one that lies on a disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: slice | npt.NDArray[np.int64], /) -> Tensors: ...


class Rows:
    """Some rows of an array: `Images`, none of which is read before it is asked for."""

    def __init__(self, tensors: Images, rows: npt.NDArray[np.int64]) -> None:
        self._tensors = tensors
        self._rows = rows

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""
        return (len(self._rows), *self._tensors.shape[1:])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, chosen: slice | npt.NDArray[np.int64]) -> Tensors:
        return np.asarray(self._tensors[self._rows[chosen]])


@dataclass(frozen=True, eq=False)
class Examples:
    """Images and their labels.

    Attributes:
        tensors: uint8, n x height x width x channels.
        truth: int64, n indices into the labels.
    """

    tensors: Images
    truth: npt.NDArray[np.int64]


def label_weights(
    truth: npt.NDArray[np.int64], labels: int, *, balance: bool
) -> npt.NDArray[np.float64]:
    """What an image of each label weighs in a loss: n / (labels * n of the label), or 1.

    Args:
        truth: n indices of the true label; each label has an image.
        labels: how many there are.
        balance: whether each label counts the same, however many images it has.
    """
    if not balance:
        return np.ones(labels)
    return np.asarray(len(truth) / (labels * np.bincount(truth, minlength=labels)))


def predict(network: Any, tensors: Images) -> npt.NDArray[np.float32]:  # noqa: ANN401
    """What a network gives for images.

    The last batch is filled up, so that the network is compiled for few sizes.

    Args:
        network: a Keras model of one input and one output.
        tensors: uint8, n x height x width x channels; n may be 0.

    Returns:
        float32, n x whatever the network gives; of one that ends in logits: n x labels.
    """
    convert = load_keras().ops.convert_to_numpy
    found = np.empty((len(tensors), *network.output_shape[1:]), np.float32)
    size = min(PREDICT_BATCH, 1 << max(0, len(tensors) - 1).bit_length())
    for start in range(0, len(tensors), PREDICT_BATCH):
        batch = tensors[start : start + PREDICT_BATCH].astype(np.float32)
        rest = len(batch)
        if rest < size:
            batch = np.pad(batch, ((0, size - rest), *[(0, 0)] * (batch.ndim - 1)))
        found[start : start + rest] = convert(network.predict_on_batch(batch))[:rest]
    return found
