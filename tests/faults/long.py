"""The fault harness in its long form: `make faults-results`. An hour or so on two cores.

    python tests/faults/long.py [--kills 1000] [--disk-full 100] [--resets 1000]
                                [--results 100000] [--seed 0]
                                [--only all|frames|limit|controls] [--keep]

Everything at once, on a disk of 2 MiB; then untriggered results under a tenth of the kills; then
more results than the disk holds; then the negative controls, which must be found wrong. The other
faults are as many as fit to these. The report goes to build/faults/ and, for a run in full, to
docs/benchmarks.md. Exits with 1 on any violation, and where a control is not found wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.faults import controls, frames, limit, trial
from tests.faults.ending import LongForm, end
from tests.faults.plant import Wanted, faketime

FULL = {"kills": 1000, "disk_full": 100, "resets": 1000, "results": 100_000}
FORM = LongForm("long.py", "faults", "Faults", "report.md", "all/faults.jsonl", FULL)


def faults_of(kills: int, disk_full: int, resets: int) -> dict[str, int]:
    """How many of each kind."""
    return {
        "kill_agent": kills,
        "kill_broker": kills // 10,
        "reset": resets,
        "stall": resets // 10,
        "disk_full": disk_full,
        "clock": kills // 5 if faketime() else 0,
        "camera": kills // 2,
        "bad_model": kills // 20,
        "other_model": 1,
        "kill_waiting": kills // 20,
    }


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in FULL.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["all", "frames", "limit", "controls"])
    parser.add_argument("--keep", action="store_true", help="keep the folders of all runs")
    return parser.parse_args()


def say(line: str) -> None:
    """Print a line with the time."""
    click.echo(f"{time.strftime('%H:%M:%S')} {line}")


def run_all(asked: argparse.Namespace, folder: Path) -> tuple[list[trial.Outcome], list[str]]:
    """All that is asked for: outcomes, and controls that were not found wrong."""
    outcomes, asleep = [], []
    wanted = Wanted(tiny_disk=True, clock=faketime() is not None)
    if asked.only in {None, "all"}:
        counts = faults_of(asked.kills, asked.disk_full, asked.resets)
        say(f"all faults at once: {counts}")
        outcomes.append(
            trial.run(
                "All faults at once",
                folder / "all",
                wanted,
                counts,
                results=asked.results,
                seed=asked.seed,
                say=say,
            )
        )
    if asked.only in {None, "frames"}:
        say("untriggered results")
        kills = max(3, asked.kills // 10)
        outcomes.append(frames.run(folder / "frames", kills=kills, seed=asked.seed, say=say))
    if asked.only in {None, "limit"}:
        say("more than the disk holds")
        outcomes.append(limit.run(folder / "limit", results=4000, say=say))
    if asked.only in {None, "controls"}:
        for control in controls.CONTROLS:
            say(f"control: {control.mode}")
            outcome = controls.run(control, folder / control.mode, seed=asked.seed, say=say)
            if why := controls.asleep(control, outcome):
                asleep.append(why)
            if not control.wrong:
                outcomes.append(outcome)
            else:
                say(f"{control.mode}: found wrong, {outcome.violations[:2]}")
    return outcomes, asleep


def main() -> None:
    """Run, report, and say with the exit code whether all is well."""
    asked = arguments()
    folder = Path(tempfile.mkdtemp(prefix="lineside-faults-"))
    outcomes, asleep = run_all(asked, folder)
    end(FORM, asked, folder, outcomes, asleep)


if __name__ == "__main__":
    main()
