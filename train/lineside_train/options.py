"""What `lineside train` can be told."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from lineside.image import Resize

Arch = Literal["plain", "separable", "mlp"]
Optimizer = Literal["adamw", "adam", "sgd", "rmsprop"]
Augment = Literal["none", "light", "strong"]
Flip = Literal["none", "horizontal", "both"]
Reduce = Literal["1", "2", "4", "8", "auto"]

LEARNING_RATES: Final[dict[str, float]] = {
    "adamw": 2e-3,
    "adam": 2e-3,
    "sgd": 2e-2,
    "rmsprop": 5e-4,
}
"""What an optimizer gets where no learning rate was asked for."""

STEPS: Final = 3600
"""Batches to learn from, where no number of epochs was asked for."""


class TrainOptions(Struct, frozen=True, kw_only=True):
    """How to train. None: see the property of a similar name."""

    arch: Arch = "plain"
    image_size: int = 128
    """Height and width of the model's input, in pixels."""
    width: float = 1.0
    """Multiplies the channels of every layer but the last."""
    units: int = 32
    """Of the hidden layer of `mlp`."""
    colour: Literal["gray", "rgb"] | None = None
    """None: gray if no image holds any colour."""
    resize: Resize = "letterbox"
    reduce: Reduce = "1"
    """What the sides of a JPEG are divided by while it is decoded."""
    epochs: int | None = None
    batch_size: int = 32
    optimizer: Optimizer = "adamw"
    learning_rate: float | None = None
    """Its peak: it rises for a while, then falls along a cosine."""
    augment: Augment = "light"
    flip: Flip = "none"
    patience: int | None = None
    """Epochs to go on without a better loss on `val`."""
    seed: int = 0

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate asked for, or the optimizer's own."""
        return self.learning_rate or LEARNING_RATES[self.optimizer]

    def total_epochs(self, steps: int) -> int:
        """The epochs asked for, or as many as come near STEPS batches, from 16 to 200.

        Args:
            steps: batches in one epoch.
        """
        return self.epochs or min(200, max(16, round(STEPS / steps)))

    def total_patience(self, epochs: int) -> int:
        """The patience asked for, or half of all epochs, at least 10."""
        return self.patience or max(10, epochs // 2)
