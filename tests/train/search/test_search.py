"""Whole searches: real trainings, killed, stopped, gone on with, and refused."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from lineside.errors import InputError, StorageError, TrainError
from lineside.run import Run, open_run
from lineside.search import Search, Trial
from lineside_train.fitting.checkpoint import FILE
from lineside_train.options import TrainOptions
from lineside_train.search.options import Plan
from lineside_train.search.session import search_run
from lineside_train.task import Task, gather
from lineside_train.unfinished import SEARCH_FILE, unfinished_folder
from tests.support.command import lineside
from tests.support.training import training

pytestmark = [pytest.mark.train, pytest.mark.timeout(300)]

HOW: dict[str, Any] = {
    "arch": "plain",
    "width": 0.5,
    "image_size": 32,
    "epochs": 4,
    "batch_size": 16,
}


def search(
    cells: Path,
    out: Path,
    trials: int = 2,
    *,
    resume: bool = False,
    max_latency: float | None = None,
    said: list[str] | None = None,
    free: tuple[str, ...] = (),
    **options: object,
) -> Run:
    task = Task(
        data=cells,
        out=out,
        good=(),
        sort=False,
        split=None,
        options=TrainOptions(**HOW | options),
        resume=resume,
    )
    fixed = frozenset({"arch", "width", "image_size", *options}) - set(free)
    plan = Plan(trials=trials, fixed=fixed, max_latency=max_latency)
    tell = (said if said is not None else []).append
    return search_run(task, gather(task), plan, tell).run


def found(run: Run) -> Search:
    assert run.metrics.search is not None
    return run.metrics.search


def searching(
    cells: Path, out: Path, *, trial: int, **options: object
) -> AbstractContextManager[subprocess.Popen[str]]:
    """A search in a process of its own, whose training of that number has kept its state once."""
    state = f"trial-{trial}/{FILE}"
    return training(cells, out, HOW | options, "--search", 2, state=state, within_s=300)


def outcome_of(trial: Trial) -> tuple[Any, ...]:
    """What does not depend on how busy the machine is."""
    return trial.number, trial.options, trial.state, trial.loss, trial.balanced_accuracy


@pytest.fixture(scope="module")
def killed(cells: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a search left behind that was killed in its second trial."""
    out = tmp_path_factory.mktemp("killed") / "run"
    with searching(cells, out, trial=2) as process:
        process.kill()
        process.wait()
    assert not out.exists()
    return unfinished_folder(out)


def left_behind(killed: Path, out: Path) -> Path:
    """The same as if the run was to be another one; the journal."""
    shutil.copytree(killed, unfinished_folder(out))
    return unfinished_folder(out) / SEARCH_FILE


def test_a_killed_search_goes_on_where_it_was(cells: Path, killed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    before = json.loads(left_behind(killed, out).read_bytes())
    assert [one["trial"]["number"] for one in before["records"]] == [1]
    assert before["running"]["starts"] == 1
    with pytest.raises(StorageError, match="holds a training that did not end: go on with it by"):
        search(cells, out)
    with pytest.raises(StorageError, match=r"--resume can't go on in .*: learning_rate was None"):
        search(cells, out, resume=True, learning_rate=0.1)
    resumed = search(cells, out, resume=True)
    assert not unfinished_folder(out).exists()
    whole = search(cells, tmp_path / "whole")
    trials = found(resumed).trials
    assert list(map(outcome_of, trials)) == list(map(outcome_of, found(whole).trials))
    _check(resumed, trials)


def _check(run: Run, trials: list[Trial]) -> None:
    """The run is that of the chosen trial, and no worse on val than the first one."""
    assert [one.number for one in trials] == [1, 2]
    chosen = found(run).trial(found(run).chosen)
    assert chosen.loss is not None
    assert trials[0].loss is not None
    assert chosen.loss <= trials[0].loss
    assert chosen.front
    assert chosen.near_best
    assert {key: run.info.options[key] for key in chosen.options} == chosen.options
    assert run.info.train_seconds == chosen.seconds
    assert run.metrics.figures["val"]["balanced_accuracy"] == chosen.balanced_accuracy
    assert run.metrics.parameters == chosen.parameters
    page = (run.path / "report.html").read_text()
    assert 'id="search"' in page
    assert found(run).why in page


def test_a_trial_that_fails_is_recorded_and_the_search_goes_on(
    cells: Path, killed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    kept = left_behind(killed, out)
    journal = json.loads(kept.read_bytes())
    journal["running"]["starts"] = 3  # as if it had killed the process each time
    kept.write_text(json.dumps(journal))
    said: list[str] = []
    run = search(cells, out, 2, resume=True, said=said)
    first, second = found(run).trials
    assert (first.state, second.state, second.loss) == ("complete", "failed", None)
    assert second.note == "the process died in it 3 times: out of memory?"
    assert any("failed: the process died in it" in line for line in said)
    assert found(run).chosen == 1


def test_where_every_trial_fails_the_first_reason_is_said(cells: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainError) as failed:
        search(cells, tmp_path / "run", 1, learning_rate=1e38, epochs=1)
    assert str(failed.value).startswith(
        "no trial of the search gave a model: the loss is no number any more at step "
    )


def test_ctrl_c_ends_it_with_the_best_so_far(cells: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with searching(cells, out, trial=1, epochs=5000, patience=5000) as process:
        process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=90)
    assert process.returncode == 130, complained
    assert "Traceback" not in complained
    assert "Stopping; the best so far is kept." in complained
    assert said.endswith("notice: stopped by hand: 1 of 2 trials were made\n")
    run = open_run(out)
    (trial,) = found(run).trials
    assert (trial.state, found(run).chosen) == ("given up", 1)
    assert trial.note.startswith("stopped by hand in epoch ")
    assert not unfinished_folder(out).exists()


def test_a_limit_on_the_latency_is_kept(cells: Path, tmp_path: Path) -> None:
    out, free = tmp_path / "run", ("width", "image_size")
    how = {"width": 1.0, "image_size": 128, "epochs": 1}
    with pytest.raises(InputError) as refused:
        search(cells, out, 1, max_latency=1e-6, free=free, **how)
    said = re.fullmatch(
        r"--max-latency 1e-06: nothing that may be tried is so fast; the fastest is plain of width "
        r"0\.5 at 64 pixels, with (\S+) ms on .+",
        str(refused.value),
    )
    assert said is not None
    assert not unfinished_folder(out).exists()
    limit = 2 * float(said[1])
    run = search(cells, out, 1, max_latency=limit, free=free, **how)
    slow, quick = found(run).trials
    assert (slow.state, slow.loss, slow.front) == ("too slow", None, False)
    assert slow.latency_ms is not None
    assert quick.latency_ms is not None
    assert quick.latency_ms <= limit < slow.latency_ms
    assert (quick.state, found(run).chosen, run.info.image_size) == ("complete", 2, (64, 64))
    assert found(run).max_latency_ms == limit


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--search", 0], "0 is not in the range 1<=x<=1000"),
        (["--max-latency", 1], "--max-latency means nothing without --search"),
        (["--device-bundle", "b"], "--device-bundle means nothing without --search"),
        (["--search", 2, "--device-bench", "b"], "--device-bench and --device-bundle go together"),
        (["--search", 2, "--max-latency", 0], "0.0 is not in the range x>0.0"),
    ],
)
def test_what_cannot_be_meant(
    cells: Path, tmp_path: Path, words: list[str | float], message: str
) -> None:
    done = lineside("train", cells, "--out", tmp_path / "run", *words, ok=False)
    assert message in done.stderr
