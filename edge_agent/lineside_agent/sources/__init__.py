"""Where frames come from, behind one interface.

Finite kinds are read in the agent's own process: each costs one file in this package, one row in
`FINITE`, one row in the conformance test and one in the documentation of `camera.source`. Live
cameras are read by processes of their own: see `lineside_agent.capture`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Final

from lineside.settings import CameraSettings
from lineside_agent.capture import BACKENDS
from lineside_agent.capture.wire import Order
from lineside_agent.sources.base import EndOfSourceError, Shot, Source
from lineside_agent.sources.live import LiveSource

__all__ = ["FINITE", "EndOfSourceError", "Shot", "Source", "make_source"]

FINITE: Final = {  # scheme -> module:class
    "images": "lineside_agent.sources.images:ImagesSource",
    "file": "lineside_agent.sources.video:VideoSource",
}


def make_source(camera: CameraSettings, *, vitals: Path | None = None) -> Source:
    """The source that a `[[camera]]` names; not opened yet.

    Args:
        camera: the settings.
        vitals: the folder where what is learned of live cameras' pictures is kept; None: nowhere.
    """
    scheme, _, where = camera.source.partition(":")
    if scheme in FINITE:
        module, _, name = FINITE[scheme].partition(":")
        made: type[Source] = getattr(importlib.import_module(module), name)
        return made(camera.name, where, rate=camera.rate)
    delay = camera.max_delay_ms
    order = Order(
        camera=camera.name,
        scheme=scheme,
        where=where,
        rate=camera.rate,
        controls=camera.controls.chosen,
        checks=list(camera.looked_for),
        doubts=list(camera.doubted),
        # The child has another current folder.
        learned="" if vitals is None else str(vitals.absolute() / f"{camera.name}.npz"),
    )
    return LiveSource(order, max_delay_ms=BACKENDS[scheme].max_delay_ms if delay is None else delay)
