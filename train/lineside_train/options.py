"""What `lineside train` can be told."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from lineside.image import Resize

Arch = Literal["plain", "separable", "mlp", "mobilenet_v1", "mobilenet_v2", "efficientnet_lite0"]
Optimizer = Literal["adamw", "adam", "sgd", "rmsprop"]
Augment = Literal["none", "light", "strong"]
Flip = Literal["none", "horizontal", "both"]
Precision = Literal["auto", "float32", "float16", "bfloat16"]
Mix = Literal["none", "mixup", "cutmix"]
FineTune = Literal["all", "head"]
Reduce = Literal["1", "2", "4", "8", "auto"]

IMAGENET: Final = ("mobilenet_v1", "mobilenet_v2", "efficientnet_lite0")
"""Architectures that others have trained on ImageNet."""

MIN_IMAGENET_SIZE: Final = 32
"""Pixels: after five halvings one is left."""

LEARNING_RATES: Final[dict[str, float]] = {
    "adamw": 2e-3,
    "adam": 2e-3,
    "sgd": 2e-2,
    "rmsprop": 5e-4,
}
"""What an optimizer gets where no learning rate was asked for."""

FINE_TUNE_RATE: Final = 0.25
"""What the optimizer's own learning rate is multiplied by, where trained weights are tuned."""

STEPS: Final = 3600
"""Batches to learn from, where no number of epochs was asked for."""

FINE_TUNE_STEPS: Final = 1200
"""The same, where trained weights are tuned: they are nearly there already."""


class TrainOptions(Struct, frozen=True, kw_only=True):
    """How to train. None: see the property of a similar name."""

    arch: Arch = "plain"
    image_size: int = 128
    """Height and width of the model's input, in pixels."""
    width: float = 1.0
    """Multiplies the channels of every layer but the last."""
    weights: str | None = None
    """What the network starts from: `imagenet`, or a file; None: from scratch."""
    fine_tune: FineTune = "all"
    """Which layers learn, where the network starts from weights."""
    teacher: str | None = None
    """A run whose model the network is to answer like; None: it learns from the labels alone."""
    units: int = 32
    """Of the hidden layer of `mlp`."""
    colour: Literal["gray", "rgb"] | None = None
    """None: gray if no image holds any colour."""
    resize: Resize = "letterbox"
    reduce: Reduce = "1"
    """What the sides of a JPEG are divided by while it is decoded."""
    epochs: int | None = None
    batch_size: int = 32
    balance: bool = True
    """Whether images are weighted so that each label counts the same."""
    optimizer: Optimizer = "adamw"
    learning_rate: float | None = None
    """Its peak: it rises for a while, then falls along a cosine."""
    precision: Precision = "auto"
    """Of the sums inside the network while it is trained; its weights are float32 always."""
    augment: Augment = "light"
    flip: Flip = "none"
    mix: Mix = "none"
    """Whether images of a batch are mixed with each other, and their labels as well."""
    smoothing: float = 0.0
    """Share of each target that is spread over all labels."""
    patience: int | None = None
    """Epochs to go on without a better loss on `val`."""
    seed: int = 0

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate asked for, or the optimizer's own."""
        if self.learning_rate is not None:
            return self.learning_rate
        gentle = FINE_TUNE_RATE if self.weights and self.fine_tune == "all" else 1.0
        return LEARNING_RATES[self.optimizer] * gentle

    def total_epochs(self, steps: int) -> int:
        """The epochs asked for, or as many as come near STEPS batches (FINE_TUNE_STEPS), 16 to 200.

        Args:
            steps: batches in one epoch.
        """
        total = FINE_TUNE_STEPS if self.weights else STEPS
        return self.epochs or min(200, max(16, round(total / steps)))

    def total_patience(self, epochs: int) -> int:
        """The patience asked for, or half of all epochs, at least 10.

        Trained weights get all epochs: tuning them makes val worse at first, since it starts from
        a last layer that fits them, and better once the learning rate falls.
        """
        return self.patience or (epochs if self.weights else max(10, epochs // 2))
