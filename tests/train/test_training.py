"""Real trainings, short ones, on real cells."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from lineside.dataset import load_tensors
from lineside.decision import softmax
from lineside.errors import RunError, StorageError, TrainError
from lineside.limit_rules import LimitRules
from lineside.metrics import figures, verdict_figures
from lineside.run import Run, encode_split, open_run
from lineside_train.fitting import examples as fitting_examples
from lineside_train.fitting.examples import Examples, predict
from lineside_train.fitting.fit import train_network
from lineside_train.options import TrainOptions
from lineside_train.predictor import open_run_predictor
from lineside_train.session import train_run
from lineside_train.task import Task, gather
from tests.support.command import lineside
from tests.support.disk import tiny_disk
from tests.support.pictures import colourful, encoded

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def run(run_folder: Path) -> Run:
    return open_run(run_folder)


def task(data: Path, out: Path, *, split: Path | None = None, **options: object) -> Task:
    return Task(
        data=data,
        out=out,
        good=(),
        sort=False,
        split=split,
        options=TrainOptions(**{"image_size": 32, "epochs": 1} | options),
    )


def examples(run: Run, part: str, size: int = 32) -> Examples:
    rows = run.rows(part)
    names = [label.name for label in run.info.labels]
    tensors = load_tensors(
        Path(run.info.data_root),
        [row.file for row in rows],
        run.info.preprocess,
        (size, size),
        what="Reading",
    )
    return Examples(tensors, np.array([names.index(row.label) for row in rows]))


# The run


def test_the_run_says_what_was_done(run: Run, cells: Path) -> None:
    info = run.info
    assert [(label.name, label.good) for label in info.labels] == [
        ("defective", False),
        ("functional", True),
    ]
    assert info.preprocess.colour == "gray"
    assert info.image_size == (64, 64)
    assert info.data_root == str(cells)
    assert info.seed == 0
    assert info.options["epochs"] == 6
    assert {"python", "lineside", "keras", "tensorflow", "numpy", "opencv"} <= info.versions.keys()
    assert info.split == hashlib.sha256(encode_split(run.split)).hexdigest()
    assert info.train_seconds > 0


def test_every_cell_is_in_the_split_with_its_hash(run: Run, cells: Path) -> None:
    assert len(run.split) == len(list(cells.rglob("*.png"))) == 240
    for row in run.split[::30]:
        assert row.sha256 == hashlib.sha256((cells / row.file).read_bytes()).hexdigest()
    assert [len(run.rows(part)) for part in ("train", "val", "test")] == [144, 36, 60]


def test_figures_and_logits_fit_each_other(run: Run) -> None:
    names = [label.name for label in run.info.labels]
    for part in ("val", "test"):
        truth = np.array([names.index(row.label) for row in run.rows(part)])
        logits = np.array(run.metrics.logits[part])
        found = figures(truth, logits, run.info.labels)
        assert msgspec.to_builtins(found) == run.metrics.figures[part]
    assert run.metrics.figures["train"]["images"] == 144
    decision, truth = (
        run.metrics.decision,
        np.array([names.index(r.label) for r in run.rows("test")]),
    )
    assert decision is not None
    logits = np.array(run.metrics.logits["test"])
    assert run.metrics.verdicts == verdict_figures(truth, logits, run.info.labels, decision)


def test_it_has_learned_something(run: Run) -> None:
    assert run.metrics.figures["train"]["auroc"] > 0.7
    assert run.metrics.figures["test"]["auroc"] > 0.6


def test_the_history_has_a_value_for_each_epoch(run: Run) -> None:
    assert {"loss", "val_loss", "accuracy", "val_accuracy"} <= run.metrics.history.keys()
    assert {len(values) for values in run.metrics.history.values()} == {6}


def test_the_report_is_there(run: Run) -> None:
    html = (run.path / "report.html").read_text("utf-8")
    assert "functional" in html
    assert run.info.split in html


def test_the_same_data_and_seed_give_the_same_metrics(
    run: Run, cells: Path, tmp_path: Path
) -> None:
    # The other run was made in another process.
    again = task(cells, tmp_path / "run", image_size=64, epochs=6)
    outcome = train_run(again, gather(again))
    assert outcome.run.info.split == run.info.split
    assert outcome.run.metrics == run.metrics


def test_another_seed_gives_another_split(run: Run, cells: Path, tmp_path: Path) -> None:
    assert gather(task(cells, tmp_path / "run", seed=1)).rows != run.split


def test_a_split_is_imported(run: Run, cells: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = lineside(
        *("train", cells, "--out", out, "--split", run.path / "split.csv", "--seed", 5),
        *("--image-size", 32, "--epochs", 1, "--arch", "mlp", "--flip", "both"),
        *("--escape-cost", 3, "--max-escapes", 0.2),
    )
    assert (out / "split.csv").read_bytes() == (run.path / "split.csv").read_bytes()
    info = open_run(out).info
    assert info.seed == 5
    assert info.limit_rules == LimitRules(escape_cost=3.0, max_escapes=0.2)
    lines = done.stdout.splitlines()
    assert lines[-1] == f"Report: {out}/report.html"
    told = "\n".join(lines)
    assert "\n32,866 parameters, 1 epochs in " in told
    ends = r" \(0\.\d+ to [01]\.\d+\)"
    figures = rf"accuracy 0\.\d+{ends}, balanced accuracy 0\.\d+{ends}, AUROC 0\.\d+{ends}"
    assert re.search(rf"\n  val   accuracy 0\.\d+, balanced .*\n  test  {figures}\n", told)
    assert re.search(r"\n  test  \d+ of 30 bad parts pass as ok \(.* are ng \(.* review\n", told)
    assert "\nlimits: " in told
    assert ", ng from 0." in told
    assert "(costs: escape 3, reject 1, review 0.5)\nescapes: At most 20 % of the bad" in told
    noise = [line for line in done.stderr.splitlines() if not line.startswith("epoch ")]
    assert done.stderr
    assert noise == []


def test_sorting_into_three_labels_in_colour(tmp_path: Path) -> None:
    for label, shift in (("amber", 0), ("blue", 1), ("green", 2)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for n in range(8):
            pixels = np.roll(colourful(40, 40, seed=n) // (1, 3, 5), shift, axis=2)
            data = encoded(pixels.astype(np.uint8), "PNG")
            (tmp_path / "photos" / label / f"{n} ü.png").write_bytes(data)
    sorting = replace(
        task(tmp_path / "photos", tmp_path / "run", arch="separable", width=0.5), sort=True
    )
    train_run(sorting, gather(sorting))
    run = open_run(tmp_path / "run")
    assert all(label.good for label in run.info.labels)
    assert run.info.preprocess.colour == "rgb"
    assert run.metrics.figures["test"]["macro_auroc"] is not None
    assert run.metrics.figures["test"]["auroc"] is None


def test_a_full_disk_leaves_nothing_half_written(cells: Path, tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", kib=256) as disk:
        full = task(cells, disk / "run", arch="mlp", units=64)
        with pytest.raises(StorageError) as refused:
            train_run(full, gather(full))
        assert str(refused.value) == (
            f"{disk / 'run.unfinished' / 'state.npz'}: the disk is full; "
            "free some space and run it again"
        )
        assert list(disk.iterdir()) == []


# The predictor


def test_the_predictor_says_what_the_training_saw(run: Run) -> None:
    predictor = open_run_predictor(run.path)
    assert predictor.labels == tuple(run.info.labels)
    assert predictor.image_size == (64, 64)
    assert predictor.preprocess == run.info.preprocess
    assert predictor.decision == run.metrics.decision
    logits = predictor.logits(examples(run, "test", 64).tensors)
    assert np.allclose(logits, run.metrics.logits["test"], atol=1e-4)


@pytest.mark.parametrize("damage", [b"", b"no zip file", None])
def test_a_damaged_model_is_refused(run: Run, tmp_path: Path, damage: bytes | None) -> None:
    copy = tmp_path / "run"
    copy.mkdir()
    for file in run.path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    model = copy / "model.keras"
    model.write_bytes(model.read_bytes()[:-5000] if damage is None else damage)
    with pytest.raises(
        RunError, match=r"model\.keras can't be loaded: .*; train it again"
    ) as error:
        open_run_predictor(copy)
    assert "\n" not in str(error.value)


def test_a_model_of_another_run_is_refused(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    copy.mkdir()
    for file in run.path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    path = copy / "run.json"
    info = msgspec.structs.replace(run.info, image_size=(32, 32))
    path.write_bytes(msgspec.json.encode(info))
    with pytest.raises(RunError, match=r"does not fit its run\.json: input \(32, 32, 1\) and 2"):
        open_run_predictor(copy)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nowhere is no run"):
        open_run_predictor(tmp_path / "nowhere")


# The training


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "rmsprop"])
def test_every_optimizer_learns(run: Run, optimizer: str) -> None:
    options = TrainOptions(
        arch="mlp", image_size=32, epochs=6, optimizer=optimizer, augment="none", patience=6
    )
    trained = train_network(examples(run, "train"), examples(run, "val"), 2, options)
    assert trained.history["loss"][-1] < trained.history["loss"][0]


def test_the_best_weights_are_kept_and_training_stops_early(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        fitting_examples, "PREDICT_BATCH", 8
    )  # val in several batches, the last one smaller
    train, val = examples(run, "train"), examples(run, "val")
    options = TrainOptions(image_size=32, epochs=60, width=0.5, patience=2, learning_rate=0.02)
    trained = train_network(train, val, 2, options)
    losses = trained.history["val_loss"]
    assert len(losses) < 60
    assert len(losses) == int(np.argmin(losses)) + 1 + options.patience
    # The labels of val are as many as each other, so their weights are 1.
    p = softmax(predict(trained.network, val.tensors))
    found = -np.log(p[np.arange(len(val.truth)), val.truth]).mean()
    assert found == pytest.approx(min(losses), rel=1e-3)


def test_a_loss_that_is_no_number_is_an_error(run: Run) -> None:
    options = TrainOptions(
        arch="mlp", image_size=32, epochs=3, optimizer="sgd", learning_rate=1e38, augment="none"
    )
    said = (
        r"no number any more at step \d+ \(epoch 1\): try a smaller --learning-rate than 1e\+38; "
        "there is nothing to keep yet"
    )
    with pytest.raises(TrainError, match=said):
        train_network(examples(run, "train"), examples(run, "val"), 2, options)


def test_fewer_images_than_a_batch(run: Run) -> None:
    few = examples(run, "val")
    options = TrainOptions(arch="mlp", image_size=32, epochs=1, batch_size=1000)
    assert len(train_network(few, few, 2, options).history["loss"]) == 1


def test_jax_trains_the_same_code_and_its_model_runs_anywhere(cells: Path, tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="jax comes with the extra 'dev', from Python 3.11 on")
    out = tmp_path / "run"
    done = lineside(
        *("train", cells, "--out", out, "--image-size", 32, "--epochs", 1, "--width", 0.5),
        *("--batch-size", 72, "--flip", "both"),
        env={"KERAS_BACKEND": "jax"},
    )
    assert all(line.startswith("epoch ") for line in done.stderr.splitlines()), done.stderr
    run = open_run(out)
    assert "jax" in run.info.versions
    assert "tensorflow" not in run.info.versions
    logits = open_run_predictor(out).logits(examples(run, "test").tensors)
    assert np.allclose(logits, run.metrics.logits["test"], atol=1e-3)
