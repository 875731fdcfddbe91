"""Hours of healthy cameras and hundreds of faults: `python bench/vitals_truth.py`.

The pictures are simulated on real ones of ../shared. Takes ten minutes on one core.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

import cv2
import numpy as np
from page import ROOT, write_section

from lineside_agent.vitals import KINDS, Vitals
from tests.support.hours import FAULTS, LEARN, PERIOD_NS, Course, Sets, Watcher, healthy

MEANING = """\
Frames of 320 x 180, ten a second, made of real pictures (two gifs and a video of belts, photos of
trashnet and cookies as parts) with the noise of a sensor (a standard deviation of 3 at mid grey,
shot and read noise), but where it says noiseless. `suspected` are frames that were distrusted
alone, without a fault. Each fault lasts 6 s, at a random moment of a running line that was
learned for three minutes, over two scenes in turns; `seen` and `gone` are the median and the worst
of seconds until it is found under its name, and until nothing is found after its end."""


def main() -> None:
    """Watch, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=36_000)
    parser.add_argument("--faults", type=int, default=50)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    sets = Sets(ROOT.parent / "shared" / "data")
    text = [MEANING, "", "| fault | times | seen, s | in 3 s | gone, s | in 10 s | also called |"]
    text += ["| --- | --- | --- | --- | --- | --- | --- |"]
    text += faults(sets, args.faults)
    text += ["", f"| healthy, {args.frames} frames | faults | suspected |", "| --- | --- | --- |"]
    text += hours(sets, args.frames)
    write_section(
        "vitals-truth", "Cameras that fail", "python bench/vitals_truth.py", "\n".join(text)
    )


def hours(sets: Sets, count: int) -> list[str]:
    """A row for each healthy scene."""
    rows = []
    for name, scene in healthy(sets, count).items():
        vitals, faults, suspected, before = Vitals(), [], 0, set()
        for index, frame in enumerate(scene()):
            vitals.look(frame, mono_ns=(index + 1) * PERIOD_NS)
            suspected += vitals.suspicion is not None
            found = {finding.kind: finding.reason for finding in vitals.findings}
            faults += [f"{index}: {found[kind]}" for kind in found if kind not in before]
            before = set(found)
        rows.append(f"| {name} | {len(faults)} | {suspected} |")
        print(rows[-1], *faults[:3], flush=True)
    return rows


def faults(sets: Sets, count: int) -> list[str]:
    """A row for each kind of fault."""
    watchers = [Watcher(sets.belt(which, seed=which)) for which in (0, 1)]
    for watcher in watchers:
        for _ in range(LEARN):
            watcher.watch(watcher.belt.frame())
    rows = []
    random = np.random.default_rng(0)
    for name, fault in FAULTS.items():
        courses: list[Course] = []
        for index in range(count):
            watcher = watchers[index % 2]
            for _ in range(int(random.integers(5, 60))):
                watcher.watch(watcher.belt.frame())
            courses.append(watcher.suffer(fault, random))
        rows.append(f"| {name} | {count} | {_row(courses, fault.kind)} |")
        print(rows[-1], flush=True)
    return rows


def _row(courses: list[Course], kind: str) -> str:
    seen = [course.seen_s if course.seen_s is not None else np.inf for course in courses]
    gone = [course.gone_s if course.gone_s is not None else np.inf for course in courses]
    others = [
        f"{other} {sum(other in course.called for course in courses)}"
        for other in KINDS
        if other != kind and any(other in course.called for course in courses)
    ]
    return " | ".join(
        (
            f"{np.median(seen):.1f}, {max(seen):.1f}",
            str(sum(value <= 3 for value in seen)),
            f"{np.median(gone):.1f}, {max(gone):.1f}",
            str(sum(value <= 10 for value in gone)),
            ", ".join(others) or "-",
        )
    )


if __name__ == "__main__":
    main()
