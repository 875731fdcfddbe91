"""What keeping a result costs: against one commit for each row, and with a long backlog.

Run it with the environment's Python. It writes its section of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import apsw

sys.path.insert(0, str(Path(__file__).parents[1]))

from page import write_section

from lineside.messages import encode
from lineside.mqtt import Delivery, Outgoing
from lineside.settings import OutboxSettings, StationSettings
from lineside.topics import Topics
from lineside_agent.keeper import Keeper
from lineside_agent.outbox import Outbox
from lineside_agent.publisher import Publisher
from lineside_agent.records import Entry
from tests.support.examples import result

REPEATS: Final = 5
STATION: Final = StationSettings(site="ulm", name="press4")
BOOT: Final = "0198f1c2-0000-4000-8000-000000000002"
PAYLOAD: Final = encode(result(seq=123456))


def single_commits(folder: Path, rows: int) -> float:
    """Rows a second where each one is a transaction of its own, as one would write it first."""
    db = apsw.Connection(str(folder / "single.sqlite"))
    for pragma in ("journal_mode = wal", "synchronous = full"):
        db.execute(f"PRAGMA {pragma}").fetchall()
    db.execute("CREATE TABLE IF NOT EXISTS results (seq INTEGER PRIMARY KEY, payload BLOB)")
    began = time.perf_counter()
    for _ in range(rows):
        payload = encode(result(seq=123456))
        db.execute("INSERT INTO results (payload) VALUES (?)", (payload,))
    rate = rows / (time.perf_counter() - began)
    db.close()
    return rate


class Kept:
    """A running keeper on a file, with a broker in memory that confirms when it is asked to."""

    def __init__(self, path: Path) -> None:
        self._publisher = Publisher(self._send, Topics("ulm", "press4"), echo=False)
        self._given: list[Outgoing] = []
        settings = OutboxSettings(path=str(path), max_results=10_000_000, max_mb=20_000)
        self.keeper = Keeper(settings, STATION, BOOT, self._publisher, ["top"])
        self.keeper.start()

    def _send(self, message: Outgoing) -> None:
        self._given.append(message)

    def put(self, rows: int) -> float:
        """Seconds until so many results are on disk."""
        results = [result() for _ in range(rows)]
        began = time.perf_counter()
        for one in results:
            self.keeper.put(one, wait=True)
        while self.keeper.waiting:
            time.sleep(0.0005)
        return time.perf_counter() - began

    def drain(self, rows: int) -> float:
        """Seconds until so many messages are confirmed, and noted on disk."""
        goal = self.keeper.pending - rows
        began = time.perf_counter()
        while self.keeper.pending > goal:
            given, self._given = self._given, []
            for message in given:
                if message.on_done is not None:
                    message.on_done(Delivery(ok=True, reason=""))
            if not given:
                time.sleep(0.0005)
        return time.perf_counter() - began


def backlog(path: Path, rows: int) -> None:
    """An outbox that has so many results to publish."""
    outbox = Outbox(path, "0198f1c2-0000-4000-8000-000000000001")
    for first in range(1, rows + 1, 2000):
        last = min(rows, first + 1999)
        outbox.commit([Entry("top", n, PAYLOAD) for n in range(first, last + 1)])
    outbox.close(clean=True)


def interleaved(
    one: Callable[[], float], other: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Both in turn, REPEATS times."""
    pairs = [(one(), other()) for _ in range(REPEATS)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def line(name: str, figures: Sequence[float], unit: str) -> str:
    """A row of the table: the median, the lowest and the highest."""
    median = statistics.median(figures)
    return f"| {name} | {median:,.1f} | {min(figures):,.1f} to {max(figures):,.1f} | {unit} |"


def main() -> None:
    """Measure, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlog", type=int, default=1_000_000, help="rows of the long backlog")
    parser.add_argument("--rows", type=int, default=20_000, help="rows of one measurement")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: a new one")
    parser.add_argument("--note", default="", help="a sentence for the page")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        text = measure(folder, options.backlog, options.rows)
    finally:
        shutil.rmtree(folder)
    print(text)
    write_section(
        "outbox",
        "The outbox",
        "python bench/outbox.py",
        f"{REPEATS} interleaved repeats, medians. {options.note}\n\n{text}",
    )


def measure(folder: Path, long: int, rows: int) -> str:
    """The table."""
    fresh = Kept(folder / "fresh.sqlite")
    single, grouped = interleaved(
        lambda: single_commits(folder, 500), lambda: rows / fresh.put(rows)
    )
    fresh.keeper.stop()
    backlog(folder / "short.sqlite", 1000)
    backlog(folder / "long.sqlite", long)
    few, many = (Kept(folder / f"{name}.sqlite") for name in ("short", "long"))
    puts: tuple[list[float], list[float]] = ([], [])
    drains: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS):
        for which, kept in enumerate((few, many)):
            puts[which].append(kept.put(rows) / rows * 1e6)
            drains[which].append(kept.drain(rows) / rows * 1e6)
    for kept in (few, many):
        kept.keeper.stop()
    median = statistics.median
    ratio = median(grouped) / median(single)
    return "\n".join(
        [
            "| what | median | range | unit |",
            "| --- | --- | --- | --- |",
            line("one row, one commit", single, "rows/s"),
            line("`keeper.put`, on disk", grouped, "rows/s"),
            line("to enqueue, backlog 1,000", puts[0], "µs a row"),
            line(f"to enqueue, backlog {long:,}", puts[1], "µs a row"),
            line("to drain, backlog 1,000", drains[0], "µs a row"),
            line(f"to drain, backlog {long:,}", drains[1], "µs a row"),
            "",
            (
                f"`keeper.put` over one row, one commit: {ratio:.1f} times (asked: 10). With the "
                f"long backlog, to enqueue costs {median(puts[1]) / median(puts[0]):.2f} and to "
                f"drain {median(drains[1]) / median(drains[0]):.2f} times as much (at most 1.2). "
                "Drained into a broker in memory, so that only the outbox's own cost counts; each "
                "measurement enqueues and then drains as many rows, so that the backlog stays."
            ),
        ]
    )


if __name__ == "__main__":
    main()
