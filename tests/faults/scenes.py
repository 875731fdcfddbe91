"""What the cameras of the camera run see: belts on real pictures, rendered into folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from lineside.image import Frame
from lineside_agent.vitals import Vitals
from tests.support.belt import RATE_HZ, Belt
from tests.support.hours import Sets

RUNNING: Final = 240
"""Pictures of a running belt: 24 s, shown again and again."""

RESTING: Final = 400
"""Pictures of what comes then."""

LOOKS: Final = 900
"""Looks at a running belt after which what is usual is known."""


def write_pictures(frames: list[Frame], folder: Path) -> None:
    """As PNG, named in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number:04d}.png"), frame, (cv2.IMWRITE_PNG_COMPRESSION, 1))


def link_pictures(source: Path, folder: Path) -> None:
    """Another camera that sees the same."""
    for file in source.glob("*.png"):
        (folder / file.name).hardlink_to(file)


def running(belt: Belt, count: int = RUNNING) -> list[Frame]:
    """A belt that runs, with parts."""
    return [belt.frame() for _ in range(count)]


def stopped(sets: Sets, count: int = RESTING) -> list[Frame]:
    """It stands, with a part in sight."""
    belt = sets.belt(0, seed=1)
    while not 120 < belt.left < 200:
        belt.frame()
    belt.moving = False
    return running(belt, count)


def empty(sets: Sets, count: int = RESTING) -> list[Frame]:
    """It runs, and no part comes."""
    belt = sets.belt(1, seed=2)
    belt.loaded = False
    return running(belt, count)


def flickering(sets: Sets, count: int = RESTING) -> list[Frame]:
    """The lamp's brightness beats by 35 %; half of the time no part comes."""
    belt = sets.belt(0, seed=3)
    belt.flicker = 0.35
    first = running(belt, count // 2)
    belt.loaded = False
    return first + running(belt, count - count // 2)


def flickering_and_running(sets: Sets) -> list[Frame]:
    """The same lamp over parts: what such a camera learns from."""
    belt = sets.belt(0, seed=4)
    belt.flicker = 0.35
    return running(belt)


HEALTHY: Final[dict[str, tuple[Callable[[Sets], list[Frame]], Callable[[Sets], list[Frame]]]]] = {
    "stopped": (lambda sets: running(sets.belt(0, seed=1)), stopped),
    "empty": (lambda sets: running(sets.belt(1, seed=2)), empty),
    "flickering": (flickering_and_running, flickering),
}
"""Each camera of the healthy hour: what it sees at first, and then."""


def teach(frames: list[Frame]) -> bytes:
    """What a camera learns that has seen these again and again, with the virtual line's noise."""
    vitals = Vitals()
    noise = np.random.default_rng(0).integers(0, 2, 2 * frames[0].size, np.uint8)
    for number in range(LOOKS):
        frame = frames[number % len(frames)]
        start = number * 7919 % (frame.size + 1)
        grain = noise[start : start + frame.size].reshape(frame.shape)
        vitals.look(frame ^ grain, mono_ns=(number + 1) * 1_000_000_000 // RATE_HZ)
    learned = vitals.learned()
    assert learned is not None
    return learned
