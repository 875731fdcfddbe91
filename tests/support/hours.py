"""Hours of healthy cameras, and faults, for the vitals: each frame with its time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from lineside.image import Frame
from lineside_agent.vitals import Kind, Vitals
from tests.support.belt import (
    RATE_HZ,
    SIZE,
    Belt,
    Floats,
    blurred,
    moved,
    parts_of,
    times,
    video,
)

PERIOD_NS: Final = 1_000_000_000 // RATE_HZ
LEARN: Final = 1_800
"""Frames of a running line that come first: three minutes."""


class Sets:
    """Real pictures: two backgrounds with fixed structure, two videos, and parts."""

    def __init__(self, folder: Path) -> None:
        videos = folder / "videos"
        fruits = video(videos / "fruit-and-vegetable-detection.gif")
        self.bottles = video(videos / "bottle-detection.mp4")
        self.bolts = video(videos / "bolt-multi-size-detection.gif")
        self.parts = parts_of(folder / "trashnet", 12) + parts_of(folder / "cookies", 6)
        self.backgrounds = [
            fruits[0].astype(np.float32),
            np.median(self.bottles[::40], axis=0).astype(np.float32),
        ]

    def belt(self, which: int, *, seed: int = 0, noise: float = 3.0) -> Belt:
        """A belt over one of the backgrounds."""
        top = (85, 60)[which]
        return Belt(self.backgrounds[which], self.parts, top=top, seed=seed, noise=noise)

    def uneven(self) -> list[Floats]:
        """Black, white and photographed parts, half as wide as the picture."""
        blank = [np.full((90, SIZE[0] // 2, 3), level, np.float32) for level in (6, 250, 30, 225)]
        return [*blank, *self.parts[:4]]


def running(belt: Belt, count: int) -> Iterator[Frame]:
    for _ in range(count):
        yield belt.frame()


def stopped(belt: Belt, count: int) -> Iterator[Frame]:
    """Runs, stands with a part in sight for most of the time, and runs again."""
    for index in range(count):
        if index == LEARN:
            while not 120 < belt.left < 200:
                yield belt.frame()
        belt.moving = not LEARN <= index < count - 600
        yield belt.frame()


def empty(belt: Belt, count: int) -> Iterator[Frame]:
    """Parts, none for most of the time, and parts again."""
    for index in range(count):
        belt.loaded = not LEARN <= index < count - 600
        yield belt.frame()


def empty_and_stopped(belt: Belt, count: int) -> Iterator[Frame]:
    """No part was ever there, and the belt stands."""
    belt.loaded = belt.moving = False
    return running(belt, count)


def flickering(belt: Belt, count: int) -> Iterator[Frame]:
    """Half of the time empty."""
    belt.flicker = 0.35
    for index in range(count):
        belt.loaded = index % 6_000 < 3_000
        yield belt.frame()


def drifting(belt: Belt, count: int) -> Iterator[Frame]:
    """As much as over a day: from three fifths of the light to seven fifths and back."""
    for index in range(count):
        belt.exposure = 1.0 + 0.4 * math.sin(2 * math.pi * index / count)
        yield belt.frame()


def stopping(belt: Belt, count: int) -> Iterator[Frame]:
    """Stops for 40 s in each 100 s."""
    for index in range(count):
        belt.moving = index % 1_000 < 600
        yield belt.frame()


def looped(frames: list[Frame], noise: float, count: int, seed: int = 0) -> Iterator[Frame]:
    """A video over and over, with noise added."""
    random = np.random.default_rng(seed)
    grain = random.normal(0, noise, 1_000_003).astype(np.float32)
    for index in range(count):
        frame = frames[index % len(frames)]
        if noise:
            start = int(random.integers(0, grain.size - frame.size))
            noisy = frame + grain[start : start + frame.size].reshape(frame.shape)
            frame = np.clip(noisy + 0.5, 0, 255).astype(np.uint8)
        yield frame


def standing_bolts(sets: Sets, count: int) -> Iterator[Frame]:
    """A belt that fills the picture: runs, stands, runs, with noise."""
    third = count // 3
    yield from looped(sets.bolts, 3.0, third)
    yield from looped(sets.bolts[9:10], 3.0, third)
    yield from looped(sets.bolts, 3.0, count - 2 * third)


def healthy(sets: Sets, count: int) -> dict[str, Callable[[], Iterator[Frame]]]:
    """Scenes of so many frames in which nothing is wrong with the camera."""
    scenes: dict[str, Callable[[], Iterator[Frame]]] = {}
    for name, which in (("belt beside a wall", 0), ("table", 1)):
        scenes |= {
            f"{name}: stopped with a part in sight": lambda w=which: stopped(sets.belt(w), count),
            f"{name}: empty": lambda w=which: empty(sets.belt(w), count),
            f"{name}: flicker of 35 %": lambda w=which: flickering(sets.belt(w), count),
            f"{name}: light from 0.6 to 1.4": lambda w=which: drifting(sets.belt(w), count),
            f"{name}: noiseless, stops often": lambda w=which: stopping(
                sets.belt(w, noise=0), count
            ),
        }

    def uneven() -> Iterator[Frame]:
        belt = sets.belt(0)
        belt.parts = sets.uneven()
        return stopping(belt, count)

    scenes |= {
        "black and white parts, half of the picture": uneven,
        "never a part, never a move": lambda: empty_and_stopped(sets.belt(1), count),
        "bottle video, looped, with noise": lambda: looped(sets.bottles, 2.0, count),
        "bottle video, looped": lambda: looped(sets.bottles, 0.0, count),
        "belt that fills the picture, stopped between": lambda: standing_bolts(sets, count),
    }
    return scenes


@dataclass(frozen=True)
class Fault:
    """One way to spoil a camera.

    Attributes:
        kind: what it must be called.
        spoil: gives, from a random generator, what is done to the light; None for a freeze.
        stamps: whether the time stamps go on.
    """

    kind: Kind
    spoil: Callable[[np.random.Generator], Callable[[Floats], Floats]] | None = None
    stamps: bool = True


def _push(random: np.random.Generator) -> Callable[[Floats], Floats]:
    """By 12 to 60 pixels of 320 across, by 8 to 40 of 180 down."""
    across, down = random.uniform(12, 60), random.uniform(8, 40)
    return moved(random.choice([-1, 1]) * across, random.choice([-1, 1]) * down)


def _turn(random: np.random.Generator) -> Callable[[Floats], Floats]:
    """By 6 to 20 degrees."""
    return moved(0, 0, random.choice([-1, 1]) * random.uniform(6, 20))


FAULTS: Final = {
    "lens covered (0 to 3 % of the light)": Fault("black", lambda r: times(r.uniform(0, 0.03))),
    "exposure 4 to 10 times": Fault("overexposed", lambda r: times(r.uniform(4, 10))),
    "out of focus (sigma 2 to 10 of 320 px)": Fault("blurred", lambda r: blurred(r.uniform(2, 10))),
    "pushed (12 to 60 px across, 8 to 40 down, of 320 x 180)": Fault("moved", _push),
    "turned (6 to 20 degrees)": Fault("moved", _turn),
    "frozen, stamps go on": Fault("frozen"),
    "frozen, stamps stand": Fault("frozen", stamps=False),
}


@dataclass(frozen=True)
class Course:
    """What became of one fault.

    Attributes:
        seen_s: after how long it was found; None if it wasn't, or under another name.
        called: what was found.
        gone_s: after how long nothing was found any more; None if that took too long.
    """

    seen_s: float | None
    called: set[Kind]
    gone_s: float | None


class Watcher:
    """A camera with a belt, and its vitals."""

    def __init__(self, belt: Belt, learned: bytes | None = None) -> None:
        self.belt = belt
        self.vitals = Vitals(learned)
        self.now = 0
        self._newest = belt.frame()

    def watch(self, frame: Frame, *, stamped: bool = True) -> set[Kind]:
        """One look; what is found."""
        self.now += PERIOD_NS if stamped else 0
        self._newest = frame
        self.vitals.look(frame, mono_ns=self.now)
        return {finding.kind for finding in self.vitals.findings}

    def suffer(self, fault: Fault, random: np.random.Generator) -> Course:
        """Six seconds of a fault, and up to twelve of recovery."""
        seen: float | None = None
        called: set[Kind] = set()
        self.belt.spoil = fault.spoil(random) if fault.spoil else None
        frozen = self._newest
        for index in range(6 * RATE_HZ):
            frame = self.belt.frame() if fault.spoil else frozen
            called |= (found := self.watch(frame, stamped=fault.stamps))
            if seen is None and fault.kind in found:
                seen = (index + 1) / RATE_HZ
        self.belt.spoil = None
        gone: float | None = None
        for index in range(12 * RATE_HZ):
            found = self.watch(self.belt.frame())
            if found:
                gone = None
            elif gone is None:
                gone = (index + 1) / RATE_HZ
        return Course(seen, called, gone)
