"""Trainings that don't come to their end: killed, stopped, or two at once."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from lineside.errors import StorageError
from lineside.run import Run, open_run
from lineside_train.fitting.checkpoint import FILE
from lineside_train.options import TrainOptions
from lineside_train.session import train_run
from lineside_train.task import Task, gather
from lineside_train.unfinished import unfinished_folder
from tests.support.training import training

pytestmark = pytest.mark.train

HOW = {"image_size": 32, "width": 0.5, "epochs": 12, "patience": 12, "batch_size": 16}


def train(cells: Path, out: Path, *, resume: bool = False, **options: object) -> Run:
    task = Task(
        data=cells,
        out=out,
        good=(),
        sort=False,
        split=None,
        options=TrainOptions(**HOW | options),
        resume=resume,
    )
    return train_run(task, gather(task)).run


def test_a_killed_training_goes_on_where_it_was(cells: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with training(cells, out, HOW) as process:
        process.send_signal(signal.SIGSTOP)  # so that it does not end meanwhile
        with pytest.raises(StorageError) as second:
            train(cells, out)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert str(second.value) == (
        f"{out} is being trained by another process: choose another --out, or wait for it"
    )
    assert not out.exists()
    with pytest.raises(StorageError) as again:
        train(cells, out)
    assert str(again.value) == (
        f"{out}.unfinished holds a training that did not end: go on with it by --resume, "
        f"or remove it, or choose another --out than {out}"
    )
    with pytest.raises(StorageError) as other:
        train(cells, out, resume=True, learning_rate=0.1)
    assert str(other.value) == (
        f"--resume can't go on in {out}.unfinished: learning_rate was None, and is 0.1 now; "
        "ask for the same, or remove the folder"
    )
    resumed = train(cells, out, resume=True)
    assert not unfinished_folder(out).exists()
    whole = train(cells, tmp_path / "whole")
    assert resumed.metrics.history == whole.metrics.history
    assert resumed.metrics.logits == whole.metrics.logits


def test_ctrl_c_keeps_the_best_so_far(cells: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with training(cells, out, HOW | {"epochs": 5000, "patience": 5000}) as process:
        process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=90)
    assert process.returncode == 130, complained
    assert "Stopping; the best so far is kept." in complained
    assert "Traceback" not in complained
    run = open_run(out)
    assert 1 <= len(run.metrics.history["loss"]) < 5000
    assert run.metrics.notices[0].startswith("stopped by hand in epoch ")
    assert said.endswith(f"notice: {run.metrics.notices[0]}\n")
    assert not unfinished_folder(out).exists()


def test_resume_with_nothing_to_go_on_from_starts_anew(cells: Path, tmp_path: Path) -> None:
    run = train(cells, tmp_path / "run", resume=True, arch="mlp", epochs=1)
    assert len(run.metrics.history["loss"]) == 1


def test_a_damaged_state_is_refused(cells: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    folder = unfinished_folder(out)
    with training(cells, out, HOW) as process:
        process.kill()
        process.wait()
    state = folder / FILE
    state.write_bytes(state.read_bytes()[:-3000])
    with pytest.raises(StorageError, match="is damaged or of another training") as damaged:
        train(cells, out, resume=True)
    assert "\n" not in str(damaged.value)
    (folder / "training.json").write_bytes(b"{")
    with pytest.raises(StorageError, match=r"run\.unfinished is damaged \("):
        train(cells, out, resume=True)
