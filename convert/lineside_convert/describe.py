"""From an engine's tensors to the manifest's words for them."""

from __future__ import annotations

import math
from typing import Final

from lineside.errors import ConvertError
from lineside.manifest import ModelInput, ModelOutput, Normalization
from lineside.runtime import TensorInfo
from lineside_convert.worker.protocol import Layout

_RAW: Final = {"uint8": 0, "int8": -128}
"""The zero point at which a stored value is the pixel, with a scale of 1."""


def describe_input(
    info: TensorInfo, layout: Layout, normalization: Normalization | None
) -> ModelInput:
    """The manifest's entry for a model's input.

    Args:
        info: as the engine gives it.
        layout: where its channels are.
        normalization: what the model wants done to the pixels; None where raw pixels go in. It is
            left out where the stored values are the raw pixels anyway.

    Raises:
        ConvertError: an input that is no picture.
    """
    if info.dtype not in {"uint8", "int8", "float32"} or len(info.shape) != 4:
        msg = f"an input of uint8, int8 or float32 and four dimensions is expected, got {info}"
        raise ConvertError(msg)
    # keras.Input(dtype="uint8") gives (0.0, 0): raw pixels, without a word on it.
    scale, zero_point = info.scale, info.zero_point
    if info.dtype in _RAW and scale == 0.0:
        scale, zero_point = 1.0, _RAW[info.dtype]
    if normalization is not None and _is_raw(info, normalization):
        normalization = None
    return ModelInput(
        tensor=0,
        source="image",
        shape=info.shape,
        layout=layout,
        dtype=info.dtype,  # type: ignore[arg-type] # checked above
        scale=scale,
        zero_point=zero_point,
        normalization=normalization,
    )


def _is_raw(info: TensorInfo, normalization: Normalization) -> bool:
    """Whether round(((p - mean) / std) / scale) + zero_point is p itself (int8: p - 128)."""
    if info.dtype not in _RAW or not info.scale:
        return False
    return all(
        math.isclose(std * info.scale, 1.0, rel_tol=1e-4)
        and abs(info.zero_point - mean - _RAW[info.dtype]) < 0.01
        for mean, std in zip(normalization.mean, normalization.std, strict=False)
    )


def describe_output(info: TensorInfo, kind: str) -> ModelOutput:
    """The manifest's entry for a model's output.

    Raises:
        ConvertError: of another type than uint8, int8 or float32.
    """
    if info.dtype not in {"uint8", "int8", "float32"}:
        msg = f"an output of uint8, int8 or float32 is expected, got {info}"
        raise ConvertError(msg)
    return ModelOutput(
        tensor=0,
        kind=kind,
        shape=list(info.shape),
        dtype=info.dtype,  # type: ignore[arg-type] # checked above
        scale=info.scale,
        zero_point=info.zero_point,
    )
