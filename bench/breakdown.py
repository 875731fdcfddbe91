"""Where the time of a result goes: on the line at full speed, and on the way from frame to PUBACK.

    python bench/breakdown.py

At full speed: what the stream's thread spends on a result beside a bare inference, and how much of
a core the other two threads take. At half load and a commit interval of 0: each step between two
hands, seen by wrapping the calls where a result changes hands; that costs some microseconds.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.bare_paho import BarePaho
from bench.figures import p99, table
from bench.latency import Side, fdatasync_ms
from bench.line import Line, bare, bundle_of, noise_frames, result_of
from bench.page import write_section
from bench.path import NETWORKS
from lineside.messages import Result
from lineside.mqtt import MqttClient, Outgoing
from lineside_agent.outbox import Outbox
from lineside_agent.records import Row
from lineside_agent.sources.memory import MemorySource
from lineside_agent.waiting import Waiting
from tests.support.broker import Mosquitto

REPEATS: Final = 5
SECONDS: Final = 5.0
PACED: Final = "MobileNet 0.25, 160 px"

STEPS: Final = {
    "frame due, looked at, assembled": ("due", "put"),
    "waiting for a commit": ("put", "commit"),
    "commit": ("commit", "committed"),
    "handed to the client": ("committed", "sent"),
    "sent, and acknowledged": ("sent", "acked"),
    "in all": ("due", "acked"),
}


def cpu_ms() -> dict[str, float]:
    """CPU time of this process's Python threads so far, by name, in milliseconds."""
    found = {}
    for thread in threading.enumerate():
        try:
            stat = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text()
        except OSError:  # it has ended
            continue
        found[thread.name] = int(stat.split()[0]) / 1e6
    return found


def at_full_speed(name: str, url: str, folder: Path) -> list[str]:
    """A row of the first table."""
    inspector = bundle_of(*NETWORKS[name])
    frames = noise_frames(inspector)
    payloads: list[bytes] = []
    line = Line(url, folder, acked=lambda payload, _at: payloads.append(payload))
    count = max(100, int(SECONDS * bare(inspector, frames, 50)))
    again = [frames[number % len(frames)] for number in range(count)]
    found: list[list[float]] = []
    for _ in range(REPEATS):
        alone = 1000 / bare(inspector, frames, count)
        payloads.clear()
        before = cpu_ms()
        elapsed = 1000 / line.rate(inspector, MemorySource("cam0", again))
        after = cpu_ms()
        said = [each for each in map(result_of, payloads) if each is not None]
        pre, invoke, total = (
            statistics.fmean(getattr(each.latency_ms, what) for each in said)
            for what in ("preprocess", "invoke", "total")
        )
        keeper, mqtt = ((after[who] - before[who]) / count for who in ("keeper", "mqtt"))
        rest = total - pre - invoke
        found.append([alone, elapsed, pre, invoke, rest, elapsed - total, keeper, mqtt])
    line.close()
    return [name, *(f"{statistics.median(values):.2f}" for values in zip(*found, strict=True))]


class Steps:
    """When each result was in whose hands, in ns of the monotonic clock.

    Attributes:
        at: step -> number of the result -> when.
        sent: payload -> when.
    """

    def __init__(self) -> None:
        self.at: dict[str, dict[int, int]] = {"put": {}, "commit": {}, "committed": {}}
        self.sent: dict[bytes, int] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note where results change hands."""
        put, commit, publish = Waiting.put, Outbox.commit, MqttClient._publish  # noqa: SLF001

        def noted_put(waiting: Waiting, result: Result, **how: Any) -> bool:  # noqa: ANN401
            begun = time.monotonic_ns()
            kept = put(waiting, result, **how)
            self.at["put"][result.seq] = begun
            return kept

        def noted_commit(outbox: Outbox, *what: Any) -> list[Row]:  # noqa: ANN401
            begun = time.monotonic_ns()
            rows = commit(outbox, *what)
            ended = time.monotonic_ns()
            for row in rows:
                if row.stream:
                    self.at["commit"][row.seq] = begun
                    self.at["committed"][row.seq] = ended
            return rows

        def noted_publish(client: MqttClient, engine: Any, message: Outgoing) -> None:  # noqa: ANN401
            self.sent[message.payload] = time.monotonic_ns()
            publish(client, engine, message)

        with (
            patch.object(Waiting, "put", noted_put),
            patch.object(Outbox, "commit", noted_commit),
            patch.object(MqttClient, "_publish", noted_publish),
        ):
            yield

    def of(self, payload: bytes, acked: int) -> dict[str, int]:
        """All moments of a result."""
        result = result_of(payload)
        assert result is not None  # noqa: S101
        due = result.inputs[0].mono_ns
        assert due is not None  # noqa: S101
        moments = {step: found[result.seq] for step, found in self.at.items()}
        return {"due": due, **moments, "sent": self.sent[payload], "acked": acked}


def on_the_way(url: str, folder: Path) -> tuple[list[list[str]], float]:
    """The rows of the second table, and the results a second."""
    inspector = bundle_of(*NETWORKS[PACED])
    alone = BarePaho(url)
    found: dict[str, list[tuple[float, float]]] = {}

    def note(name: str, samples: Sequence[float]) -> None:
        found.setdefault(name, []).append((statistics.median(samples), p99(samples)))

    steps = Steps()
    with steps.watching():
        side = Side(url, folder / "paced", 0, inspector)
        for _ in range(REPEATS):
            whole, invokes = side.measure()
            moments = [steps.of(payload, at) for payload, at in side.acked]
            for name, (start, end) in STEPS.items():
                note(name, [(each[end] - each[start]) / 1e6 for each in moments])
            note("beside it: invoke", invokes)
            note("beside it: write and fdatasync", fdatasync_ms(folder, side.written))
            count = len(whole) // 2
            note(
                "beside it: paho alone, due to PUBACK",
                alone.latencies_ms(side.payload, side.rate, count),
            )
        side.close()
    alone.close()
    rows = [
        [name, *(f"{statistics.median(each):.2f}" for each in zip(*figures, strict=True))]
        for name, figures in found.items()
    ]
    return rows, side.rate


def main() -> None:
    """Measure, and write the section."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        with Mosquitto(folder / "broker", "max_queued_messages 0") as broker:
            full = []
            for number, name in enumerate(NETWORKS):
                place = folder / str(number)
                place.mkdir()
                full.append(at_full_speed(name, broker.url, place))
            paced, rate = on_the_way(broker.url, folder)
    head = ["int8 model", "bare invoke", "a result", "preprocess", "invoke", "decision"]
    head += ["assemble, put, next frame", "CPU: keeper", "CPU: mqtt"]
    body = (
        f"{table(head, full)}\n\nAt full speed, in ms for each result, means; medians of {REPEATS} "
        "repeats. `a result` is what the stream's thread takes from one to the next: the sum of "
        "the four behind it; invoke there has the wait for Python's lock in it. Keeper and client "
        "run beside it, on the other core.\n\n"
        f"{table(['step', 'p50', 'p99'], paced)}\n\nFrom frame to PUBACK at a commit interval of 0 "
        f"and half load ({PACED}, {rate:,.0f} frames/s), in ms; medians of {REPEATS} runs.\n"
    )
    print(body)
    write_section("breakdown", "Where the time goes", "python bench/breakdown.py", body)


if __name__ == "__main__":
    main()
