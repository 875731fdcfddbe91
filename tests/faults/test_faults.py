"""The short form: is any verdict lost? `make faults` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import controls, frames, limit, trial
from tests.faults.plant import Wanted, faketime

FAULTS = {
    "kill_agent": 6,
    "kill_broker": 3,
    "reset": 6,
    "stall": 2,
    "disk_full": 3,
    "clock": 4 if faketime() else 0,
    "camera": 4,
    "bad_model": 1,
    "kill_waiting": 2,
}


@pytest.mark.broker
@pytest.mark.timeout(300)
def test_every_accepted_trigger_has_its_one_result(tmp_path: Path) -> None:
    wanted = Wanted(tiny_disk=True, clock=faketime() is not None)
    outcome = trial.run("short", tmp_path / "plant", wanted, FAULTS, results=800, seed=0)
    assert outcome.violations == []
    assert {kind: outcome.faults[kind] for kind in FAULTS} == FAULTS
    assert outcome.figures["accepted"] == outcome.figures["with a result, after repair"]
    assert outcome.figures["accepted"] >= 800
    assert outcome.verdicts["ng"] + outcome.verdicts["ok"] + outcome.verdicts["review"] > 0


@pytest.mark.broker
@pytest.mark.timeout(300)
def test_untriggered_results_are_lost_for_the_commit_interval_at_most(tmp_path: Path) -> None:
    outcome = frames.run(tmp_path / "plant", kills=3, seed=0)
    assert outcome.violations == []
    assert outcome.faults["kill_agent"] == 3


@pytest.mark.broker
@pytest.mark.timeout(300)
def test_what_the_limit_forces_out_is_what_is_missing(tmp_path: Path) -> None:
    outcome = limit.run(tmp_path / "plant", results=1800)
    assert outcome.violations == []
    assert outcome.figures["missing"] > 0


@pytest.mark.broker
@pytest.mark.timeout(300)
@pytest.mark.parametrize("control", controls.CONTROLS, ids=lambda control: control.mode)
def test_an_agent_that_is_wrong_is_found_wrong(control: controls.Control, tmp_path: Path) -> None:
    outcome = controls.run(control, tmp_path / "plant", seed=0)
    assert controls.asleep(control, outcome) is None
    if not control.wrong:
        assert outcome.violations == []
