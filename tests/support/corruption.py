"""JPEGs as a bad cable, a lost packet or a full buffer leaves them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

import cv2
import numpy as np

PACKET: Final = 512
"""Bytes that go at once, as on USB 2."""

Corrupt = Callable[[bytes, np.random.Generator], bytes]


def start_of_scan(data: bytes) -> int:
    """Where the entropy-coded data of a baseline JPEG begin.

    Raises:
        ValueError: it has no scan.
    """
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        at += 2 + length
        if marker == 0xDA:
            return at
    msg = "a JPEG with a scan was expected"
    raise ValueError(msg)


def without_tables(data: bytes) -> bytes:
    """The same without its Huffman tables, as Motion JPEG has it."""
    kept, at = data[:2], 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        kept += b"" if data[at + 1] == 0xC4 else data[at:end]
        at = end
    return kept + data[at:]


def with_restarts(frame: np.ndarray, quality: int = 85, every: int = 8) -> bytes:
    """A JPEG with a restart marker after every so many blocks of 16 x 16 pixels (4:2:0)."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_RST_INTERVAL, every]
    return bytes(cv2.imencode(".jpg", frame, options)[1])


def flip_bits(count: int, *, header: bool = False) -> Corrupt:
    """Flip so many bits of the picture's data; or of all that stands before them."""

    def corrupt(data: bytes, random: np.random.Generator) -> bytes:
        scan = start_of_scan(data)
        first, last = (2, scan) if header else (scan, len(data) - 2)
        changed = bytearray(data)
        for at in random.integers(first, last, count):
            changed[at] ^= 1 << int(random.integers(8))
        return bytes(changed)

    return corrupt


def truncate(data: bytes, random: np.random.Generator) -> bytes:
    """Cut the end off."""
    return data[: int(random.integers(start_of_scan(data), len(data) - 1))]


def truncate_and_close(data: bytes, random: np.random.Generator) -> bytes:
    """Cut the end off, and put an end marker there, as some drivers do."""
    return truncate(data, random) + b"\xff\xd9"


def lose_packet(data: bytes, random: np.random.Generator) -> bytes:
    """Some bytes in the middle are missing."""
    at = int(random.integers(start_of_scan(data), max(start_of_scan(data) + 1, len(data) - PACKET)))
    return data[:at] + data[at + PACKET : -2] + b"\xff\xd9"


def blank_packet(data: bytes, random: np.random.Generator) -> bytes:
    """Some bytes in the middle are 0."""
    at = int(random.integers(start_of_scan(data), max(start_of_scan(data) + 1, len(data) - PACKET)))
    length = min(PACKET, len(data) - 2 - at)
    return data[:at] + bytes(length) + data[at + length :]


def swap_packets(data: bytes, random: np.random.Generator) -> bytes:
    """Two runs of bytes have changed places."""
    first, last = start_of_scan(data), len(data) - 2
    length = min(PACKET, (last - first) // 3)
    a = int(random.integers(first, last - 2 * length + 1))
    b = int(random.integers(a + length, last - length + 1))
    return (
        b"".join((data[:a], data[b : b + length], data[a + length : b], data[a : a + length]))
        + data[b + length :]
    )


def join_pictures(data: bytes, random: np.random.Generator) -> bytes:
    """The end is that of the picture before: itself here, from another place of it."""
    first, last = start_of_scan(data), len(data) - 2
    cut = int(random.integers(first, last))
    shift = int(random.integers(1, max(2, (last - first) // 8)))
    return data[:cut] + data[max(first, cut - shift) :]


def _intervals(data: bytes) -> list[int]:
    """Where each restart marker begins, and the end marker."""
    scan = start_of_scan(data)
    marks = [
        at for at in range(scan, len(data) - 1) if data[at] == 0xFF and 0xD0 <= data[at + 1] <= 0xD7
    ]
    return [*marks, len(data) - 2]


def lose_intervals(count: int) -> Corrupt:
    """So many restart intervals in a row are missing, with their markers.

    Eight of them can't be told by the markers, which count to 8.
    """

    def corrupt(data: bytes, random: np.random.Generator) -> bytes:
        marks = _intervals(data)
        at = int(random.integers(len(marks) - count))
        return data[: marks[at]] + data[marks[at + count] :]

    return corrupt


def swap_intervals(data: bytes, random: np.random.Generator) -> bytes:
    """The contents of two restart intervals have changed places, the markers have not."""
    marks = _intervals(data)
    spans = [(a + 2, b) for a, b in pairwise(marks)]
    one, two = sorted(random.choice(len(spans), 2, replace=False))
    (a, b), (c, d) = spans[one], spans[two]
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


WAYS: Final[dict[str, Corrupt]] = {
    "1 bit flipped": flip_bits(1),
    "8 bits flipped": flip_bits(8),
    "1 bit of the header flipped": flip_bits(1, header=True),
    "cut off": truncate,
    "cut off, with an end marker": truncate_and_close,
    f"{PACKET} bytes lost": lose_packet,
    f"{PACKET} bytes are 0": blank_packet,
    f"two runs of {PACKET} bytes swapped": swap_packets,
    "goes on from another place": join_pictures,
}
"""What happens to any baseline JPEG."""

RESTART_WAYS: Final[dict[str, Corrupt]] = {
    "1 restart interval lost": lose_intervals(1),
    "8 restart intervals lost": lose_intervals(8),
    "two restart intervals swapped": swap_intervals,
}
"""What happens to one that has restart markers."""


def difference(one: Any, two: Any) -> float:  # noqa: ANN401 - arrays of any shape
    """The mean absolute difference of two pictures in grey levels; 255 if their sizes differ."""
    if one.shape != two.shape:
        return 255.0
    return float(cv2.absdiff(one, two).mean())
