"""Untriggered results under kills: every frame is a part, and the virtual line's log is the truth.

What was committed has to arrive. What was not is lost: at most the commit interval's worth, and
the next boot's event `cut_off` has to say at least as many.
"""

from __future__ import annotations

import random
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.faults import cameras
from tests.faults.plant import Plant, Wanted
from tests.faults.trial import Outcome, quiet, stop
from tests.faults.witness import Repairer, Witness
from tests.support.broker import wait_for

RATE: Final = 50
"""Frames a second."""

COMMIT_S: Final = 0.05
"""The commit interval, as it is if nothing is set."""

ALLOWED_S: Final = 0.5
"""Seconds beside it: the sync itself, two frames in hand, and a machine with other work."""

IN_HAND: Final = 2
"""Frames that may be given and have no result when the agent is killed: one waits, one is seen."""


def run(folder: Path, *, kills: int, seed: int, say: Callable[[str], None] = quiet) -> Outcome:
    """Kill an agent that looks at every frame, and see what is lost.

    Args:
        folder: an empty one.
        kills: how many.
        seed: of when.
        say: hears of the progress.
    """
    began = time.monotonic()
    chance = random.Random(seed)  # noqa: S311 - no secret
    outcome = Outcome("Untriggered results")
    wanted = Wanted(streams=("top",), trigger="frame", rate=RATE)
    with (
        Plant(folder, wanted) as plant,
        Witness(plant.broker.port) as witness,
        Repairer(plant.far.port) as repairer,
    ):
        history = repairer.history
        for number in range(kills):
            some = len(history.results) + chance.randint(3, 80)
            wait_for(lambda some=some: len(history.results) >= some, 60, "more results")
            time.sleep(chance.uniform(0.0, 0.06))
            plant.kill_agent()
            outcome.faults["kill_agent"] += 1
            if number % 20 == 19:
                say(f"{number + 1} of {kills} kills, {len(history.results)} results")
        some = len(history.results) + 20
        wait_for(lambda: len(history.results) >= some, 60, "results of the last boot")
        wait_for(lambda: len(_cuts(witness)) >= kills, 30, "an event for each kill")
        stop(outcome, plant)
        wait_for(lambda: repairer.missing == 0, 30, "all that was committed")
        outcome.violations += [f"died: {how}" for how in plant.died]
        outcome.verdicts = history.verdicts
        _judge(outcome, plant, witness, repairer)
    outcome.seconds = time.monotonic() - began
    return outcome


def _cuts(witness: Witness) -> dict[str, dict[str, Any]]:
    """What the events say of each boot that was cut off."""
    return {
        event["details"]["cut_off"]: stream
        for event in list(witness.events)
        if event["kind"] == "cut_off"
        for stream in event["details"]["streams"]
    }


def _judge(outcome: Outcome, plant: Plant, witness: Witness, repairer: Repairer) -> None:
    wrong = outcome.violations
    boots: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for result in repairer.history.seen:
        boots[result["boot"]][result["seq"]] = result["inputs"][0]["mono_ns"]
    given = sorted((entry["at_ns"], stamp) for stamp, entry in _log(plant).items())
    at_of = {stamp: at_ns for at_ns, stamp in given}
    said, lost, windows = _cuts(witness), [], []
    for boot, stamps in boots.items():
        last = max(stamps)
        if missing := last - len(stamps):
            wrong.append(f"missing: {missing} of boot {boot} up to {last}")
        if len(set(stamps.values())) < len(stamps):
            wrong.append(f"repeated: boot {boot} has two results of one frame")
        at_ns = at_of[stamps[last]]
        kill = bisect_left(plant.killed_ns, at_ns)
        if boot not in said or kill == len(plant.killed_ns):
            continue  # it was stopped
        cut = said[boot]
        if cut["last"] != last:
            wrong.append(f"event: boot {boot} ends with {cut['last']}, we have {last}")
        window_s = (plant.killed_ns[kill] - at_ns) / 1e9
        gone = sum(at_ns < at <= plant.killed_ns[kill] for at, _ in given)
        if gone - IN_HAND > cut["lost_at_most"]:
            wrong.append(f"event: boot {boot}: {gone} frames, {cut['lost_at_most']} said")
        if window_s > COMMIT_S + ALLOWED_S:
            wrong.append(f"window: boot {boot} lost its last {window_s * 1e3:.0f} ms")
        lost.append(gone)
        windows.append(window_s * 1e3)
    if silent := len(plant.killed_ns) - len(said):
        wrong.append(f"event: {silent} kills without a cut_off")
    outcome.figures |= {
        "results": len(repairer.history.results),
        "boots with results": len(boots),
        "frames given and lost at a kill, median": median(lost),
        "frames given and lost at a kill, most": max(lost),
        "ms between the last committed frame and the kill, median": round(median(windows), 1),
        "ms between the last committed frame and the kill, most": round(max(windows), 1),
        "said to be lost at most, most": max(cut["lost_at_most"] for cut in said.values()),
    }


def _log(plant: Plant) -> dict[int, dict[str, Any]]:
    return cameras.read_log(plant.folder / plant.wanted.streams[0])
