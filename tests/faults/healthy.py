"""An hour of healthy cameras on a whole agent: a stopped, an empty and a flickering belt.

Each sees a running belt first, and one again at the end. Nothing may be called a fault, and hardly
any frame may go without a verdict.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lineside_agent.capture.line import Wish
from tests.faults import cameras, scenes, spells
from tests.faults.counting import lines
from tests.faults.ear import Ear
from tests.faults.plant import Plant, Wanted
from tests.faults.trial import Outcome, quiet, stop, tracebacks
from tests.support.belt import RATE_HZ
from tests.support.broker import wait_for
from tests.support.hours import Sets

NO_READ: Final = 0.001
"""Share of the results that may be a `no_read`, of each camera."""

LEARN_S: Final = 180.0
"""Seconds of a running belt at first, a third of the time at most."""

AGAIN_S: Final = 60.0
"""Seconds of one at the end, a sixth of the time at most."""


def run(folder: Path, data: Path, *, seconds: float, say: Callable[[str], None] = quiet) -> Outcome:
    """Watch three healthy cameras.

    Args:
        folder: for everything; made if it is not there.
        data: real pictures, as `tests.support.hours.Sets` takes them.
        seconds: how long.
        say: hears of the progress.
    """
    began = time.monotonic()
    outcome = Outcome("Healthy cameras of a whole agent")
    sets = Sets(data)

    def fill(name: str, at: Path) -> None:
        first, then = scenes.HEALTHY[name]
        scenes.write_pictures([*first(sets), *then(sets)], at)
        plant.ask_camera(name, runs)

    runs = Wish(pictures=(0, scenes.RUNNING - 1))
    rests = Wish(pictures=(scenes.RUNNING, scenes.RUNNING + scenes.RESTING - 1))
    wanted = Wanted(streams=list(scenes.HEALTHY), trigger="frame", rate=RATE_HZ, fill=fill)
    plant = Plant(folder, wanted)
    learn_s, again_s = min(LEARN_S, seconds / 3), min(AGAIN_S, seconds / 6)
    with plant, Ear(plant.broker.port) as ear:
        try:
            wait_for(lambda: len(ear.newest_ns) == len(scenes.HEALTHY), 60, "a verdict of each")
            for what, wish, lasts_s in (
                ("run", runs, learn_s),
                ("stopped, empty, flickering", rests, seconds - learn_s - again_s),
                ("run again", runs, again_s),
            ):
                say(f"healthy cameras: {what} for {lasts_s:.0f} s")
                for name in scenes.HEALTHY:
                    plant.ask_camera(name, wish)
                _watch(plant, lasts_s)
        except AssertionError as error:
            outcome.violations.append(f"stuck: {error}")
        stop(outcome, plant)
        _judge(outcome, plant, ear, seconds)
    outcome.seconds = time.monotonic() - began
    return outcome


def _watch(plant: Plant, seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        plant.look()
        time.sleep(min(left, 0.5))


def _judge(outcome: Outcome, plant: Plant, ear: Ear, seconds: float) -> None:
    rows = ["| healthy camera over a belt that is | frames with a result | `no_read` | faults |"]
    rows += ["| --- | ---: | ---: | ---: |"]
    wrong = outcome.violations
    for name in scenes.HEALTHY:
        heard = ear.heard[name]
        unread = [one for one in heard if one.look.verdict == "no_read"]
        false = spells.alarms([said for said in ear.said if said.camera == name], heard)
        wrong += false
        rows.append(f"| {name} | {len(heard):,} | {len(unread)} | {len(false)} |")
        if len(unread) > NO_READ * len(heard):
            reasons = dict(ear.reasons[name])
            wrong.append(f"no_read: {len(unread)} of {len(heard)} of {name}: {reasons}")
        if len(heard) < 0.9 * seconds * RATE_HZ:
            wrong.append(f"few: {len(heard)} results of {name} in {seconds:g} s")
        found, counts = cameras.check((one.look for one in heard), plant.folder / name)
        wrong += found
        outcome.cameras += counts
    wrong += lines("died", plant.died)
    wrong += lines("traceback", tracebacks(plant.log))
    outcome.verdicts = ear.history.verdicts
    outcome.table = "\n".join(rows) + "\n"
