"""What every engine is: bytes of a model in, raw outputs out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from lineside.errors import EngineError

Tensor = npt.NDArray[Any]


@dataclass(frozen=True)
class TensorInfo:
    """An input or an output of a model: real value = (stored value - zero_point) * scale.

    Attributes:
        shape: with the batch dimension, which is 1.
        dtype: of the stored values, as numpy names it.
        scale: 0.0 where the tensor is not quantized.
        zero_point: 0 where the tensor is not quantized.
    """

    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    @override
    def __str__(self) -> str:
        return (
            f"{self.dtype} {list(self.shape)}, scale {self.scale:g}, zero point {self.zero_point}"
        )

    def dequantize(self, values: Tensor) -> npt.NDArray[np.float64]:
        """The real values of stored ones."""
        real = np.asarray(values, np.float64)
        return (real - self.zero_point) * self.scale if self.scale else real


class Engine(ABC):
    """One model, loaded. Not for several threads at once; `invoke` releases the GIL.

    A subclass sets `name`, loads the model in `_load` and runs it in `_invoke`. Both may raise
    anything: the public methods raise EngineError from it.

    Attributes:
        name: the package that does the work, a key of `lineside.runtime.ENGINES`.
        version: that package's version.
        xnnpack: whether XNNPACK runs the model, or part of it. Without it int8 outputs are some
            steps off (5 of 255 on a small CNN, 40 on a random one), and slow.
        inputs: the model's inputs.
        outputs: the model's outputs.
    """

    name: ClassVar[str]
    version: str
    xnnpack: bool
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    def __init__(self, model: bytes, threads: int = 1, *, xnnpack: bool = True) -> None:
        if threads < 1:
            msg = f"threads must be at least 1, got {threads}"
            raise EngineError(msg)
        try:
            self._load(model, threads, xnnpack=xnnpack)
        except ImportError as error:
            msg = f"{self.name} can't be imported: {error}"
            raise EngineError(msg) from error
        except Exception as error:  # engines raise what they like
            msg = f"{self.name} refuses the model: {_one_line(error)}"
            raise EngineError(msg) from error

    def invoke(self, tensor: Tensor) -> list[Tensor]:
        """Run the model once.

        Args:
            tensor: of the shape and dtype of the first input; the batch dimension may be left
                out. It goes to the engine as it is: no copy, no arithmetic.

        Returns:
            The outputs as stored (not dequantized), one array for each, the caller's to keep.

        Raises:
            EngineError: another shape or dtype, or the engine fails.
        """
        expected = self.inputs[0]
        batch = tensor if tensor.ndim == len(expected.shape) else tensor[np.newaxis]
        if batch.shape != expected.shape or batch.dtype != expected.dtype:
            msg = (
                f"the model takes {expected.dtype} {list(expected.shape)}, "
                f"got {tensor.dtype} {list(tensor.shape)}"
            )
            raise EngineError(msg)
        try:
            return self._invoke(batch)
        except Exception as error:  # engines raise what they like
            msg = f"{self.name} fails while it runs the model: {_one_line(error)}"
            raise EngineError(msg) from error

    @abstractmethod
    def _load(self, model: bytes, threads: int, *, xnnpack: bool) -> None:
        """Load the model and set `version`, `xnnpack`, `inputs` and `outputs`.

        XNNPACK may be used where `xnnpack` is true, and must not be where it is false.
        """

    @abstractmethod
    def _invoke(self, batch: Tensor) -> list[Tensor]:
        """Run the model on a checked batch of 1 and return copies of the outputs."""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
