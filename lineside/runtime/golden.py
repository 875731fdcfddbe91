"""Golden images: pictures in a bundle whose answers are known, run to see that they come out."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from lineside.bundle import Bundle
from lineside.image import Decode, Frame, decode
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


def golden_frame(bundle: Bundle, golden: Golden) -> Frame:
    """The picture of a golden image.

    A PNG is a picture after decoding, so it is decoded whole; a JPEG goes the way that the
    bundle says, since it is there to test this device's decoder.

    Raises:
        ImageError: it is no picture.
    """
    how = Decode() if golden.file.endswith(".png") else bundle.manifest.preprocess.decode
    return decode(bundle.files[golden.file], how, name=golden.file)


def run_golden(inspector: Inspector) -> tuple[GoldenResult, ...]:
    """Run every golden image of the inspector's bundle.

    Raises:
        ImageError: one of them is no picture.
        EngineError: the engine fails.
    """
    return tuple(_run(inspector, golden) for golden in inspector.bundle.manifest.golden)


def _run(inspector: Inspector, golden: Golden) -> GoldenResult:
    tensor = inspector.tensor(golden_frame(inspector.bundle, golden))
    start = time.perf_counter_ns()
    outputs = inspector.outputs(tensor)
    invoke_ms = (time.perf_counter_ns() - start) / 1e6
    verdict = inspector.decide(inspector.dequantize(outputs)).verdict
    expected = np.asarray(golden.outputs[0], np.float64)
    # A NaN is further away than any number, and differences of another count are not defined.
    steps = np.inf
    if expected.shape == outputs.shape:
        steps = float(np.nan_to_num(np.abs(outputs - expected), nan=np.inf).max())
    return GoldenResult(golden.file, golden.verdict, verdict, steps, golden.max_steps, invoke_ms)
