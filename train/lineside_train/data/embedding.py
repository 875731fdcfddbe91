"""What the network of a run sees of photos, before it decides. Needs Keras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from lineside.dataset import Dataset, load_tensors
from lineside.progress import working
from lineside_train.predictor import open_run_predictor


def embed(run: Path, dataset: Dataset) -> npt.NDArray[np.float32]:
    """The input of the run's last layer, for each photo.

    Args:
        run: the run folder.
        dataset: the photos; their labels need not be the run's.

    Returns:
        float32, n x f.

    Raises:
        RunError: the run or its model is missing or damaged.
        DatasetError: a photo has changed since it was read.
        MissingExtraError: Keras is not installed.
    """
    with working("Loading the model"):
        predictor = open_run_predictor(run)
    tensors = load_tensors(
        dataset.root,
        [photo.file for photo in dataset.photos],
        predictor.preprocess,
        predictor.image_size,
        what="Reading the images",
        sha256=[photo.sha256 for photo in dataset.photos],
    )
    return predictor.embedding(tensors)
