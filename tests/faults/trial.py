"""Triggered results under a schedule of faults: one run, and what is wrong with it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.faults import cameras
from tests.faults.chaos import Chaos, make_schedule
from tests.faults.counting import History, judge, lines
from tests.faults.plant import DEATHS, Plant, Wanted
from tests.faults.truth import Truth
from tests.faults.witness import Repairer, Witness

AHEAD: Final = 300
"""Accepted triggers that the subscriber has no result of yet, at most. The disk holds a few times
as many results: nothing that the broker lost is pruned before the subscriber has asked for it."""

SETTLE_S: Final = 90.0
"""Seconds after the last fault within which everything has to be there."""


@dataclass
class Outcome:
    """What came of a run.

    Attributes:
        title: of the run.
        seconds: how long it took.
        faults: by kind.
        figures: other counts.
        verdicts: of the repaired history.
        reasons: of its `no_read`.
        refused: triggers by why they were refused.
        events: of the station.
        cameras: verdicts by what the camera did.
        table: what does not fit into these, as markdown.
        violations: one line each; none where all is well.
    """

    title: str
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    figures: dict[str, float] = field(default_factory=dict)
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    cameras: Counter[str] = field(default_factory=Counter)
    table: str = ""
    violations: list[str] = field(default_factory=list)

    def has(self, kind: str) -> bool:
        """Whether there is a violation of a kind."""
        return any(line.startswith(f"{kind}:") for line in self.violations)


def quiet(_line: str) -> None:
    """Say nothing."""


def run(
    title: str,
    folder: Path,
    wanted: Wanted,
    faults: Mapping[str, int],
    *,
    results: int,
    seed: int,
    say: Callable[[str], None] = quiet,
    settle_s: float = SETTLE_S,
) -> Outcome:
    """Run a plant under faults and look at what became of every trigger.

    Args:
        title: of the run.
        folder: an empty one.
        wanted: what the plant is made of.
        faults: how many of each kind.
        results: accepted triggers at least.
        seed: of the schedule.
        say: hears of the progress.
        settle_s: how long it may take at the end until everything is there.
    """
    began = time.monotonic()
    outcome = Outcome(title)
    schedule = make_schedule(seed, faults, results=results, streams=wanted.streams)
    with Plant(folder, wanted) as plant:
        with (
            Witness(plant.broker.port) as witness,
            Repairer(plant.far.port) as repairer,
        ):
            ahead = _ahead(repairer.history)
            with Truth(plant.broker.port, wanted.streams, may=lambda: ahead(truth)) as truth:
                progress = _progress(say, truth, repairer, results)
                chaos = Chaos(plant, schedule, lambda: len(truth.accepted), folder / "faults.jsonl")
                try:
                    chaos.run(progress)
                    _until(lambda: len(truth.accepted) >= results, plant, 60.0, progress)
                    truth.hold()
                    plant.line.flow()
                    plant.far.flow()
                    _until(lambda: not truth.unanswered, plant, 30.0, progress)
                except AssertionError as error:
                    outcome.violations.append(f"stuck: {error}")
                _settle(outcome, plant, truth, repairer, settle_s)
                outcome.faults = chaos.counts
                gather(outcome, plant, truth, witness, repairer)
                _judge(outcome, plant, truth, witness, repairer)
                _judge_models(outcome, chaos.answers, repairer.history)
                stop(outcome, plant)
        outcome.seconds = time.monotonic() - began
    return outcome


def _ahead(history: History) -> Callable[[Truth], bool]:
    def may(truth: Truth) -> bool:
        return len(truth.accepted) + truth.unanswered - len(history.by_trigger) < AHEAD

    return may


def _progress(
    say: Callable[[str], None], truth: Truth, repairer: Repairer, results: int
) -> Callable[[], None]:
    """Says every few seconds how far it is, and raises what a thread of the harness has raised."""
    said = time.monotonic()

    def look() -> None:
        nonlocal said
        for failure in (truth.failure, repairer.failure):
            if failure is not None:
                raise failure
        if time.monotonic() - said >= 10.0:
            said = time.monotonic()
            say(
                f"{len(truth.accepted)} of {results} accepted, {len(repairer.history.results)} "
                f"results, {repairer.missing} missing for now"
            )

    return look


def _until(
    condition: Callable[[], bool], plant: Plant, seconds: float, look: Callable[[], None]
) -> None:
    """Wait for a condition for as long as something moves."""
    since = time.monotonic()
    while not condition():
        plant.look()
        look()
        time.sleep(0.01)
        assert time.monotonic() - since < seconds, f"nothing within {seconds:g} s after the faults"


def _settle(
    outcome: Outcome, plant: Plant, truth: Truth, repairer: Repairer, seconds: float
) -> None:
    """Wait until every accepted trigger has its result and nothing is missing."""
    began = time.monotonic()

    def whole() -> bool:
        there = repairer.history.heard(truth.accepted) == len(truth.accepted)
        return there and repairer.missing == 0

    while not whole() and time.monotonic() - began < seconds and len(plant.died) < DEATHS:
        plant.look()
        time.sleep(0.05)
    outcome.figures["seconds until all was there"] = round(time.monotonic() - began, 1)


def gather(
    outcome: Outcome, plant: Plant, truth: Truth, witness: Witness, repairer: Repairer
) -> None:
    history, tracker = repairer.history, repairer.subscriber.tracker
    outcome.verdicts, outcome.reasons = history.verdicts, history.reasons
    outcome.refused = truth.reasons
    outcome.events = Counter(event["kind"] for event in witness.events)
    outcome.figures |= {
        "triggers sent": len(truth.sent),
        "accepted": len(truth.accepted),
        "refused": len(truth.refused),
        "sent again, since no answer came": truth.resent,
        "with a result, after repair": history.heard(truth.accepted),
        "with a result, as an independent subscriber heard it": witness.history.heard(
            truth.accepted
        ),
        "results": len(history.results),
        "brought back by asking": tracker.repaired,
        "duplicates on the wire": witness.history.duplicates,
        "starts of the agent": plant.starts,
        "connections of the agent": plant.line.connections,
        "TCP connections reset": plant.line.resets + plant.far.resets,
    }


def _judge(
    outcome: Outcome, plant: Plant, truth: Truth, witness: Witness, repairer: Repairer
) -> None:
    wrong = outcome.violations
    history = repairer.history
    wrong += judge(truth.accepted, truth.refused, truth.sent, history)
    if truth.unanswered:
        wrong.append(f"unanswered: {truth.unanswered} triggers")
    if repairer.missing:
        wrong.append(f"gap: {repairer.missing} results are missing for the subscriber")
    if history.duplicates:
        wrong.append(f"duplicate: the subscriber gave {history.duplicates} results twice")
    wrong += [f"gone: {gap}" for gap in repairer.gaps[:5]]
    wrong += [f"changed: {key}" for key in witness.history.changed[:5]]
    both = witness.history.results.keys() & history.results.keys()
    differ = [k for k in both if witness.history.results[k] != history.results[k]]
    wrong += [f"changed: {key} is not the same for both subscribers" for key in differ[:5]]
    if unknown := witness.history.results.keys() - history.results.keys():
        wrong.append(f"gap: {len(unknown)} results reached the independent subscriber only")
    for name in plant.wanted.streams:
        seen = (result for result in history.seen if result["stream"] == name)
        found, counts = cameras.check(map(cameras.Look.of, seen), plant.folder / name)
        wrong += found
        outcome.cameras += counts
    wrong += lines("died", plant.died)
    wrong += lines("traceback", tracebacks(plant.log))


def tracebacks(log: str) -> list[str]:
    """The tracebacks in a log, each in one line: a plant's log has none, whatever happens."""
    found = []
    for part in log.split("Traceback (most recent call last):\n")[1:]:
        inside = part.split("\n")
        end = next((n for n, line in enumerate(inside) if line[:1] != " "), 0)
        files = [line.strip() for line in inside[:end] if line.startswith("  File ")]
        found.append(f"{inside[end]} at {files[-1] if files else '?'}")
    return found


def _judge_models(outcome: Outcome, answers: list[tuple[str, bool, str]], history: History) -> None:
    """A bundle whose child dies is refused, and never looks at a part."""
    for bundle, used, why in answers:
        outcome.figures[f"use_bundle {bundle}: {'used' if used else 'refused'}"] = (
            outcome.figures.get(f"use_bundle {bundle}: {'used' if used else 'refused'}", 0) + 1
        )
        if bundle == "crashing" and used:
            outcome.violations.append(f"model: {bundle} is used: {why}")
    versions: Counter[str] = Counter(
        model["version"] for result in history.seen for model in result["models"]
    )
    for version, count in versions.items():
        outcome.figures[f"results of model version {version}"] = count
    if unknown := set(versions) - {"1.0.0", "1.1.0"}:
        outcome.violations.append(f"model: results of {sorted(unknown)}")


def stop(outcome: Outcome, plant: Plant) -> None:
    """A stop that is asked for ends with 0, and nothing is left of the agent."""
    code = plant.stop_agent()
    if code != 0:
        outcome.violations.append(f"stop: exit code {code}: {plant.log[-300:]}")
    until = time.monotonic() + 10.0
    while (left := plant.leftovers()) and time.monotonic() < until:
        time.sleep(0.1)
    outcome.violations += [f"left: {what}" for what in left]
