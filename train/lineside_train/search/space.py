"""What a search varies, and between which values.

Each dimension is drawn without regard to the others, so that what was learned of one holds for all
of them: `wide` is the place in the list of an architecture's widths, narrowest 0, widest 1, and
`rate` multiplies the learning rate that the training would take by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from lineside.errors import TrainError
from lineside_train.networks import build_network
from lineside_train.networks.weights import PUBLISHED
from lineside_train.options import Arch, TrainOptions

Drawn = dict[str, str | int | float]
"""A value for each dimension."""

SMALL_WIDTHS: Final = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""Of lineside's own networks."""

SIZES: Final = (64, 192, 32)
"""Image sizes: lowest, highest and step, in pixels."""

RATES: Final = (0.25, 2.0)
"""What the learning rate is multiplied by: lowest and highest."""

CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "augment": ("light", "strong"),
    "flip": ("none", "horizontal", "both"),
    "mix": ("none", "mixup", "cutmix"),
}
"""What the data augmentation may be."""

DOWNLOADED: Final = "imagenet"
"""What `--weights` says for those that Keras downloads."""

_FIXES: Final = {"width": "wide", "image_size": "image_size", "learning_rate": "rate"}
"""Options that fix a dimension, where one is given."""


@dataclass(frozen=True)
class Space:
    """The space around what the training was told.

    Attributes:
        base: what it was told; what isn't varied stays so.
        fixed: names of options that were given by hand, and are not varied.
        networks: for each architecture its widths, narrowest first.
        weights: which of the architectures start from `base.weights`.
    """

    base: TrainOptions
    fixed: frozenset[str]
    networks: Mapping[str, tuple[float, ...]]
    weights: frozenset[str] = field(default=frozenset())

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """Dimensions without an order, and their values."""
        found = {"arch": tuple(self.networks), **CHOICES}
        return {k: v for k, v in found.items() if len(v) > 1 and k not in self.fixed}

    @property
    def numbers(self) -> dict[str, tuple[float, float]]:
        """Dimensions between a lowest and a highest value; `image_size` goes in steps."""
        found: dict[str, tuple[float, float]] = {
            "wide": (0.0, 1.0),
            "image_size": (SIZES[0], SIZES[1]),
            "rate": RATES,
        }
        gone = {_FIXES[name] for name in self.fixed & _FIXES.keys()}
        if all(len(widths) == 1 for widths in self.networks.values()):
            gone.add("wide")
        return {k: v for k, v in found.items() if k not in gone}

    def start(self) -> Drawn:
        """What is tried first: what the training does by itself, or what is nearest to that."""
        base = self.base
        arch = base.arch if base.arch in self.networks else next(iter(self.networks))
        widths = self.networks[arch]
        near = min(range(len(widths)), key=lambda i: abs(math.log(widths[i] / base.width)))
        whole: Drawn = {
            "arch": arch,
            "wide": near / max(1, len(widths) - 1),
            "image_size": base.image_size,
            "rate": 1.0,
            "augment": base.augment,
            "flip": base.flip,
            "mix": base.mix,
        }
        return self._varied(whole)

    def fastest(self) -> list[Drawn]:
        """For each architecture what is quickest: the narrowest, and the smallest image."""
        start = self.start()
        small: Drawn = {"wide": 0.0, "image_size": SIZES[0]}
        archs = self.choices.get("arch", (str(start.get("arch", "")),))
        return [self._varied(start | small | {"arch": arch}) for arch in archs]

    def _varied(self, whole: Drawn) -> Drawn:
        return {k: v for k, v in whole.items() if k in self.choices or k in self.numbers}

    def options(self, drawn: Drawn) -> TrainOptions:
        """How to train what was drawn.

        Args:
            drawn: a value for each dimension of this space.
        """
        arch = drawn.get("arch", next(iter(self.networks)))
        widths = self.networks[str(arch)]
        named: dict[str, Any] = {k: v for k, v in drawn.items() if k not in {"wide", "rate"}}
        named |= {"arch": arch}
        if "width" not in self.fixed:
            wide = float(drawn.get("wide", 0.0))
            named["width"] = widths[round(wide * (len(widths) - 1))]
        if self.base.weights is not None and arch not in self.weights:
            named |= {"weights": None, "fine_tune": "all"}
        options = msgspec.structs.replace(self.base, **named)
        if "rate" in drawn:
            rate = float(f"{options.peak_learning_rate * float(drawn['rate']):.3g}")
            options = msgspec.structs.replace(options, learning_rate=rate)
        return options

    def said(self, options: TrainOptions) -> dict[str, Any]:
        """What of the options this space varies."""
        names = {"wide": "width", "rate": "learning_rate"}
        varied = [names.get(name, name) for name in (*self.choices, *self.numbers)]
        whole: dict[str, Any] = msgspec.to_builtins(options)
        if "arch" in varied and self.base.weights is not None:
            varied.append("weights")
        return {name: whole[name] for name in varied}


def make_space(options: TrainOptions, fixed: frozenset[str], channels: int) -> Space:
    """The space around what a training was told.

    Without trained weights: lineside's own networks. With them, also those that they are of, unless
    the architecture is fixed.

    Args:
        options: what it was told.
        fixed: names of the options that were given by hand.
        channels: of what the model sees.

    Raises:
        TrainError: the file of weights is not there, or of no architecture that is tried by itself.
    """
    own: dict[str, tuple[float, ...]] = dict.fromkeys(("plain", "separable"), SMALL_WIDTHS)
    published: dict[str, tuple[float, ...]] = {
        arch: widths for arch, (_, widths) in PUBLISHED.items()
    }
    weights, arch = options.weights, options.arch
    if "arch" in fixed:
        widths = (own | published).get(arch, (options.width,))
        if weights not in {None, DOWNLOADED}:
            widths = (options.width,)
        return Space(options, fixed, {arch: widths}, frozenset({arch} if weights else ()))
    if weights is None:
        return Space(options, fixed, own)
    if weights != DOWNLOADED:
        owner, width = _owner(options, weights, channels)
        return Space(options, fixed, own | {owner: (width,)}, frozenset({owner}))
    if "width" in fixed:
        published = {k: v for k, v in published.items() if options.width in v}
    return Space(options, fixed, own | published, frozenset(published))


def _owner(options: TrainOptions, weights: str, channels: int) -> tuple[Arch, float]:
    """The architecture and the width that a file of trained weights is of."""
    if not Path(weights).is_file():
        msg = f"--weights {weights}: there is no such file; 'imagenet' downloads"
        raise TrainError(msg)
    refused = ""
    widths: dict[Arch, tuple[float, ...]] = {
        "mobilenet_v1": PUBLISHED["mobilenet_v1"][1],
        "mobilenet_v2": PUBLISHED["mobilenet_v2"][1],
        "efficientnet_lite0": (1.0,),
    }
    for arch, width in ((arch, width) for arch, every in widths.items() for width in every):
        tried = msgspec.structs.replace(options, arch=arch, width=width, image_size=SIZES[0])
        try:
            build_network(tried, channels, labels=2)
        except TrainError as error:
            refused = str(error)
        else:
            return arch, width
    msg = (
        f"--search does not know what network --weights {weights} is of: name its --arch and "
        f"--width ({refused})"
    )
    raise TrainError(msg)
