"""From frame to acknowledgement: how much of the interpreter's own speed is left.

    python bench/path.py

Results a second, each durable and acknowledged by a real mosquitto, over bare inferences a second
by the same engine: one thread of the interpreter, the same pictures in memory, of the model's size.
And over the loop that one would write first (invoke, publish by paho at QoS 1, nothing kept on
disk) on the same pictures. What is compared runs in turn.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import cv2
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.figures import spread, table
from bench.line import IN_FLIGHT, Line, bare, bundle_of, noise_frames
from bench.page import write_section
from lineside.image import Frame
from lineside.inspector import Inspector
from lineside_agent.sources.memory import MemorySource
from tests.support.broker import Mosquitto

REPEATS: Final = 5
SECONDS: Final = 10.0
"""How long each side of one repeat runs, about: the last commit alone waits for up to 0.05 s."""

NETWORKS: Final = {
    "MobileNet 0.25, 160 px": (160, 0.25),
    "MobileNet 1.0, 224 px": (224, 1.0),
    "MobileNet 1.0, 320 px": (320, 1.0),
}


def naive(url: str, inspector: Inspector, frames: Sequence[Frame], count: int) -> float:
    """Results a second of the loop that one would write first."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(IN_FLIGHT)
    client.connect("127.0.0.1", int(url.rpartition(":")[2]))
    client.loop_start()
    began = time.perf_counter()
    for number in range(count):
        picture = cv2.cvtColor(frames[number % len(frames)], cv2.COLOR_BGR2RGB)
        scores = inspector.outputs(picture).tolist()
        message = {"n": number, "scores": scores, "time": time.time()}
        client.publish("naive/result", json.dumps(message), qos=1)
    client.publish("naive/result", b"", qos=1).wait_for_publish(60)  # they come in order
    rate = count / (time.perf_counter() - began)
    client.disconnect()
    client.loop_stop()
    return rate


def in_turn(*sides: Callable[[], float]) -> list[list[float]]:
    """Each side's rates, REPEATS of them, in turn."""
    found: list[list[float]] = [[] for _ in sides]
    for _ in range(REPEATS):
        for rates, side in zip(found, sides, strict=True):
            rates.append(side())
    return found


def measure(name: str, url: str, folder: Path) -> list[str]:
    """One network: a row of the table."""
    inspector = bundle_of(*NETWORKS[name])
    frames = noise_frames(inspector)
    count = max(100, int(SECONDS * bare(inspector, frames, 50)))
    line = Line(url, folder)
    again = [frames[number % len(frames)] for number in range(count)]
    bares, lines, naives = in_turn(
        lambda: bare(inspector, frames, count),
        lambda: line.rate(inspector, MemorySource("cam0", again)),
        lambda: naive(url, inspector, frames, count),
    )
    line.close()
    return [
        name,
        f"{1000 / statistics.median(bares):.2f}",
        f"{statistics.median(bares):,.0f}",
        f"{statistics.median(lines):,.0f}",
        spread([ours / theirs for ours, theirs in zip(lines, bares, strict=True)], 3),
        f"{statistics.median(naives):,.0f}",
        spread([ours / theirs for ours, theirs in zip(lines, naives, strict=True)]),
    ]


def main() -> None:
    """Measure all networks and write the section."""
    head = ["int8 model", "invoke, ms", "bare a second", "results a second", "ratio"]
    head += ["naive loop", "ratio"]
    rows = []
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        with Mosquitto(folder / "broker", "max_queued_messages 0") as broker:
            for number, name in enumerate(NETWORKS):
                place = folder / str(number)
                place.mkdir()
                rows.append(measure(name, broker.url, place))
                print(*rows[-1], flush=True)
    body = (
        f"{table(head, rows)}\n\nMedians of {REPEATS} repeats, in turn, and the lowest and highest "
        "ratio. A result counts when it is on disk and acknowledged; the naive loop's when it is "
        "acknowledged. Agent, broker and disk share the machine's cores.\n"
    )
    write_section("path", "From frame to acknowledgement", "python bench/path.py", body)


if __name__ == "__main__":
    main()
