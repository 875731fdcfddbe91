"""The layer that changes images as they were drawn: a part of the training, never of the model."""

from __future__ import annotations

import functools
from typing import Any

from lineside_train.backend import load_keras


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
            # TensorFlow's kernel for affine transformations has no form for XLA.
            self.supports_jit = keras.backend.backend() != "tensorflow"

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
