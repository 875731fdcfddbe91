"""From frame to PUBACK at half load: what is paid beside the inference, the disk and the broker.

    python bench/latency.py

Frames are due at half the rate that the line can carry, and the agent's parts take them as they
come: stream, keeper, publisher, client and a real mosquitto on loopback. A frame's latency is from
the moment at which it was due to the moment at which the client has the broker's acknowledgement of
its result, which is on disk before it is sent. What that is compared with is measured in the same
repeat: fdatasync of as much as one commit writes, and paho alone with the same payload at the same
pace, from due to PUBACK as well. The commit interval's share is at most the interval itself.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.bare_paho import BarePaho
from bench.figures import p99, spread, table
from bench.line import IN_FLIGHT, Line, PacedSource, asked, noise_frames
from bench.page import write_section
from lineside.image import Frame
from lineside.inspector import Inspector
from lineside.messages import Result, decode
from lineside_agent.sources.memory import MemorySource
from tests.support.broker import Mosquitto

REPEATS: Final = 5
SECONDS: Final = 4.0
"""Of each paced run."""

CAPACITY_S: Final = 1.5
"""Seconds of each of the three runs that say what the line can carry, about."""

INTERVALS_MS: Final = (50, 0)
SYNCS: Final = 300
PAGE_BYTES: Final = 4096
WAL_BYTES: Final = 1000 * PAGE_BYTES
"""As SQLite's log, the file is written over from its beginning when it is so long."""


def fdatasync_ms(folder: Path, size: int) -> list[float]:
    """SYNCS writes of `size` bytes, each with its fdatasync: how long write and sync took, in ms.

    They go to a file that has its length already, which is cheaper than one that grows.
    """
    path, data, found = folder / "sync", os.urandom(size), []
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, bytes(WAL_BYTES), 0)
    os.fsync(fd)
    for number in range(SYNCS):
        begun = time.perf_counter_ns()
        os.pwrite(fd, data, number * size % (WAL_BYTES - size))
        os.fdatasync(fd)
        found.append((time.perf_counter_ns() - begun) / 1e6)
    os.close(fd)
    path.unlink()
    return found


class Side:
    """A line with one commit interval, and what it can carry.

    Args:
        url: of the broker.
        folder: for its outbox.
        commit_ms: the interval.
        inspector: who looks.

    Attributes:
        commit_ms: the interval.
        rate: half of what it can carry, in results a second.
        payload: of one of its results.
        acked: payload of each message that was acknowledged in the last run, and when.
    """

    def __init__(self, url: str, folder: Path, commit_ms: int, inspector: Inspector) -> None:
        folder.mkdir()
        self.commit_ms = commit_ms
        self._inspector = inspector
        self._frames: list[Frame] = noise_frames(inspector)
        self.acked: list[tuple[bytes, int]] = []
        self._line = Line(url, folder, commit_ms, lambda *one: self.acked.append(one))
        count = 200
        for _ in range(2):  # the first one says how many frames the others need
            count = max(50, round(self._carried(count) * CAPACITY_S))
        self.rate = statistics.median(self._carried(count) for _ in range(3)) / 2
        self.payload = self.acked[-1][0]

    def _carried(self, count: int) -> float:
        frames = [self._frames[number % len(self._frames)] for number in range(count)]
        return self._line.rate(self._inspector, MemorySource("cam0", frames))

    @property
    def written(self) -> int:
        """Bytes that one commit writes at least: whole pages, and one more."""
        rows = max(1.0, self.rate * self.commit_ms / 1000)
        return (round(rows * len(self.payload)) // PAGE_BYTES + 2) * PAGE_BYTES

    def measure(self) -> tuple[list[float], list[float]]:
        """Frame to PUBACK, and invoke, of each result of a paced run, in milliseconds."""
        self.acked.clear()
        self._line.rate(
            self._inspector, PacedSource(self._frames, self.rate, round(self.rate * SECONDS))
        )
        whole, invokes = [], []
        for payload, at_ns in self.acked:
            result = decode("result", payload)
            if isinstance(result, Result) and result.inputs[0].mono_ns is not None:
                whole.append((at_ns - result.inputs[0].mono_ns) / 1e6)
                invokes.append(result.latency_ms.invoke)
        return whole, invokes

    def close(self) -> None:
        """End the line."""
        self._line.close()


def measure(inspector: Inspector, folder: Path) -> list[list[str]]:
    """A row of the table for each commit interval."""
    with Mosquitto(folder / "broker", "max_queued_messages 0") as broker:
        sides = [Side(broker.url, folder / f"{ms}", ms, inspector) for ms in INTERVALS_MS]
        bare = BarePaho(broker.url)
        found: list[list[tuple[float, ...]]] = [[] for _ in sides]
        for _ in range(REPEATS):
            for side, figures in zip(sides, found, strict=True):
                disk = p99(fdatasync_ms(folder, side.written))
                count = round(side.rate * SECONDS / 2)
                puback = p99(bare.latencies_ms(side.payload, side.rate, count))
                whole, invokes = side.measure()
                ours, invoke = p99(whole), p99(invokes)
                ratio = (ours - invoke) / (side.commit_ms + disk + puback)
                figures.append((statistics.median(whole), ours, invoke, disk, puback, ratio))
        bare.close()
        for side in sides:
            side.close()
    return [
        [
            f"{side.commit_ms} ms",
            f"{side.rate:,.0f}",
            *(spread(values) for values in zip(*figures, strict=True)),
        ]
        for side, figures in zip(sides, found, strict=True)
    ]


def main() -> None:
    """Measure, and write the section."""
    inspector, what, disk, page = asked()
    with tempfile.TemporaryDirectory(dir=disk) as folder:
        rows = measure(inspector, Path(folder))
    head = ("commit interval", "frames/s", "p50", "p99", "p99 invoke", "p99 fdatasync")
    body = (
        table([*head, "p99 bare PUBACK", "ratio"], rows)
        + f"\n\nIn ms, but for the rates. {what}, int8, in flight {IN_FLIGHT}, MQTT 5, mosquitto "
        f"on loopback, half of what the line carries, {SECONDS:g} s a run; medians of {REPEATS} "
        "interleaved repeats, the lowest and the highest. p50, p99: from the moment at which a "
        "frame was due to the PUBACK of its result, which is on disk before. ratio: (p99 - p99 "
        "invoke) / (commit interval + p99 fdatasync + p99 bare PUBACK), asked: at most 1.25.\n"
    )
    print(body)
    if page:
        write_section(
            "latency", "From frame to PUBACK at half load", "python bench/latency.py", body
        )


if __name__ == "__main__":
    main()
