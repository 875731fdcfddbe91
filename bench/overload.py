"""Twice the load that a line can carry: how old results get, and whether drops are counted.

    python bench/overload.py

The virtual line, in a capture process as any live camera, gives frames at twice the rate at which
the line gives results, and writes down each one that it gave: that is the truth which what the
agent counts is compared with.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import cv2

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.figures import p99, spread, table
from bench.line import LARGE, Line, asked
from bench.page import write_section
from lineside.image import Frame
from lineside.inspector import Inspector
from lineside.messages import Result, decode
from lineside.settings import CameraSettings
from lineside_agent.capture.line import LOG
from lineside_agent.sources import make_source
from lineside_agent.sources.memory import MemorySource
from tests.support.broker import Mosquitto
from tests.support.pictures import colourful

REPEATS: Final = 5
SECONDS: Final = 6.0
"""Of each run, from its first result on."""

LOAD: Final = 2.0
COMMIT_MS: Final = (50, 0)
FIRST: Final = 1
"""Pictures that a capture process keeps for itself: the first one, to compare the second with."""

OPEN_S: Final = 20.0
"""Seconds that the camera may take to give its first frame."""


def pictures() -> list[Frame]:
    """What the camera sees: 640x480, BGR."""
    return [colourful(480, 640, seed) for seed in range(8)]


def carried(line: Line, inspector: Inspector, seconds: float) -> float:
    """Results a second that the line gives of such frames when they wait for it."""
    seen, count = pictures(), 30
    rate = 0.0
    for _ in range(2):  # the first says how many the second needs
        rate = line.rate(inspector, MemorySource("cam0", [seen[n % 8] for n in range(count)]))
        count = round(rate * seconds)
    return rate


class Run:
    """One run under too much load.

    Args:
        url: of the broker.
        folder: for its files.
        commit_ms: the commit interval.
        inspector: who looks.

    Attributes:
        given: frames a second that the camera gave, over results a second that the line carries.
        asked_ms: inference (median) and frame period, in ms.
        verdict_ms: p99 of the time from a frame's stamp to its verdict.
        puback_ms: p99 of the time from a frame's stamp to the PUBACK of its result.
        wrong: frames given, but for FIRST, that are neither a result nor counted as dropped; below
            0: too many are.
        dropped: how many the agent counted as dropped.
    """

    def __init__(self, url: str, folder: Path, commit_ms: int, inspector: Inspector) -> None:
        belt = folder / "belt"
        (belt / LOG).parent.mkdir(parents=True)
        for number, picture in enumerate(pictures()):
            cv2.imwrite(str(belt / f"{number}.png"), picture)
        acked: list[tuple[bytes, int]] = []
        line = Line(url, folder, commit_ms, lambda *one: acked.append(one))
        can = carried(line, inspector, 1.0)
        while line.keeper.pending:
            time.sleep(0.01)
        acked.clear()
        source = make_source(
            CameraSettings(name="cam0", source=f"line:{belt}", rate=round(LOAD * can))
        )
        stream = line.stream(inspector, source)
        stream.source.open()
        stream.start()
        until = time.monotonic() + OPEN_S
        while not stream.results and time.monotonic() < until:
            time.sleep(0.01)
        begun, before = time.monotonic(), len(_given(belt))
        time.sleep(SECONDS)
        rate = (len(_given(belt)) - before) / (time.monotonic() - begun)
        stream.stop()
        while line.keeper.pending:
            time.sleep(0.01)
        line.close()
        verdicts, pubacks, invokes = [], [], []
        for payload, at_ns in acked:
            result = decode("result", payload)
            if isinstance(result, Result) and result.inputs and result.inputs[0].mono_ns:
                verdicts.append(result.latency_ms.total)
                pubacks.append((at_ns - result.inputs[0].mono_ns) / 1e6)
                invokes.append(result.latency_ms.invoke)
        self.given = rate / can
        self.asked_ms = statistics.median(invokes) + 1000 / rate
        self.verdict_ms, self.puback_ms = p99(verdicts), p99(pubacks)
        self.dropped = source.dropped + stream.refused
        self.wrong = len(_given(belt)) - FIRST - stream.results - self.dropped


def _given(belt: Path) -> list[bytes]:
    """A line for each frame that the camera gave."""
    log = belt / LOG
    return log.read_bytes().splitlines() if log.exists() else []


def row(commit_ms: int, runs: list[Run]) -> list[str]:
    """Of the table."""
    return [
        f"{commit_ms} ms",
        spread([run.given for run in runs]),
        spread([run.asked_ms for run in runs], 1),
        spread([run.verdict_ms for run in runs], 1),
        spread([run.verdict_ms / run.asked_ms for run in runs]),
        spread([run.puback_ms for run in runs], 1),
        f"{sum(run.dropped for run in runs):,}",
        f"{sum(abs(run.wrong) for run in runs)}",
    ]


def main() -> None:
    """Measure, and write the section."""
    inspector, what, disk, page = asked(LARGE)
    runs: dict[int, list[Run]] = {ms: [] for ms in COMMIT_MS}
    with tempfile.TemporaryDirectory(dir=disk) as text:
        folder = Path(text)
        with Mosquitto(folder / "broker", "max_queued_messages 0") as broker:
            for repeat in range(REPEATS):
                for ms, found in runs.items():
                    found.append(Run(broker.url, folder / f"{ms}-{repeat}", ms, inspector))
    head = ("commit interval", "load", "invoke + period, ms", "p99 to the verdict, ms", "ratio")
    body = (
        table(
            [*head, "p99 to PUBACK, ms", "dropped", "miscounted"], [row(*r) for r in runs.items()]
        )
        + f"\n\n{what}, int8, of frames of 640x480 from a capture process; {REPEATS} interleaved "
        f"runs of {SECONDS:g} s: medians, the lowest and the highest. load: frames given over "
        "results that the line gives when frames wait for it. ratio: p99 of the age of a verdict, "
        "from its frame's stamp, over (median invoke + frame period), asked: at most 2; the time "
        "to the PUBACK has the commit interval in it. miscounted: frames that the camera wrote "
        "down and that are neither a result nor counted as dropped by the agent, and the other "
        "way round; asked: 0.\n"
    )
    print(body)
    if page:
        write_section("overload", "Twice the load", "python bench/overload.py", body)


if __name__ == "__main__":
    main()
