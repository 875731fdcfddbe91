"""The memory that the agent and a camera's child share: a page of control words, then the slots.

It has no name: a sealed memfd, handed to the child as a descriptor. It is gone with the last
process that has it open, however that ended.

A slot belongs to whoever holds its number: the child from the start; the socket, when the child
sends the slot's header; the agent, when it receives that; the child again, when it receives the
number back, or when it receives a header that the agent did not take. The map is larger than what
is used of it: pages that no frame reached cost nothing.
"""

from __future__ import annotations

import enum
import fcntl
import mmap
import os
from typing import Final

import numpy as np

from lineside.errors import ImageError
from lineside.image import MIN_SIDE, Frame

SLOTS: Final = 3
"""One that the agent holds, one that waits for it, one that is being written."""

MAX_FRAME_PIXELS: Final = 25_000_000
"""Pixels of a frame at most: a slot holds no more. Bounds the memory of one camera to 225 MB."""

CONTROL_BYTES: Final = mmap.PAGESIZE
SLOT_BYTES: Final = -(-MAX_FRAME_PIXELS * 3 // mmap.PAGESIZE) * mmap.PAGESIZE
TOTAL_BYTES: Final = CONTROL_BYTES + SLOTS * SLOT_BYTES


class Word(enum.IntEnum):
    """The control words: int64, written by the child only, each by one aligned store."""

    SENT = 0
    """Headers sent."""
    GOOD_NS = 1
    """When the last frame that can be trusted was sent, in ns of the monotonic clock. 0: none."""
    DEADLINE_NS = 2
    """When the agent may take the child for hung, in ns of the monotonic clock."""


def create() -> int:
    """The descriptor of new shared memory, which nobody can shrink or grow."""
    memory = os.memfd_create("lineside-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, TOTAL_BYTES)
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, seals)
    return memory


class Frames:
    """A view of shared memory. It is unmapped when the last frame taken from it is dropped.

    Args:
        memory: its descriptor; it may be closed afterwards.
        writable: whether frames may be written: by the child only.

    Attributes:
        words: the control words, see `Word`.
    """

    def __init__(self, memory: int, *, writable: bool) -> None:
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self._map = mmap.mmap(memory, TOTAL_BYTES, prot=access)
        self.words = np.frombuffer(self._map, np.int64, count=len(Word))

    def frame(self, slot: int, height: int, width: int) -> Frame:
        """A view of a slot as a frame: uint8, height x width x 3, BGR, contiguous.

        Raises:
            ImageError: there is no such slot, or no frame of this size fits in.
        """
        fits = min(height, width) >= MIN_SIDE and height * width <= MAX_FRAME_PIXELS
        if not (fits and 0 <= slot < SLOTS):
            msg = (
                f"a frame of {width}x{height} pixels: {MIN_SIDE}x{MIN_SIDE} to "
                f"{MAX_FRAME_PIXELS:,} pixels are expected"
            )
            raise ImageError(msg)
        offset = CONTROL_BYTES + slot * SLOT_BYTES
        return np.ndarray((height, width, 3), np.uint8, self._map, offset)
