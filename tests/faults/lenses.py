"""Each fault of a camera many times, on a whole agent with cameras over running belts.

Half of the streams take every frame as a part, half are triggered by commands. Each camera suffers
one fault after another, in an order of its own, so that several are down at once.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from lineside_agent.capture.line import Wish
from tests.faults import cameras, scenes, spells
from tests.faults.counting import judge, lines
from tests.faults.ear import Ear
from tests.faults.plant import Plant, Wanted
from tests.faults.spells import KINDS, Spell
from tests.faults.trial import Outcome, quiet, stop, tracebacks
from tests.faults.truth import Truth
from tests.support.belt import RATE_HZ
from tests.support.broker import wait_for
from tests.support.hours import Sets

LASTS_S: Final = (3.5, 5.5)
"""Seconds that a fault lasts: it has to be seen within 3."""

RESTS_S: Final = (1.5, 4.0)
"""Seconds between two faults of a camera, from when it is well again."""

GIVE_UP_S: Final = 20.0
"""Seconds after its end from which on a fault is not waited for any more."""

TRIGGERS_HZ: Final = 4.0
"""Triggers a second of each stream that takes some."""


def run(
    folder: Path,
    data: Path,
    *,
    times: int,
    count: int = 8,
    warm_up_s: float = 120.0,
    seed: int = 0,
    say: Callable[[str], None] = quiet,
) -> Outcome:
    """Let cameras suffer, and see what the agent says of them and which verdicts it gives.

    Args:
        folder: for everything; made if it is not there.
        data: real pictures, as `tests.support.hours.Sets` takes them.
        times: how often each fault comes.
        count: of cameras.
        warm_up_s: how long the cameras learn before the first fault, in seconds. 0: they begin
            with what they would have learned.
        seed: of the order.
        say: hears of the progress.
    """
    began = time.monotonic()
    outcome = Outcome("Cameras that fail, of a whole agent")
    names = [f"cam{number}" for number in range(count)]
    plant = _make_plant(folder, data, names, taught=not warm_up_s)
    with plant, Ear(plant.broker.port) as ear:
        triggered = list(plant.wanted.triggers)
        pace = _pace(TRIGGERS_HZ * len(triggered))
        suffered: list[Spell] = []
        with Truth(plant.broker.port, triggered, requesters=1, may=pace) as truth:
            try:
                wait_for(lambda: len(ear.newest_ns) == count, 60, "a verdict of each camera")
                time.sleep(warm_up_s)
                say(f"{count} cameras are warm")
                _suffer(plant, ear, suffered, times=times, seed=seed, say=say)
                truth.hold()
                wait_for(lambda: not truth.unanswered, 30, "an answer to each trigger")
                wait_for(lambda: _whole(ear, truth), 60, "a result of each trigger")
            except AssertionError as error:
                outcome.violations.append(f"stuck: {error}")
        stop(outcome, plant)
        outcome.violations += judge(truth.accepted, truth.refused, truth.sent, ear.history)
        outcome.figures["triggers accepted"] = len(truth.accepted)
        _judge(outcome, plant, ear, suffered)
    outcome.seconds = time.monotonic() - began
    return outcome


def _whole(ear: Ear, truth: Truth) -> bool:
    return ear.history.heard(truth.accepted) == len(truth.accepted)


def _make_plant(folder: Path, data: Path, names: Sequence[str], *, taught: bool) -> Plant:
    """Cameras over two belts in turns."""
    sets = Sets(data)
    views = [scenes.running(sets.belt(which, seed=which)) for which in (0, 1)]
    learned = [scenes.teach(view) for view in views] if taught else []
    for number, view in enumerate(views):
        scenes.write_pictures(view, folder / f"view{number}")

    def fill(name: str, at: Path) -> None:
        which = names.index(name) % 4 // 2
        scenes.link_pictures(folder / f"view{which}", at)
        if taught:
            kept = plant.disk / "vitals" / f"{name}.npz"
            kept.parent.mkdir(exist_ok=True)
            kept.write_bytes(learned[which])

    wanted = Wanted(
        streams=names,
        trigger="frame",
        triggers=dict.fromkeys(names[1::2], "command"),
        rate=RATE_HZ,
        fill=fill,
    )
    plant = Plant(folder, wanted)  # which `fill` knows by then
    return plant


def _pace(rate_hz: float) -> Callable[[], bool]:
    """Says yes so many times a second."""
    due = time.monotonic()

    def may() -> bool:
        nonlocal due
        now = time.monotonic()
        if now < due:
            return False
        due = max(due + 1 / rate_hz, now - 1.0)
        return True

    return may


def make_plans(names: Sequence[str], times: int, seed: int) -> Mapping[str, Sequence[str]]:
    """For each camera the faults that it suffers, in their order: all of them, `times` in all."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    plans: dict[str, list[str]] = {name: [] for name in names}
    # Dealt out in turns, so that each camera gets as many of each kind as the others.
    for number, kind in enumerate(kind for kind in KINDS for _ in range(times)):
        plans[names[number % len(names)]].append(kind)
    for plan in plans.values():
        chance.shuffle(plan)
    return plans


def _suffer(
    plant: Plant,
    ear: Ear,
    done: list[Spell],
    *,
    times: int,
    seed: int,
    say: Callable[[str], None],
) -> None:
    """All faults, each camera's on a thread of its own; `done` gets each that is over."""
    plans = make_plans(plant.wanted.streams, times, seed)
    total = sum(map(len, plans.values()))
    ending = threading.Event()

    def suffer(camera: str, plan: Sequence[str]) -> None:
        chance = random.Random(f"{seed} {camera}")  # noqa: S311 - no secret
        for kind in plan:
            if ending.wait(chance.uniform(*RESTS_S)):
                return
            asked_ns = time.monotonic_ns()
            plant.ask_camera(camera, KINDS[kind].wish)
            time.sleep(chance.uniform(*LASTS_S))
            plant.ask_camera(camera, Wish())
            over_ns = time.monotonic_ns()
            _recover(ear, camera, over_ns)
            done.append(Spell(camera, kind, asked_ns, over_ns))

    with ThreadPoolExecutor(len(plans)) as pool:
        work = [pool.submit(suffer, camera, plan) for camera, plan in plans.items()]
        try:
            said = 0
            while not all(one.done() for one in work):
                plant.look()
                time.sleep(0.1)
                if len(done) >= said + 50:
                    said = len(done)
                    say(f"{said} of {total} faults of cameras")
        finally:
            ending.set()
        for one in work:
            one.result()


def _recover(ear: Ear, camera: str, over_ns: int) -> None:
    """Until a camera is well again, or is given up."""
    until = time.monotonic() + GIVE_UP_S
    while ear.wrong[camera] or ear.newest_ns[camera] <= over_ns:
        time.sleep(0.02)
        if time.monotonic() > until:
            return


def _judge(outcome: Outcome, plant: Plant, ear: Ear, suffered: Sequence[Spell]) -> None:
    """What was said of each camera, and each of its verdicts."""
    courses: list[spells.Course] = []
    for name, mine in spells.in_order(suffered).items():
        at = plant.folder / name
        said = [word for word in ear.said if word.camera == name]
        heard = ear.heard[name]
        outcome.violations += spells.alarms(said, heard, mine[0].asked_ns)
        courses += spells.follow(mine, said, heard, cameras.read_entries(at))
        found, counts = cameras.check((one.look for one in heard), at)
        outcome.violations += found
        outcome.cameras += counts
        outcome.reasons += Counter(
            one.reason.partition(" ")[0] for one in heard if one.look.verdict == "no_read"
        )
    outcome.faults = Counter(spell.kind for spell in suffered)
    outcome.verdicts = ear.history.verdicts
    outcome.violations += spells.judge(courses)
    outcome.violations += lines("died", plant.died)
    outcome.violations += lines("traceback", tracebacks(plant.log))
    outcome.table = spells.table(courses)
    (plant.folder / "said.txt").write_text("".join(f"{line}\n" for line in ear.messages))
