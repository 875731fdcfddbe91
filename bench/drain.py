"""Draining a backlog against paho alone, and what live results pay meanwhile.

    python bench/drain.py

The agent's own parts on a real mosquitto: the keeper reads the backlog from disk, publisher and
client bring it to the broker, and what is acknowledged is noted on disk. paho alone sends the same
payloads from memory, with as many in flight.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.bare_paho import BarePaho
from bench.figures import p99, spread, table
from bench.line import IN_FLIGHT, Line, PacedSource, asked, noise_frames
from bench.outbox import PAYLOAD, backlog
from bench.page import write_section
from lineside.image import Frame
from lineside.inspector import Inspector
from lineside.messages import Result, decode
from tests.support.broker import Mosquitto

REPEATS: Final = 5
ROWS: Final = 20_000
"""Of the backlog whose draining is timed."""

LIVE_ROWS: Final = 150_000
"""Of the backlog beside which live results are made: more than is drained in that time."""

RATE: Final = 50.0
"""Live results a second: a fast line's."""

SECONDS: Final = 5.0


def drained(url: str, folder: Path) -> float:
    """Messages a second, from the connection to the last acknowledgement."""
    folder.mkdir()
    backlog(folder / "outbox.sqlite", ROWS)
    acked: list[int] = []
    line = Line(url, folder, acked=lambda _payload, at_ns: acked.append(at_ns))
    began = time.monotonic_ns()
    while len(acked) < ROWS:
        time.sleep(0.005)
    line.close()
    return ROWS / ((acked[ROWS - 1] - began) / 1e9)


def live_ms(
    url: str, folder: Path, rows: int, inspector: Inspector, frames: list[Frame]
) -> list[float]:
    """From due frame to PUBACK of each live result, in ms, beside a backlog of `rows`."""
    folder.mkdir()
    if rows:
        backlog(folder / "outbox.sqlite", rows)
    acked: list[tuple[bytes, int]] = []

    def note(payload: bytes, at_ns: int) -> None:
        if payload != PAYLOAD:
            acked.append((payload, at_ns))

    line = Line(url, folder, acked=note)
    stream = line.stream(inspector, PacedSource(frames, RATE, round(RATE * SECONDS)))
    stream.source.open()
    stream.start()
    while not stream.ended or len(acked) < stream.results:
        time.sleep(0.01)
    if rows and line.keeper.pending < 1000:
        msg = f"the backlog of {rows} was drained within {SECONDS:g} s: give a longer one"
        raise SystemExit(msg)
    stream.stop()
    line.close()
    found = []
    for payload, at_ns in acked:
        result = decode("result", payload)
        if isinstance(result, Result) and result.inputs[0].mono_ns is not None:
            found.append((at_ns - result.inputs[0].mono_ns) / 1e6)
    return found


def main() -> None:
    """Measure, and write the section."""
    inspector, what, disk, page = asked()
    frames = noise_frames(inspector)
    rates, lives = [], []
    with tempfile.TemporaryDirectory(dir=disk) as text:
        folder = Path(text)
        with Mosquitto(folder / "broker", "max_queued_messages 0") as broker:
            bare = BarePaho(broker.url)
            for repeat in range(REPEATS):
                theirs = bare.rate([PAYLOAD] * ROWS)
                ours = drained(broker.url, folder / f"drain{repeat}")
                rates.append((theirs, ours, ours / theirs))
                quiet, busy = (
                    p99(live_ms(broker.url, folder / f"{rows}-{repeat}", rows, inspector, frames))
                    for rows in (0, LIVE_ROWS)
                )
                lives.append((quiet, busy, busy / quiet))
            bare.close()
    columns = [[spread(values, 2) for values in zip(*side, strict=True)] for side in (rates, lives)]
    rows = [["messages/s", *columns[0], "at least 0.8"]]
    rows += [["live p99, ms", *columns[1], "at most 1.5"]]
    body = (
        table(("what", "paho alone / no backlog", "draining", "ratio", "asked"), rows)
        + f"\n\nMedians of {REPEATS} interleaved repeats, the lowest and the highest. messages/s: "
        f"{ROWS:,} results of {len(PAYLOAD)} bytes, QoS 1, in flight {IN_FLIGHT}, MQTT 5, paho "
        "alone from memory, the agent's parts from the outbox, from the connection to the last "
        f"PUBACK. live p99: from due frame to PUBACK of {RATE:g} live results a second ({what}, "
        f"commit interval 50 ms), {SECONDS:g} s a run, without a backlog and beside one of "
        f"{LIVE_ROWS:,} results that is being drained from the first moment to the last.\n"
    )
    print(body)
    if page:
        write_section("drain", "Draining a backlog", "python bench/drain.py", body)


if __name__ == "__main__":
    main()
