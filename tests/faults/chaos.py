"""Faults: a schedule from one seed, and what each fault does to a plant.

A fault is due when so many triggers have been accepted, so that the same seed gives the same
faults among the same triggers, however fast the machine is. While nothing is accepted, as on a
full disk, the next one comes after STUCK_S.
"""

from __future__ import annotations

import heapq
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lineside_agent.capture.line import Wish
from tests.faults.engineer import Engineer
from tests.faults.plant import Plant

STUCK_S: Final = 1.5
"""Seconds without an accepted trigger after which the next fault comes all the same."""

HANGING_S: Final = 0.1
"""Seconds after which a camera that was asked to hang has given its last frame; the agent takes
longer to find that out."""

CAMERA_FAULTS: Final = ("hang", "crash", "vanish", "freeze", "stall", "stale", "error", "corrupt",
                        "black", "overexposed")  # fmt: skip

KINDS: Final = (
    "kill_agent",
    "kill_broker",
    "reset",
    "stall",
    "disk_full",
    "clock",
    "camera",
    "bad_model",
    "other_model",
    "kill_waiting",
)


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        at: after so many accepted triggers.
        kind: one of KINDS.
        args: what it takes.
    """

    at: int
    kind: str
    args: Mapping[str, Any]


def _args(kind: str, chance: random.Random, streams: Sequence[str]) -> dict[str, Any]:
    """What a fault of a kind does in particular."""

    def seconds(low: float, high: float) -> float:
        return round(chance.uniform(low, high), 3)

    made: dict[str, Callable[[], dict[str, Any]]] = {
        "kill_agent": lambda: {
            "after_s": seconds(0.0, 0.08),
            # One in five is killed again while it starts.
            "again_s": seconds(0.05, 2.0) if chance.random() < 0.2 else None,
        },
        "kill_broker": lambda: {
            "keeps": chance.random() < 0.5,
            "blind_s": seconds(0.1, 0.6) if chance.random() < 0.5 else 0.0,
            "for_s": seconds(0.0, 0.5),
        },
        "reset": lambda: {"line": chance.choice(("line", "line", "line", "line", "far"))},
        "stall": lambda: {"line": chance.choice(("line", "far")), "for_s": seconds(0.1, 2.0)},
        "disk_full": lambda: {
            "for_s": seconds(0.2, 2.5),
            # One in three has a kill of the agent while nothing can be written.
            "kill_s": seconds(0.0, 2.0) if chance.random() < 1 / 3 else None,
        },
        "clock": lambda: {"offset": chance.choice(("+1y", "-1y", "+0"))},
        "camera": lambda: {
            "camera": chance.choice(streams),
            "fault": chance.choice(CAMERA_FAULTS),
            "for_s": seconds(0.2, 3.0),
        },
    }
    return made[kind]() if kind in made else {}


def make_schedule(
    seed: int, counts: Mapping[str, int], *, results: int, streams: Sequence[str]
) -> list[Fault]:
    """So many faults of each kind, spread by chance over so many triggers; the same for a seed."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    faults = [
        Fault(chance.randrange(results // 20, max(1, results)), kind, _args(kind, chance, streams))
        for kind in KINDS
        for _ in range(counts.get(kind, 0))
    ]
    return sorted(faults, key=lambda fault: fault.at)


class Chaos:
    """Does what a schedule says.

    Args:
        plant: to whom.
        schedule: what.
        accepted: how many triggers were accepted so far.
        log: where each fault is written down, as JSON lines.

    Attributes:
        counts: how many faults of each kind were done.
    """

    def __init__(
        self, plant: Plant, schedule: Sequence[Fault], accepted: Callable[[], int], log: Path
    ) -> None:
        self._plant = plant
        self._schedule = schedule
        self._accepted = accepted
        self._log = log
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._began = time.monotonic()
        self._look: Callable[[], None] = lambda: None
        self._engineer = Engineer(plant.broker.port)
        self.counts: Counter[str] = Counter()

    def run(self, look: Callable[[], None]) -> None:
        """Do all of it.

        Args:
            look: called several times a second.
        """
        self._look = look
        with self._engineer:
            for fault in self._schedule:
                self._wait(fault.at, look)
                self._note(fault)
                getattr(self, f"_{fault.kind}")(**fault.args)
                self.counts[fault.kind] += 1
            while self._later:
                self._rest(look)

    def _wait(self, at: int, look: Callable[[], None]) -> None:
        """Until so many triggers are accepted, or nothing moves."""
        before, since = self._accepted(), time.monotonic()
        while before < at:
            self._rest(look)
            now = self._accepted()
            if now != before:
                before, since = now, time.monotonic()
            elif time.monotonic() - since > STUCK_S and self._later:
                return  # a fault that lasts holds everything up: more come meanwhile
            elif time.monotonic() - since > 60.0:
                msg = f"no trigger was accepted for 60 s, at {before} of {at}"
                raise AssertionError(msg)

    def _rest(self, look: Callable[[], None]) -> None:
        time.sleep(0.01)
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            heapq.heappop(self._later)[2]()
        self._plant.look()
        look()

    def _in(self, seconds: float, work: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._later, (time.monotonic() + seconds, self._number, work))

    def _note(self, fault: Fault) -> None:
        line = {
            "t": round(time.monotonic() - self._began, 3),
            "accepted": self._accepted(),
            "kind": fault.kind,
            **fault.args,
        }
        with self._log.open("a") as file:
            file.write(json.dumps(line) + "\n")

    # One method for each kind.

    def _kill_agent(self, after_s: float, again_s: float | None) -> None:
        time.sleep(after_s)
        self._kill()
        if again_s is not None:
            self._in(again_s, self._kill_again)

    def _kill_waiting(self) -> None:
        """Kill the agent while it owes results: no camera gives a frame for what it accepted."""
        self._plant.ask_cameras(Wish(fault="hang"))
        time.sleep(HANGING_S)
        before, since = self._accepted(), time.monotonic()
        while self._accepted() == before:
            self._rest(self._look)
            assert time.monotonic() - since < 60.0, f"no trigger was accepted after {before}"
        self._kill()
        self._plant.ask_cameras(Wish())

    def _kill_again(self) -> None:
        self._kill()
        self.counts["kill_agent while it starts"] += 1

    def _kill_broker(self, *, keeps: bool, blind_s: float, for_s: float) -> None:
        if blind_s:
            # What is acknowledged now is in the broker's memory only.
            self._plant.far.shut()
            time.sleep(blind_s)
        self._plant.kill_broker()
        time.sleep(for_s)
        self._plant.start_broker(keeps=keeps)
        self._plant.far.open()
        self.counts[f"kill_broker that {'keeps' if keeps else 'forgets'}"] += 1

    def _reset(self, line: str) -> None:
        proxy = getattr(self._plant, line)
        for _ in range(6000):  # it may just be waiting to connect again
            if proxy.reset():
                return
            time.sleep(0.01)
        msg = f"nobody has connected to the proxy {line!r} for 60 s"
        raise AssertionError(msg)

    def _stall(self, line: str, for_s: float) -> None:
        proxy = getattr(self._plant, line)
        proxy.stall()
        self._in(for_s, proxy.flow)

    def _disk_full(self, for_s: float, kill_s: float | None) -> None:
        self._plant.fill_disk()
        self._in(for_s, self._plant.free_disk)
        if kill_s is not None:
            self._in(min(kill_s, 0.9 * for_s), self._kill)

    def _kill(self) -> None:
        self.counts["kill_agent on a full disk"] += self._plant.disk_full
        self._plant.kill_agent()

    def _clock(self, offset: str) -> None:
        self._plant.set_clock(offset)

    def _camera(self, camera: str, fault: Any, for_s: float) -> None:  # noqa: ANN401 - a word of Wish
        self._plant.ask_camera(camera, Wish(fault=fault))
        self._in(for_s, lambda: self._plant.ask_camera(camera, Wish()))
        self.counts[f"camera {fault}"] += 1

    def _bad_model(self) -> None:
        self._engineer.use_bundle("crashing")

    def _other_model(self) -> None:
        self._engineer.use_bundle("other")

    @property
    def answers(self) -> list[tuple[str, bool, str]]:
        """What became of the bundles that were asked for: name, whether it was used, why not."""
        return self._engineer.answers
