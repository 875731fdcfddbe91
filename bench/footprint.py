"""Memory of an agent with one camera, and how long it takes from its start to its first result.

    python bench/footprint.py

Whole processes, started in turn: `lineside agent run` on the virtual line, and `bench/naive.py` on
a video of the same pictures. Memory is PSS from /proc/PID/smaps_rollup: what several processes
share counts for each with its part, so this one loads none of their libraries. A start ends when a
subscriber of its own has the first result, which the broker hands on as it acknowledges it. Each
start of the agent is its first one: nothing is kept from before, so the bundle is copied, too. The
child that tries the golden images before a model is used is also run alone, to say what it takes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.figures import spread, table
from bench.page import write_section
from lineside.mqtt import Hooks, Incoming, MqttClient
from lineside.settings import MqttSettings
from tests.support.broker import Mosquitto, wait_for
from tests.support.station import write_config

REPEATS: Final = 5
SETTLED_S: Final = 8.0
"""Seconds from the first result to the look at the memory: some 200 results."""

NETWORK: Final = "MobileNet 0.25, 128 px"
NAIVE: Final = Path(__file__).with_name("naive.py")


def pss_mb(pid: int) -> float:
    """Proportional set size of a process, in 1,000,000 bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


def children(pid: int) -> list[int]:
    """Processes that a process has started and that run."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(word) for task in tasks for word in (task / "children").read_text().split()]


class Ear:
    """A subscriber that notes when the first result came.

    Args:
        url: of the broker.
    """

    def __init__(self, url: str) -> None:
        self._first_ns = 0
        self._heard = threading.Event()
        ready = threading.Event()
        filters = ("lineside/+/+/result/+", "naive/result")
        self._client = MqttClient(MqttSettings(url=url), "bench-ear", subscriptions=filters)
        self._client.start(
            Hooks(on_message=self._on_message, on_subscribed=lambda _refused: ready.set())
        )
        wait_for(ready.is_set)

    def _on_message(self, message: Incoming) -> None:
        if not self._heard.is_set():
            self._first_ns = message.mono_ns
            self._heard.set()

    def listen(self) -> None:
        """Forget what came."""
        self._heard.clear()

    def first_ns(self) -> int:
        """When the first result came, in ns of the monotonic clock."""
        if not self._heard.wait(60.0):
            msg = "no result came within 60 s"
            raise SystemExit(msg)
        return self._first_ns

    def close(self) -> None:
        """Disconnect."""
        self._client.stop()


def started(ear: Ear, command: Sequence[str | Path], log: Path) -> tuple[float, float, float]:
    """Start a process, wait for its first result, and look at it.

    Returns:
        Seconds from its start to its first result; PSS in MB of the process, and of those that it
        has started.
    """
    ear.listen()
    begun_ns = time.monotonic_ns()
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            first_s = (ear.first_ns() - begun_ns) / 1e9
            time.sleep(SETTLED_S)
            others = sum(pss_mb(pid) for pid in children(process.pid))
            return first_s, pss_mb(process.pid), others
        finally:
            process.terminate()


def golden_s(bundle: Path) -> float:
    """Seconds of the child that runs the golden images."""
    command = [sys.executable, "-m", "lineside.runtime.trial", str(bundle), "--threads", "1"]
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def prepare(folder: Path) -> None:
    """In a process of its own: the same pictures, 640x480, as belt/*.png and as belt.avi."""
    import cv2

    from tests.support.pictures import colourful

    belt, video = folder / "belt", folder / "belt.avi"
    belt.mkdir()
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 25, (640, 480))
    for number in range(64):
        picture = colourful(480, 640, number)
        writer.write(picture)
        if number < 4:
            cv2.imwrite(str(belt / f"{number:02}.png"), picture)
    writer.release()


def own_bundle() -> str:
    """In a process of its own: the folder of an untrained network's bundle."""
    from bench.line import NETWORKS, bundle_folder

    return str(bundle_folder(*NETWORKS[NETWORK]))


def aside(*words: str | Path) -> str:
    """Have this script do something in another process; what it says."""
    command = [sys.executable, __file__, *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def measure(bundle: Path, folder: Path) -> tuple[list[tuple[float, ...]], ...]:
    """Agent, naive loop and golden child, in turn: what `started` and `golden_s` give."""
    aside("--prepare", folder)
    belt, video = folder / "belt", folder / "belt.avi"
    agents: list[tuple[float, ...]] = []
    naives: list[tuple[float, ...]] = []
    goldens: list[tuple[float, ...]] = []
    with Mosquitto(folder / "broker") as broker:
        ear = Ear(broker.url)

        def agent(number: int) -> tuple[float, ...]:
            config = write_config(
                folder / str(number), url=broker.url, bundle=bundle, source=f"line:{belt}"
            )
            command = [sys.executable, "-m", "lineside", "agent", "run", config]
            return started(ear, command, folder / f"agent{number}.log")

        def naive(number: int) -> tuple[float, ...]:
            command = [sys.executable, NAIVE, str(broker.port), video, bundle / "model.tflite"]
            return started(ear, command, folder / f"naive{number}.log")

        sides: tuple[tuple[list[tuple[float, ...]], Callable[[int], tuple[float, ...]]], ...] = (
            (agents, agent),
            (naives, naive),
            (goldens, lambda _number: (golden_s(bundle),)),
        )
        for number in range(REPEATS):
            for found, side in sides:
                found.append(side(number))
        ear.close()
    return agents, naives, goldens


def main() -> None:
    """Measure, and write the section."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", type=Path, help=f"default: an untrained {NETWORK}")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: a new one")
    parser.add_argument("--no-page", action="store_true", help="print the table only")
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--own-bundle", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.prepare is not None:
        prepare(args.prepare)
        return
    if args.own_bundle:
        print(own_bundle())
        return
    bundle = (args.bundle or Path(aside("--own-bundle"))).absolute()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        agents, naives, goldens = measure(bundle, Path(folder))
    memory = [ours[1] / theirs[1] for ours, theirs in zip(agents, naives, strict=True)]
    start = [
        ours[0] / (1.3 * theirs[0] + golden[0])
        for ours, theirs, golden in zip(agents, naives, goldens, strict=True)
    ]
    rows = [
        ["agent", *(spread([run[n] for run in agents], 1 + (n == 0)) for n in (1, 2, 0))],
        ["naive loop", spread([run[1] for run in naives], 1), "", spread([r[0] for r in naives])],
        ["golden child", "", "", spread([run[0] for run in goldens])],
        ["ratio", spread(memory), "", spread(start)],
        ["asked, at most", "1.2", "", "1"],
    ]
    what = args.bundle.name if args.bundle else NETWORK
    body = (
        table(("process", "PSS, MB", "its capture process, MB", "start to PUBACK, s"), rows)
        + f"\n\n{what}, int8, one camera of 640x480 at 25 frames a second; medians of {REPEATS} "
        "interleaved starts, the lowest and the highest. Memory "
        f"{SETTLED_S:g} s after the first result. ratio of the start: over 1.3 times the naive "
        "loop's and once the golden child's.\n"
    )
    print(body)
    if not args.no_page:
        write_section("footprint", "Memory and start", "python bench/footprint.py", body)


if __name__ == "__main__":
    main()
