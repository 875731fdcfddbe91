"""What the process of a live camera costs, against OpenCV's VideoCapture in a thread.

Both watch the same network camera: 1080p Motion JPEG over RTSP on loopback, whose pictures carry
their number. Latency: from the moment the camera has sent the last byte of a frame to the moment a
loop that waits for frames has it as an array. CPU: user and system time of all processes of that
side, in the same seconds. Memory: what is resident, shared pages counted in each process.

    python bench/capture.py
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypedDict

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from page import write_section

from lineside.image import Frame
from lineside.settings import CameraSettings
from lineside_agent.sources import make_source
from lineside_agent.sources.live import LiveSource
from tests.support.rtsp import rtsp_camera

RATE: Final = 25.0
"""Frames a second."""

BITS: Final = 5
WARM_S: Final = 3.0
SIDES: Final = {"naive": "VideoCapture in a thread", "lineside": "a process of its own"}
TICK_MS: Final = 1000 / os.sysconf("SC_CLK_TCK")


class Found(TypedDict):
    """What one side saw: when a frame came and which; CPU in % and MB of each of its processes."""

    seen: list[tuple[int, int]]
    cpu: list[float]
    mb: list[float]


def numbered(number: int) -> Frame:
    """A 1080p picture of a textured thing, its number in black and white fields on top."""
    noise = np.random.default_rng(number).integers(0, 255, (1080, 1920, 3), np.uint8)
    frame: Frame = cv2.GaussianBlur(noise, (0, 0), 4)
    for bit in range(BITS):
        frame[:64, 64 * bit : 64 * bit + 64] = 255 * (number >> bit & 1)
    return frame


def number_of(frame: Frame) -> int:
    """What `numbered` wrote."""
    return sum(int(frame[32, 64 * bit + 32].mean() > 128) << bit for bit in range(BITS))


def cpu_ms(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_MS


def resident_mb(pid: int) -> float:
    """Memory of a process that is resident."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def watch(
    take: Callable[[], Frame | None], seconds: float, others: Callable[[], list[int]]
) -> Found:
    """Take frames for some seconds; when each came, and what that cost."""
    until = time.monotonic() + WARM_S
    while time.monotonic() < until:
        take()
    pids = [os.getpid(), *others()]
    before, begun = [cpu_ms(pid) for pid in pids], time.monotonic()
    seen: list[tuple[int, int]] = []
    while time.monotonic() < begun + seconds:
        frame = take()
        if frame is not None:
            seen.append((time.monotonic_ns(), number_of(frame)))
    lasted = time.monotonic() - begun
    spent = [(cpu_ms(pid) - old) / 10 / lasted for pid, old in zip(pids, before, strict=True)]
    return {"seen": seen, "cpu": spent, "mb": [resident_mb(pid) for pid in pids]}


def naive(where: str, seconds: float) -> Found:
    """A thread that reads, a loop that takes the newest."""
    capture = cv2.VideoCapture(f"rtsp:{where}", cv2.CAP_FFMPEG)
    arrived, newest = threading.Condition(), [None]

    def read() -> None:
        while True:
            there, frame = capture.read()
            if not there:
                return
            with arrived:
                newest[0] = frame
                arrived.notify()

    def take() -> Frame | None:
        with arrived:
            arrived.wait_for(lambda: newest[0] is not None, 1.0)
            frame, newest[0] = newest[0], None
            return frame

    threading.Thread(target=read, daemon=True).start()
    return watch(take, seconds, list)


def lineside(where: str, seconds: float) -> Found:
    """The source that the agent uses."""
    source = make_source(CameraSettings(name="cam0", source=f"rtsp:{where}"))
    source.open()

    def take() -> Frame | None:
        shot = source.take(1.0)
        return None if shot is None else shot.frame

    def others() -> list[int]:
        pid = source.pid if isinstance(source, LiveSource) else None
        return [] if pid is None else [pid]

    found = watch(take, seconds, others)
    source.close()
    return found


def latencies_ms(seen: list[tuple[int, int]], sent: dict[int, list[int]]) -> list[float]:
    """How long each frame took that was seen, by its number and the nearest time it was sent at."""
    return [min((at - s for s in sent[number]), key=abs) / 1e6 for at, number in seen]


def main() -> None:
    """Measure both sides in turn, and write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--where")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-page", action="store_true", help="print the table only")
    args = parser.parse_args()
    if args.side is not None:
        side = naive if args.side == "naive" else lineside
        print(json.dumps(side(args.where, args.seconds)), flush=True)
        os._exit(0)  # OpenCV's reader may still be reading
    found: dict[str, list[tuple[float, ...]]] = {side: [] for side in SIDES}
    sent: dict[int, list[int]] = defaultdict(list)
    pictures = [numbered(number) for number in range(2**BITS)]
    with rtsp_camera(
        *pictures, rate=RATE, sent=lambda n: sent[n].append(time.monotonic_ns())
    ) as where:
        for _ in range(args.repeats):
            for side in SIDES:
                sent.clear()
                command = [sys.executable, __file__, "--side", side, "--where", where]
                command += ["--seconds", str(args.seconds)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
                got = json.loads(done.stdout)
                late = latencies_ms(got["seen"], sent)
                p50, p99 = np.percentile(late, [50, 99])
                cpu, mb = [*got["cpu"], 0.0], [*got["mb"], 0.0]
                rate = len(late) / args.seconds
                found[side].append((p50, p99, rate, cpu[0], cpu[1], mb[0], mb[1]))
    rows = [
        "| side | p50, ms | p99, ms | frames/s | CPU, % | its process | MB | its process |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for side, name in SIDES.items():
        median = np.median(np.array(found[side]), axis=0)
        rows.append(f"| {name} | " + " | ".join(f"{value:.1f}" for value in median) + " |")
    body = (
        f"1080p Motion JPEG over RTSP at {RATE:g} frames a second; medians of {args.repeats} "
        "interleaved repeats. p50 and p99: from a frame's last byte sent to the array in the "
        "taker's hands. CPU in % of a core and resident memory: of the taker, and of "
        "its camera's process. The machine is shared; the camera runs on it too.\n\n"
    )
    print("\n".join(rows))
    if not args.no_page:
        command_line = "python bench/capture.py"
        title = "A live camera in a process of its own"
        write_section("capture", title, command_line, body + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
