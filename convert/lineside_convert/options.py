"""What `lineside convert` is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lineside.bench import Bench
from lineside.limit_rules import LimitRules
from lineside.manifest import Normalization
from lineside_convert.scheme import AUTO


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `lineside convert` is told.

    Attributes:
        name: the bundle's name; the source's where None.
        version: the bundle's version.
        scheme: a scheme, or `auto`.
        calibration: how many training images the converter sees.
        max_flips: percent of `val` whose verdict may differ from the original's.
        max_loss: points of balanced accuracy on `val` that `auto` may give away.
        rules: what limits are chosen by; what is not said here, a run may say.
        data: where the photos are; for a run where they were when None.
        seed: of the split of photos that no run has split.
        labels: a file with one label a line.
        good: the labels that mean a good part.
        sort: whether none means a bad one.
        normalization: what the model wants done to the pixels.
        resize: how a picture gets the input's size; a run has said so itself.
        device_bench: how fast schemes are on the device.
        runtime: which runtime must give the same answers; the preferred one where None.
        pythons: Pythons of other environments in which the model is tried.
        key: a private key to sign with.
        key_password: of that key.
        candidates: a folder for a bundle of every scheme that was made.
    """

    name: str | None = None
    version: str = "1.0.0"
    scheme: str = AUTO
    calibration: int = 200
    max_flips: float = 0.5
    max_loss: float = 0.3
    rules: LimitRules = field(default_factory=LimitRules)
    data: Path | None = None
    seed: int = 0
    labels: Path | None = None
    good: tuple[str, ...] = ()
    sort: bool = False
    normalization: Normalization | None = None
    resize: Literal["letterbox", "stretch"] = "stretch"
    device_bench: Bench | None = None
    runtime: str | None = None
    pythons: tuple[Path, ...] = ()
    key: Path | None = None
    key_password: bytes | None = field(default=None, repr=False)
    candidates: Path | None = None
