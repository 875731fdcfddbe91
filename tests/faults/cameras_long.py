"""Cameras that fail and cameras that don't, in the long form: `make faults-cameras`. An hour.

    python tests/faults/cameras_long.py [--times 50] [--cameras 8] [--warm-up 120] [--healthy 3600]
                                        [--seed 0] [--only faults|healthy] [--keep]

Two whole agents at the same time, on one core or less: one whose cameras suffer each fault so many
times, one whose cameras are healthy for so many seconds. Needs the pictures of ../shared. The
report goes to build/faults/ and, for a run in full, to docs/benchmarks.md. Exits with 1 on any
violation.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.page import ROOT
from tests.faults import healthy, lenses
from tests.faults.ending import LongForm, end
from tests.faults.trial import Outcome

FULL = {"times": 50, "warm_up": 120.0, "healthy": 3600.0}

MEANING = """\
Real agents, brokers and processes; cameras of the virtual line over simulated belts on real
pictures, 320 x 180, ten frames a second, several of them failing at the same time. A fault begins
with the first frame that has it, as the line wrote down, and is seen when an independent subscriber
hears it named, by event or by health. A camera is well again when nothing is said to be wrong any
more and that subscriber has a verdict on a frame captured since. `blurred` and `moved` pictures are
looked at on purpose; the first picture of a frozen camera is a new one; of a damaged JPEG that the
strict decoder accepts nobody can know. A camera whose pictures are only late must not be called
anything, and a trigger must not get a frame of before it; with one bit of each JPEG damaged the few
frames that are refused are a `no_read` and not yet a fault.
"""

FORM = LongForm(
    "cameras_long.py",
    "faults-cameras",
    "Cameras that fail, of a whole agent",
    "cameras.md",
    "faults/said.txt",
    FULL,
    preface=MEANING + "\n",
)


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=FULL["times"], help="of each fault")
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--warm-up", type=float, default=FULL["warm_up"], help="seconds; 0: taught")
    parser.add_argument("--healthy", type=float, default=FULL["healthy"], help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["faults", "healthy"])
    parser.add_argument("--keep", action="store_true", help="keep the folders of both runs")
    return parser.parse_args()


def say(line: str) -> None:
    """Print a line with the time."""
    click.echo(f"{time.strftime('%H:%M:%S')} {line}")


def run_all(asked: argparse.Namespace, folder: Path) -> list[Outcome]:
    """Both at the same time."""
    data = Path(os.environ.get("LINESIDE_SHARED", ROOT.parent / "shared")) / "data"
    if not data.is_dir():
        sys.exit(f"{data} is not there: LINESIDE_SHARED names the folder that holds data/")
    with ThreadPoolExecutor(2) as pool:
        work = []
        if asked.only != "healthy":
            work.append(
                pool.submit(
                    lenses.run,
                    folder / "faults",
                    data,
                    times=asked.times,
                    count=asked.cameras,
                    warm_up_s=asked.warm_up,
                    seed=asked.seed,
                    say=say,
                )
            )
        if asked.only != "faults":
            work.append(
                pool.submit(healthy.run, folder / "healthy", data, seconds=asked.healthy, say=say)
            )
        return [one.result() for one in work]


def main() -> None:
    """Run, report, and say with the exit code whether all is well."""
    asked = arguments()
    folder = Path(tempfile.mkdtemp(prefix="lineside-cameras-"))
    end(FORM, asked, folder, run_all(asked, folder))


if __name__ == "__main__":
    main()
