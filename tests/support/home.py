"""A station that Home Assistant is to find."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lineside.settings import Settings, parse_settings

CONFIG = """
[station]
site = "ulm"
name = "{name}"
[mqtt]
url = "{url}"
{mqtt}
[[model]]
name = "cells"
bundle = "bundle"
"""
STREAM = """
[[camera]]
name = "cam-{name}"
source = "v4l2:/dev/video0"
[[stream]]
name = "{name}"
camera = "cam-{name}"
model = "cells"
"""
ON = "home_assistant = true"


def settings(
    folder: Path,
    url: str = "mqtt://localhost",
    mqtt: str = ON,
    *,
    name: str = "press4",
    streams: tuple[str, ...] = ("top", "side"),
) -> Settings:
    """A station's settings, with a camera for each stream."""
    text = CONFIG.format(name=name, url=url, mqtt=mqtt)
    return parse_settings(text + "".join(STREAM.format(name=s) for s in streams), folder=folder)


def components(payload: bytes) -> dict[str, Any]:
    """The entities in a description."""
    found: dict[str, Any] = json.loads(payload)["components"]
    return found
