"""Pushes cut at random points: `make faults-pushes`. Two hundred take half an hour.

    python tests/faults/pushes_long.py [--times 200] [--seed 0] [--bundle FOLDER]

A machine with systemd that runs a release, on a file system that can be filled; every push brings
another release. After each cut it must run a complete release, the one before or the new one, and
publish; now and then a push is not cut, and must be taken. Root is needed. Exits with 1 on any
violation; a run in full writes docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.page import write_section
from tests.faults.pushes import KINDS, Cut, Pushing
from tests.support.stationed import plant_with_machine

FULL: Final = 200
WHOLE_EVERY: Final = 10
"""Pushes onto a machine that are cut until one is not."""
DISK: Final = "3G"


def main() -> None:
    """Push, cut, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=FULL)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--machines", type=int, default=2, help="at the same time")
    parser.add_argument("--bundle", type=Path, required=True, help="any bundle")
    asked = parser.parse_args()
    shares = [range(first, asked.times, asked.machines) for first in range(asked.machines)]
    with ThreadPoolExecutor(asked.machines) as pool:
        work = [
            pool.submit(cut_all, asked.bundle.resolve(), share, 1000 * asked.seed + number)
            for number, share in enumerate(shares)
        ]
        for one in work:
            one.add_done_callback(complain)
        done = [one.result() for one in work]
    cuts = [cut for found, _ in done for cut in found]
    longest = max(seconds for _, seconds in done)
    body = table(cuts, longest)
    click.echo(body)
    wrong = [cut for cut in cuts if cut.wrong]
    if asked.times >= FULL:
        command = f"python tests/faults/pushes_long.py --seed {asked.seed}"
        write_section("pushes", "Pushes that are cut", command, body)
    sys.exit(1 if wrong else 0)


def complain(work: Future[object]) -> None:
    """Say at once why a machine's pushes came to no end: the others go on for long."""
    if (error := work.exception()) is not None:
        click.echo(f"a machine's pushes ended: {error!r}", err=True)


def cut_all(bundle: Path, numbers: range, seed: int) -> tuple[list[Cut], float]:
    """Cut so many pushes onto a machine of their own.

    Returns:
        What became of each, and how many seconds a whole push took.
    """
    cuts: list[Cut] = []
    with tempfile.TemporaryDirectory(prefix="lineside-pushes-") as folder:
        disk = Path(folder) / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=755", "tmpfs", str(disk)]
        subprocess.run(mount, check=True)
        try:
            with plant_with_machine(disk, bundle) as plant:
                package = plant.pack("first")
                plant.push(package)
                pushing = Pushing(plant, package, disk, seed)
                longest = pushing.whole()
                click.echo(f"a whole push takes {longest:.1f} s")
                for place, number in enumerate(numbers, 1):
                    cut = pushing.cut(KINDS[number % len(KINDS)], 1.1 * longest)
                    if place % WHOLE_EVERY == 0 and not cut.wrong:
                        cut = replace(cut, wrong=pushing.is_taken())
                    cuts.append(cut)
                    ends = "killed" if cut.rc is None else f"exit code {cut.rc}"
                    runs = cut.wrong or f"the {'new' if cut.new else 'old'} release runs"
                    now = time.strftime("%H:%M:%S")
                    said = f" ({cut.said})" * bool(cut.said)
                    where = f"{now} {number + 1} {cut.kind} at {cut.at_s:.1f} s"
                    click.echo(f"{where}, {ends}{said}: {runs}")
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
    return cuts, longest


def table(cuts: list[Cut], longest: float) -> str:
    """What happened, as markdown."""
    lines = [
        f"A whole push took {longest:.1f} s. Each was cut within {1.1 * longest:.1f} s, at random;",
        "afterwards the station published from:",
        "",
        "| cut | times | the release before | the new one | neither |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for kind in KINDS:
        mine = [cut for cut in cuts if cut.kind == kind]
        found = Counter("neither" if cut.wrong else "new" if cut.new else "old" for cut in mine)
        lines.append(
            f"| {kind} | {len(mine)} | {found['old']} | {found['new']} | {found['neither']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
