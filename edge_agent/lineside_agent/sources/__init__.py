"""Where frames come from, behind one interface.

A new kind of camera costs one file in this package, one row in `SOURCES`, one row in the
conformance test and one in the documentation of `camera.source`.
"""

from __future__ import annotations

import importlib
from typing import Final

from lineside.errors import SettingsError
from lineside.settings import CameraSettings
from lineside_agent.sources.base import EndOfSourceError, Shot, Source

__all__ = ["SOURCES", "EndOfSourceError", "Shot", "Source", "make_source"]

SOURCES: Final = {  # scheme -> module:class
    "images": "lineside_agent.sources.images:ImagesSource",
    "file": "lineside_agent.sources.video:VideoSource",
    "v4l2": "lineside_agent.sources.v4l2:V4l2Source",
    "rtsp": "lineside_agent.sources.rtsp:RtspSource",
}


def make_source(camera: CameraSettings) -> Source:
    """The source that a `[[camera]]` names; not opened yet.

    Raises:
        SettingsError: no such kind of source.
    """
    scheme, _, where = camera.source.partition(":")
    known = SOURCES.get(scheme)
    if known is None or not where:
        expected = ", ".join(f"{name}:…" for name in SOURCES)
        msg = f"camera {camera.name!r}: source {camera.source!r} is none of {expected}"
        raise SettingsError(msg)
    module, _, name = known.partition(":")
    made: type[Source] = getattr(importlib.import_module(module), name)
    return made(camera.name, where, rate=camera.rate)
