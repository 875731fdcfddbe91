"""From a frame to a verdict: a bundle, loaded. Used by inspect, evaluate and the agent."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineside.bundle import Bundle
from lineside.decision import Answer, Decision
from lineside.errors import EngineError
from lineside.image import Box, Frame, crop_to, to_tensor
from lineside.manifest import ModelInput, ModelOutput
from lineside.messages import ModelRef
from lineside.runtime import TensorInfo, open_engine
from lineside.runtime.engine import Tensor


@dataclass(frozen=True)
class Inspection:
    """What one frame gave.

    Attributes:
        answer: the verdict and why.
        preprocess_ms: from the frame to the tensor, in milliseconds.
        invoke_ms: from the tensor to the outputs, in milliseconds.
    """

    answer: Answer
    preprocess_ms: float
    invoke_ms: float


class Inspector:
    """A bundle's model, loaded, with its way in and its way out. Not for several threads at once.

    Args:
        bundle: as `lineside.bundle.open_bundle` gives it. A model that nobody has tried on this
            machine can crash the process: see `lineside.runtime.trial`.
        threads: how many CPU threads one inference may use.
        runtime: which engine; the best one that is installed if None.

    Raises:
        MissingExtraError: no engine is installed.
        EngineError: the engine refuses the model, or the model is not as the manifest says.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1, runtime: str | None = None) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self.engine = open_engine(bundle.model, threads=threads, runtime=runtime)
        self._output = manifest.model.outputs[0]
        self._output_info = _check_tensors(
            manifest.model.inputs[0], self._output, self.engine.inputs, self.engine.outputs
        )
        self._preprocess = manifest.preprocess
        self._size = manifest.input_size
        self._decision = Decision(manifest.decision, manifest.labels)

    @property
    def model_ref(self) -> ModelRef:
        """What messages call this model."""
        manifest = self.bundle.manifest
        return ModelRef(
            role=manifest.model.role,
            name=manifest.name,
            version=manifest.version,
            digest=self.bundle.digest,
        )

    def tensor(self, frame: Frame, roi: Box | None = None) -> npt.NDArray[np.uint8]:
        """What the model sees of a frame: uint8, h x w x channels.

        Args:
            frame: uint8, height x width x 3, BGR.
            roi: the station's region: x, y, width, height in pixels of the frame.

        Raises:
            ImageError: the region or the bundle's crop reaches outside the frame.
        """
        part = frame if roi is None else crop_to(frame, roi)
        return to_tensor(part, self._preprocess, self._size)

    def outputs(self, tensor: npt.NDArray[np.uint8]) -> Tensor:
        """The model's answer as stored: one value for each label, quantized where it is.

        Raises:
            EngineError: another shape than the model's, or the engine fails.
        """
        return self.engine.invoke(tensor)[self._output.tensor].reshape(-1)

    def logits(self, tensor: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """The model's answer: one logit for each label.

        Raises:
            EngineError: another shape than the model's, or the engine fails.
        """
        return self.dequantize(self.outputs(tensor))

    def dequantize(self, outputs: Tensor) -> npt.NDArray[np.float64]:
        """The logits that stored outputs stand for."""
        return self._output_info.dequantize(outputs)

    def decide(self, logits: npt.NDArray[np.float64]) -> Answer:
        """The verdict for the logits of one picture."""
        return self._decision(logits)

    def inspect(self, frame: Frame, roi: Box | None = None) -> Inspection:
        """Look at one frame.

        Args:
            frame: uint8, height x width x 3, BGR.
            roi: the station's region: x, y, width, height in pixels of the frame.

        Raises:
            ImageError: the region or the bundle's crop reaches outside the frame.
            EngineError: the engine fails.
        """
        start = time.perf_counter_ns()
        tensor = self.tensor(frame, roi)
        prepared = time.perf_counter_ns()
        logits = self.logits(tensor)
        done = time.perf_counter_ns()
        return Inspection(self.decide(logits), (prepared - start) / 1e6, (done - prepared) / 1e6)


def _check_tensors(
    source: ModelInput,
    output: ModelOutput,
    inputs: tuple[TensorInfo, ...],
    outputs: tuple[TensorInfo, ...],
) -> TensorInfo:
    """Refuse a model that is not as its manifest says, and what this version can't feed.

    Returns:
        The output that holds the logits.
    """
    raw = source.dtype == "uint8" and source.layout == "nhwc" and source.normalization is None
    if not raw or output.kind != "class_logits":
        found = f"{source.dtype} {source.layout} in, {output.kind} out"
        msg = f"raw uint8 pixels in (nhwc) and class_logits out are expected, got {found}"
        raise EngineError(msg + "; update lineside")
    if len(inputs) != 1 or source.tensor != 0 or output.tensor >= len(outputs):
        found = f"{len(inputs)} inputs and {len(outputs)} outputs"
        msg = f"the model file has {found}, which is not as the manifest says"
        raise EngineError(msg)
    _compare("input", source, inputs[0])
    _compare("output", output, outputs[output.tensor])
    return outputs[output.tensor]


def _compare(what: str, expected: ModelInput | ModelOutput, found: TensorInfo) -> None:
    wanted = TensorInfo(tuple(expected.shape), expected.dtype, expected.scale, expected.zero_point)
    close = abs(wanted.scale - found.scale) <= 1e-6 * max(wanted.scale, found.scale)
    same = wanted.shape == found.shape and wanted.dtype == found.dtype
    if not same or not close or wanted.zero_point != found.zero_point:
        msg = f"the model file's {what} is not as the manifest says: expected {wanted}, got {found}"
        raise EngineError(msg)
