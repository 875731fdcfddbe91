"""A run as something that scores images, for `lineside evaluate RUN DATA`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lineside.errors import RunError
from lineside.image import Preprocess
from lineside.manifest import Label
from lineside.run import Run, open_run
from lineside_train.backend import load_keras
from lineside_train.fitting.examples import predict
from lineside_train.networks import without_head


class RunPredictor:
    """The trained Keras model of a run.

    Attributes:
        decision: as the training chose it; a converted model has its own.
    """

    def __init__(self, run: Run, network: Any) -> None:  # noqa: ANN401 - Keras ships no types
        self._run = run
        self._network = network
        self.decision = run.metrics.decision

    @property
    def network(self) -> Any:  # noqa: ANN401 - Keras ships no types
        """The Keras model: float32 pixels in, logits out."""
        return self._network

    @property
    def labels(self) -> tuple[Label, ...]:
        """In the order of the logits' columns."""
        return tuple(self._run.info.labels)

    @property
    def preprocess(self) -> Preprocess:
        """How bytes become a tensor."""
        return self._run.info.preprocess

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the model's input, in pixels."""
        return self._run.info.image_size

    def logits(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """What the model says.

        Args:
            tensors: uint8, n x height x width x channels.

        Returns:
            float32, n x labels.
        """
        return predict(self._network, tensors)

    def embedding(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """What the last layer decides by.

        Args:
            tensors: uint8, n x height x width x channels.

        Returns:
            float32, n x f.
        """
        return predict(without_head(self._network), tensors)


def open_run_predictor(path: Path) -> RunPredictor:
    """Open a run folder and load its model.

    Raises:
        RunError: the run or its model is missing or damaged.
        MissingExtraError: Keras is not installed.
    """
    run = open_run(path)
    keras = load_keras()
    try:
        network = keras.models.load_model(run.model_path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        msg = f"{run.model_path} can't be loaded: {reason}; train it again"
        raise RunError(msg) from error
    expected = (*run.info.image_size, run.info.preprocess.channels)
    if network.input_shape[1:] != expected or network.output_shape[-1] != len(run.info.labels):
        msg = (
            f"{run.model_path} does not fit its run.json: input {expected} and "
            f"{len(run.info.labels)} labels are expected, got {network.input_shape[1:]} "
            f"and {network.output_shape[-1]}"
        )
        raise RunError(msg)
    return RunPredictor(run, network)
