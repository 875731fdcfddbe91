"""Images, changed as they were drawn: a part of the training, never of the model.

On an accelerator a layer does it inside the compiled step. On a CPU OpenCV does it beside the
training, ten times as quick as the backends' own kernels; it works in whole grey levels and in
32nds of a pixel, and is the same otherwise.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from lineside.extras import require
from lineside_train.backend import load_keras
from lineside_train.fitting.draws import Draw, Floats
from lineside_train.fitting.examples import Images


def changed(draw: Draw, images: Images, rows: slice = slice(None)) -> Floats:
    """The images of a batch, changed, on the CPU.

    Args:
        draw: which images, and how.
        images: all of them.
        rows: which of the batch are wanted.

    Returns:
        float32, n x height x width x channels, 0 to 255.
    """
    if draw.mix is None:
        return _alone(draw.some(rows), images)
    partner, kept = draw.mix.partner[rows], draw.mix.kept[rows]
    wanted = len(partner)
    if wanted == len(draw.chosen):
        found = _alone(draw, images)
        others = found[partner]
    else:
        found = _alone(draw.some(np.r_[rows, partner]), images)
        found, others = found[:wanted], found[wanted:]
    return others + (found - others) * kept


def _alone(draw: Draw, images: Images) -> Floats:
    """The same, before images are mixed with each other."""
    cv2 = require("cv2", extra="runtime")
    pixels = images[draw.chosen]
    if draw.affine is not None:
        height, width = pixels.shape[1:3]
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        moved = np.empty_like(pixels)
        for source, rows, target in zip(pixels, draw.affine, moved, strict=True):
            matrix = rows[:6].reshape(2, 3)
            target[...] = cv2.warpAffine(
                source, matrix, (width, height), flags=how, borderMode=cv2.BORDER_REFLECT
            ).reshape(target.shape)
        pixels = moved
    found = pixels.astype(np.float32)
    if draw.contrast is not None:
        mean = found.mean(axis=(1, 2), keepdims=True)
        found = np.clip((found - mean) * draw.contrast + mean, 0.0, 255.0, dtype=np.float32)
    return found


@functools.cache
def changes() -> Any:  # noqa: ANN401 - a class, but its base is loaded late
    """The layer.

    Keras has a layer for each of these changes, that draws by itself. One transformation is three
    times as quick as three, and blurs once; and what is drawn beforehand is the same on every
    backend, on one machine or many.
    """
    keras = load_keras()
    ops = keras.ops

    class Changes(keras.layers.Layer):  # type: ignore[misc,name-defined] # no types
        """Applies `Draw.inputs`: uint8 pixels in, float32 pixels from 0 to 255 out."""

        def __init__(self) -> None:
            super().__init__(dtype="float32", autocast=False)

        def call(self, given: dict[str, Any]) -> Any:  # noqa: ANN401
            """Change a batch."""
            images = ops.cast(given["pixels"], "float32")
            if "affine" in given:
                images = ops.image.affine_transform(
                    images, given["affine"], interpolation="bilinear", fill_mode="reflect"
                )
            if "contrast" in given:
                mean = ops.mean(images, axis=(1, 2), keepdims=True)
                images = ops.clip((images - mean) * given["contrast"] + mean, 0.0, 255.0)
            if "partner" in given:
                others = ops.take(images, given["partner"], axis=0)
                images = others + (images - others) * given["kept"]
            return images

    return Changes
