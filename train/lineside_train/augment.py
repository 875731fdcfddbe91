"""Augmentation: Keras layers that change the training images a little, each time anew.

They are a part of the training only, never of the model that is saved.
"""

from __future__ import annotations

from typing import Any, Final

from lineside_train.backend import load_keras
from lineside_train.options import TrainOptions

_STRENGTH: Final = {  # level -> turn in degrees, shift and zoom as shares, contrast as a factor
    "light": (3.0, 0.03, 0.05, 0.1),
    "standard": (8.0, 0.05, 0.08, 0.1),
}
"""No brightness: how dark a part looks is often what tells a bad one (seen on solar cells)."""


def augmentation(options: TrainOptions) -> list[Any]:
    """The layers, in order; none where nothing was asked for.

    Input shape and output shape: (batch, height, width, channels), float32, 0 to 255.
    """
    layers = load_keras().layers
    chain: list[Any] = []
    # Two layers: as one, Keras mirrors an image along both axes or along neither.
    if options.flip in {"horizontal", "both"}:
        chain.append(layers.RandomFlip("horizontal"))
    if options.flip == "both":
        chain.append(layers.RandomFlip("vertical"))
    if options.augment != "none":
        turn, shift, zoom, contrast = _STRENGTH[options.augment]
        chain += [
            layers.RandomRotation(turn / 360),
            layers.RandomTranslation(shift, shift),
            layers.RandomZoom(zoom),
            layers.RandomContrast(contrast),
        ]
    return chain
