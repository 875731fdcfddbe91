"""Images, changed as they were drawn: a part of the training, never of the model.

On an accelerator a layer does it inside the compiled step. On a CPU OpenCV does it beside the
training, ten times as quick as the backends' own kernels; it works in whole grey levels and in
32nds of a pixel, and is the same otherwise.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy as np

from lineside.extras import require
from lineside_train.backend import load_keras
from lineside_train.fitting.draws import Draw, Floats
from lineside_train.fitting.examples import Images, Tensors

GREY_LEVELS: Final = np.arange(256, dtype=np.float32)[:, np.newaxis]


def changed(draw: Draw, images: Images, rows: slice = slice(None)) -> Tensors:
    """The images of a batch, changed, on the CPU.

    Args:
        draw: which images, and how.
        images: all of them.
        rows: which of the batch are wanted.

    Returns:
        uint8, n x height x width x channels: a quarter of what float32 has to be carried.
    """
    if draw.mix is None:
        return _alone(draw.some(rows), images)
    partner, kept = draw.mix.partner[rows], draw.mix.kept[rows]
    wanted = len(partner)
    if wanted == len(draw.chosen):
        found = _alone(draw, images)
        return _mixed(found, found[partner], kept)
    found = _alone(draw.some(np.r_[rows, partner]), images)
    return _mixed(found[:wanted], found[wanted:], kept)


def _alone(draw: Draw, images: Images) -> Tensors:
    """The same, before images are mixed with each other."""
    cv2 = require("cv2", extra="runtime")
    pixels = images[draw.chosen]
    height, width, channels = pixels.shape[1:]
    if draw.affine is not None:
        how = {
            "dsize": (width, height),
            "flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            "borderMode": cv2.BORDER_REFLECT,
        }
        for image, row in zip(pixels, draw.affine, strict=True):
            moved = cv2.warpAffine(image, row[:6].reshape(2, 3), **how)
            image[...] = moved.reshape(image.shape)
    if draw.contrast is not None:
        means = np.array([cv2.mean(image)[:channels] for image in pixels], np.float32)
        means = means[:, np.newaxis]
        tables = (GREY_LEVELS - means) * draw.contrast[:, 0] + means
        tables = np.clip(np.rint(tables), 0, 255).astype(np.uint8)
        for image, table in zip(pixels, tables, strict=True):
            image[...] = cv2.LUT(image, table[np.newaxis]).reshape(image.shape)
    return pixels


def _mixed(images: Tensors, others: Tensors, kept: Floats) -> Tensors:
    """Of each pixel the share `kept` of its own, and the rest of the other image's."""
    if kept[0].size > 1:
        return np.where(kept.astype(bool), images, others)
    cv2 = require("cv2", extra="runtime")
    found = np.empty_like(images)
    for image, other, share, target in zip(images, others, kept.ravel(), found, strict=True):
        mixed = cv2.addWeighted(image, float(share), other, 1.0 - float(share), 0.0)
        target[...] = mixed.reshape(target.shape)
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
