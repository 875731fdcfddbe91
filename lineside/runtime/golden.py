"""Golden images: pictures in a bundle whose answers are known, run to see that they come out."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from lineside.image import Decode, Frame, Preprocess, decode
from lineside.inspector import Inspector
from lineside.manifest import Golden


@dataclass(frozen=True)
class GoldenResult:
    """What one golden image gave.

    Attributes:
        file: its name in the bundle.
        expected: the verdict it must get.
        verdict: the verdict it got.
        steps: the largest difference of an output: steps of a quantized one, units of a float.
        max_steps: how large it may be.
        invoke_ms: how long the model took, in milliseconds.
    """

    file: str
    expected: str
    verdict: str
    steps: float
    max_steps: float
    invoke_ms: float

    @property
    def passed(self) -> bool:
        """Same verdict, and no output too far off."""
        return self.verdict == self.expected and self.steps <= self.max_steps

    @override
    def __str__(self) -> str:
        return (
            f"{self.file}: verdict {self.expected} within {self.max_steps:g} steps is expected, "
            f"got {self.verdict} and {self.steps:g} steps"
        )


def golden_frame(name: str, data: bytes, preprocess: Preprocess) -> Frame:
    """The picture of a golden image.

    A PNG is a picture after decoding, so it is decoded whole; a JPEG goes the way that the
    bundle says, since it is there to test this device's decoder.

    Args:
        name: of the file.
        data: its bytes.
        preprocess: the bundle's way from bytes to tensor.

    Raises:
        ImageError: it is no picture.
    """
    return decode(data, Decode() if name.endswith(".png") else preprocess.decode, name=name)


def run_golden(inspector: Inspector) -> tuple[GoldenResult, ...]:
    """Run every golden image of the inspector's bundle.

    Raises:
        ImageError: one of them is no picture.
        EngineError: the engine fails.
    """
    return tuple(_run(inspector, golden) for golden in inspector.bundle.manifest.golden)


def _run(inspector: Inspector, golden: Golden) -> GoldenResult:
    bundle = inspector.bundle
    frame = golden_frame(golden.file, bundle.files[golden.file], bundle.manifest.preprocess)
    tensor = inspector.tensor(frame)
    start = time.perf_counter_ns()
    outputs = inspector.outputs(tensor)
    invoke_ms = (time.perf_counter_ns() - start) / 1e6
    verdict = inspector.decide(inspector.logits_of(outputs)).verdict
    expected = np.asarray(golden.outputs[0], np.float64)
    # A NaN is further away than any number, and differences of another count are not defined.
    steps = np.inf
    if expected.shape == outputs.shape:
        steps = float(np.nan_to_num(np.abs(outputs - expected), nan=np.inf).max())
    return GoldenResult(golden.file, golden.verdict, verdict, steps, golden.max_steps, invoke_ms)
