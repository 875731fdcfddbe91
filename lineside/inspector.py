"""From a frame to a verdict: a bundle, loaded. Used by inspect, evaluate and the agent."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from lineside.bundle import Bundle
from lineside.decision import Answer, Decision
from lineside.errors import EngineError
from lineside.image import Box, Frame, as_decoded, to_tensor
from lineside.manifest import LimitSpec, ModelInput, ModelOutput
from lineside.messages import ModelRef
from lineside.outputs import KINDS, to_logits
from lineside.runtime import TensorInfo, open_engine
from lineside.runtime.engine import Tensor
from lineside.runtime.feed import make_feed


class Inspection(Struct, frozen=True):
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
        source, output = manifest.model.inputs[0], manifest.model.outputs[0]
        self.bundle = bundle
        self.engine = open_engine(bundle.model, threads=threads, runtime=runtime)
        self._output_info = _check_tensors(source, output, self.engine.inputs, self.engine.outputs)
        self._output = output
        self._feed = make_feed(source)
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

    def tensor(
        self, frame: Frame, roi: Box | None = None, reduced: int | None = None
    ) -> npt.NDArray[np.uint8]:
        """What the model sees of a frame: raw pixels, uint8, h x w x channels.

        Args:
            frame: uint8, height x width x 3, BGR.
            roi: the station's region: x, y, width, height in pixels of the whole picture.
            reduced: what the frame's sides were divided by already: 1 for one of a camera that
                gives no JPEG. None: as the bundle says, since `decode` was told so.

        Raises:
            ImageError: the region or the bundle's crop reaches outside the frame, or it is smaller
                than the bundle says.
        """
        how = self._preprocess.decode
        part = as_decoded(frame, how, roi=roi, reduced=how.reduce if reduced is None else reduced)
        return to_tensor(part, self._preprocess, self._size)

    def outputs(self, tensor: npt.NDArray[np.uint8]) -> Tensor:
        """The model's answer as stored: all values of its output, quantized where it is.

        Args:
            tensor: raw pixels, as `tensor` gives them; what the model is fed is made of them here.

        Raises:
            EngineError: another shape than the model's, or the engine fails.
        """
        return self.engine.invoke(self._feed(tensor))[self._output.tensor].reshape(-1)

    def logits(self, tensor: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """The model's answer: one logit for each label.

        Raises:
            EngineError: another shape than the model's, or the engine fails.
        """
        return self.logits_of(self.outputs(tensor))

    def logits_of(self, outputs: Tensor) -> npt.NDArray[np.float64]:
        """The logits, one for each label, that stored outputs stand for."""
        return to_logits(self._output_info.dequantize(outputs), self._output.kind)

    def decide(self, logits: npt.NDArray[np.float64]) -> Answer:
        """The verdict for the logits of one picture."""
        return self._decision(logits)

    def set_limits(self, review: float | None, ng: float | None) -> None:
        """Decide by other limits than the bundle's from now on; one that is None is not used."""
        spec = msgspec.structs.replace(self._decision.spec, limits=LimitSpec(review=review, ng=ng))
        self._decision = Decision(spec, self._decision.labels)

    def inspect(
        self, frame: Frame, roi: Box | None = None, reduced: int | None = None
    ) -> Inspection:
        """Look at one frame.

        Args:
            frame: uint8, height x width x 3, BGR.
            roi: the station's region: x, y, width, height in pixels of the whole picture.
            reduced: as for `tensor`.

        Raises:
            ImageError: the region or the bundle's crop reaches outside the frame, or it is smaller
                than the bundle says.
            EngineError: the engine fails.
        """
        start = time.perf_counter_ns()
        tensor = self.tensor(frame, roi, reduced)
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
    """Refuse a model that is not as its manifest says, and outputs that this version can't read.

    Returns:
        The output that holds the answer.
    """
    if output.kind not in KINDS:
        msg = f"outputs of the kind {output.kind!r} are not known here: one of {', '.join(KINDS)}"
        raise EngineError(msg + " is expected; update lineside")
    if len(inputs) != 1 or source.tensor != 0 or output.tensor >= len(outputs):
        found = f"{len(inputs)} inputs and {len(outputs)} outputs"
        msg = f"the model file has {found}, which is not as the manifest says"
        raise EngineError(msg)
    _compare("input", source, inputs[0])
    _compare("output", output, outputs[output.tensor])
    return outputs[output.tensor]


def _compare(what: str, expected: ModelInput | ModelOutput, found: TensorInfo) -> None:
    wanted = TensorInfo(tuple(expected.shape), expected.dtype, expected.scale, expected.zero_point)
    if wanted != found and not _is_alike(wanted, found):
        msg = f"the model file's {what} is not as the manifest says: expected {wanted}, got {found}"
        raise EngineError(msg)


def _is_alike(wanted: TensorInfo, found: TensorInfo) -> bool:
    """The same but for the last digits of the scale."""
    if found.dtype == "uint8" and not found.scale:
        # An integer input that was never quantized: Keras's Input(dtype="uint8").
        found = replace(found, scale=1.0, zero_point=0)
    return replace(wanted, scale=found.scale) == found and math.isclose(
        wanted.scale, found.scale, rel_tol=1e-6
    )
