"""Small real models that misbehave in one way, as bundles that pass their golden images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from lineside.bundle import Bundle, open_bundle
from lineside.extras import require
from lineside.image import Frame
from tests.support.bundles import edit_manifest
from tests.support.foreign import write_foreign
from tests.support.tiny import repeated, tiny_model

LABELS: Final = ("defective", "functional")
"""As the solar cells' bundle has them."""

WEIGHTS: Final = np.stack([np.full(64, 0.01), np.full(64, 0.002)])
"""Of a dense layer over 8 x 8 pixels: the brighter, the more defective."""


def flat(grey: int, *, side: int = 200) -> Frame:
    """A picture of one grey."""
    return np.full((side, side, 3), grey, np.uint8)


def _pictures() -> Mapping[str, bytes]:
    cv2 = require("cv2", extra="runtime")
    return {
        f"golden/{n:03d}.png": cv2.imencode(".png", flat(grey))[1].tobytes()
        for n, grey in enumerate((20, 90, 200))
    }


def write(
    out: Path,
    model: bytes,
    *,
    version: str = "1.0.0",
    measured: Mapping[str, Any] | None = None,
    crop: tuple[int, int, int, int] | None = None,
    labels: tuple[str, ...] = LABELS,
) -> Bundle:
    """A bundle of a model that takes pictures of 8 x 8.

    Args:
        out: the folder.
        model: a .tflite.
        version: of the bundle.
        measured: what the manifest says of its speed.
        crop: x, y, width and height that the bundle wants of every frame.
        labels: the second means a good part.
    """
    write_foreign(out, model, labels, _pictures(), kind="class_logits", good=1)

    def change(manifest: dict[str, Any]) -> None:
        manifest.update(version=version, measured=dict(measured or {}), name="tiny")
        manifest["inputs"][0]["preprocess"]["crop"] = crop

    edit_manifest(out, change)
    return open_bundle(out)


def plain(out: Path, **more: Any) -> Bundle:  # noqa: ANN401 - of `write`
    """One dense layer."""
    return write(out, tiny_model(last=None, weights=WEIGHTS), **more)


def speechless(out: Path, **more: Any) -> Bundle:  # noqa: ANN401 - of `write`
    """One that has no answer to a black picture: the logarithm of 0 is not finite."""
    return write(out, tiny_model(last="LOG", weights=WEIGHTS), **more)


def slow(out: Path, **more: Any) -> Bundle:  # noqa: ANN401 - of `write`
    """One that moves 200 MB for each picture."""
    return write(out, repeated(800_000), **more)
