"""Folders of photos that tests spoil."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2

from lineside.image import Frame


def read(path: Path) -> Frame:
    """A picture, uint8, h x w x 3, BGR."""
    frame = cv2.imread(str(path))
    assert frame is not None
    return frame


def change(root: Path, label: str, how: Callable[[Frame], Frame]) -> None:
    """Do something to every picture of a label."""
    for path in sorted((root / label).iterdir()):
        assert cv2.imwrite(str(path), how(read(path)))
