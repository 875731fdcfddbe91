"""The virtual line for tests: a folder of pictures, a source on it, and what it said it did."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np

from lineside.image import Frame
from lineside.settings import CameraSettings
from lineside_agent.capture.line import LOG, Wish, ask
from lineside_agent.sources import Shot, make_source
from lineside_agent.sources.live import LiveSource


def level(number: int) -> int:
    """The grey of a plain picture: 15 more from one to the next, and none of them black."""
    return 40 + 15 * number


def plain_pictures(folder: Path, count: int, height: int = 48, width: int = 64) -> Path:
    """Pictures of one grey level each, as `level` says, and no noise asked for."""
    for number in range(count):
        frame = np.full((height, width, 3), level(number), np.uint8)
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number:02}.png"), frame)
    ask(folder, Wish(noise=False))
    return folder


def line(folder: Path, rate: float = 50.0, **camera: Any) -> LiveSource:  # noqa: ANN401 - settings
    """A source on the virtual line; not opened yet."""
    source = make_source(CameraSettings(name="cam0", source=f"line:{folder}", rate=rate, **camera))
    assert isinstance(source, LiveSource)
    return source


def take(source: Any, timeout_s: float = 10.0) -> Shot:  # noqa: ANN401 - a source of any kind
    """The next shot of a source."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        shot: Shot | None = source.take(0.05)
        if shot is not None:
            return shot
    msg = f"no frame came: {source.trouble}"
    raise AssertionError(msg)


def pixels(shot: Shot) -> Frame:
    """The picture of a shot that has one."""
    assert shot.frame is not None, shot.problem
    return shot.frame


def done(folder: Path) -> list[dict[str, Any]]:
    """What the virtual line wrote down."""
    return [msgspec.json.decode(text) for text in (folder / LOG).read_bytes().splitlines()]


def gone(pid: int) -> bool:
    """Whether a process has ended, or waits only for its parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
