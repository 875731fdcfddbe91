"""Results that the limit on disk use forces out: what is missing is what the events say.

The broker takes triggers and answers and refuses results, so that they pile up on a disk of 2 MiB.
Then it takes them, and the agent is killed once more.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.faults.counting import judge
from tests.faults.plant import Plant, Wanted
from tests.faults.trial import Outcome, gather, quiet, stop
from tests.faults.truth import SITE, WINDOW, Truth
from tests.faults.witness import Repairer, Witness

ACL: Final = "topic read #\n" + "".join(
    f"topic write {SITE}/{leaf}\n" for leaf in ("status", "health", "command", "response/#")
)


def run(
    folder: Path, *, results: int, seed: int = 0, say: Callable[[str], None] = quiet
) -> Outcome:
    """Accept more triggers than the disk holds results, and see which are gone.

    Args:
        folder: an empty one.
        results: accepted triggers at least; the disk holds some 1500.
        seed: not used: nothing here is left to chance.
        say: hears of the progress.
    """
    del seed
    began = time.monotonic()
    outcome = Outcome("More than the disk holds")
    acl = folder / "broker" / "acl"
    wanted = Wanted(tiny_disk=True, broker=(f"acl_file {acl}",), files={"acl": ACL})
    with (
        Plant(folder, wanted) as plant,
        Witness(plant.broker.port) as witness,
        Repairer(plant.far.port) as repairer,
    ):
        with Truth(plant.broker.port, wanted.streams) as truth:
            _wait(lambda: len(truth.accepted) >= results, plant, 60 + results / 20)
            truth.hold()
            _wait(lambda: not truth.unanswered, plant, 30)
        say(f"{len(truth.accepted)} accepted, {len(repairer.history.results)} results heard")
        if repairer.history.results:
            outcome.violations.append("refused: the broker let results through")
        acl.write_text("topic readwrite #\n")
        assert plant.broker.process is not None
        plant.broker.process.send_signal(signal.SIGHUP)
        plant.kill_agent()
        outcome.faults["kill_agent"] += 1

        def whole() -> bool:
            there = repairer.history.heard(truth.accepted)
            return there + _lost(witness) >= len(truth.accepted) and not repairer.missing

        _wait(whole, plant, 60, must=False)
        stop(outcome, plant)
        gather(outcome, plant, truth, witness, repairer)
        _judge(outcome, truth, witness, repairer)
        outcome.violations += [f"died: {how}" for how in plant.died]
    outcome.seconds = time.monotonic() - began
    return outcome


def _wait(
    condition: Callable[[], bool], plant: Plant, seconds: float, *, must: bool = True
) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        plant.look()
        time.sleep(0.02)
    assert condition() or not must, f"not within {seconds:g} s"


def _lost(witness: Witness) -> int:
    """How many results the events say are lost."""
    return sum(
        loss["last"] - loss["first"] + 1
        for event in list(witness.events)
        if event["kind"] == "results_lost"
        for loss in event["details"].get("lost", [])
    )


def _judge(outcome: Outcome, truth: Truth, witness: Witness, repairer: Repairer) -> None:
    history = repairer.history
    missing = sorted(trigger for trigger in truth.accepted if trigger not in history.by_trigger)
    others = judge(
        {t: s for t, s in truth.accepted.items() if t in history.by_trigger},
        truth.refused,
        truth.sent,
        history,
    )
    outcome.violations += others
    said = _lost(witness)
    outcome.figures |= {"missing": len(missing), "lost, as the events say": said}
    if said != len(missing):
        outcome.violations.append(f"lost: the events say {said}, {len(missing)} are missing")
    if not missing:
        outcome.violations.append("lost: nothing was forced out, so nothing was shown")
    there = sorted(history.by_trigger)
    # Triggers that are on their way together may change places.
    young = [trigger for trigger in missing if int(trigger) > int(there[0]) + 8 * WINDOW]
    if young:
        outcome.violations.append(f"lost: {len(young)} that were younger than one that is there")
