"""Cross-validation: each photo is asked about once, by a model that has not seen it."""

from __future__ import annotations

import re
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lineside.decision import softmax
from lineside.errors import DatasetError
from lineside.manifest import DecisionSpec, Label, LimitSpec
from lineside.metrics import figures, verdict_figures
from lineside.run import FoldMetrics, SplitRow, open_run
from lineside_train.besides import measure_besides
from lineside_train.data.suspects import doubted_labels
from lineside_train.fitting.fit import Trained
from lineside_train.folds import doubted_images, plan_folds
from lineside_train.networks import build_network
from lineside_train.options import TrainOptions
from lineside_train.session import train_run
from lineside_train.task import Task, gather
from lineside_train.telling import outcome_lines

LABELS = (Label(name="b", good=False), Label(name="a", good=True))
DECISION = DecisionSpec(
    score="p_not_good", temperature=1.0, limits=LimitSpec(review=0.3, ng=0.6), chosen_on="val"
)


def some_rows(counts: dict[str, int]) -> list[SplitRow]:
    return [
        SplitRow(f"{label}/{n:03}.png", f"{label:>4}{n:060}", "train")
        for label, count in counts.items()
        for n in range(count)
    ]


@pytest.mark.parametrize("folds", [3, 5, 10])
def test_every_photo_is_asked_about_once(folds: int) -> None:
    rows = some_rows({"bad": 30, "ok": 61})
    plan = plan_folds(rows, folds, 0, {})
    assert sorted(np.concatenate([fold.test for fold in plan])) == list(range(91))
    labels = np.array([row.label for row in rows])
    for fold in plan:
        parts = [set(fold.train), set(fold.val), set(fold.test)]
        assert set.union(*parts) == set(range(91))
        assert sum(map(len, parts)) == 91
        for part in parts:
            assert {"bad", "ok"} == set(labels[list(part)])
        assert abs(np.sum(labels[fold.test] == "bad") - 30 / folds) < 1
        assert len(fold.val) == pytest.approx(0.2 * (91 - len(fold.test)), abs=2)


def test_content_decides_and_the_seed() -> None:
    rows = some_rows({"bad": 12, "ok": 20})

    def tests(rows: list[SplitRow], seed: int) -> list[set[str]]:
        plan = plan_folds(rows, 4, seed, {})
        return [{rows[k].sha256 for k in fold.test} for fold in plan]

    renamed = [SplitRow(f"{r.label}/x{r.sha256[-3:]}.png", r.sha256, r.part) for r in rows]
    assert tests(renamed[::-1], 0) == tests(rows, 0)
    assert tests(rows, 1) != tests(rows, 0)


def test_groups_and_copies_are_never_divided() -> None:
    rows = some_rows({"bad": 30, "ok": 30})
    rows += [SplitRow("ok/copy.png", rows[-1].sha256, "train")]
    groups = {row.file: f"part {int(row.file[-7:-4]) // 3}" for row in rows[:60]}
    for fold in plan_folds(rows, 3, 0, groups):
        for part in (fold.train, fold.val, fold.test):
            inside = {groups.get(rows[k].file) for k in part} - {None}
            assert all(k in part for k in range(60) if groups[rows[k].file] in inside)
            assert (59 in part) == (60 in part)


def test_too_few_of_a_label() -> None:
    with pytest.raises(DatasetError) as refused:
        plan_folds(some_rows({"bad": 4, "ok": 30}), 5, 0, {})
    assert str(refused.value) == (
        "the label 'bad' has 4 different images (or groups) to be divided by 5: add some, or "
        "divide by 4 at most"
    )


@pytest.mark.train
def test_folds_and_curve_of_a_real_training(
    cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in ("defective", "functional"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for file in sorted((cells / label).iterdir())[:20]:
            shutil.copy(file, tmp_path / "photos" / label)
    plain = Task(
        data=tmp_path / "photos",
        out=tmp_path / "plain",
        good=(),
        sort=False,
        split=None,
        options=TrainOptions(image_size=16, epochs=1, arch="mlp"),
    )
    alone = train_run(plain, gather(plain)).run
    more = replace(plain, out=tmp_path / "run", folds=3, curve=True)
    outcome = train_run(more, gather(more))
    run = open_run(tmp_path / "run")
    assert run.metrics.logits == alone.metrics.logits  # its own model is the same
    folds, curve = run.metrics.folds, run.metrics.curve
    assert folds is not None
    assert curve is not None
    assert sorted(set(folds.fold)) == [0, 1, 2]
    truth = np.array([row.label == "functional" for row in run.split], np.int64)
    assert figures(truth, np.array(folds.logits), run.info.labels) == folds.figures
    assert folds.verdicts.images == folds.figures.images == 40
    assert len(folds.balanced_accuracies) == 3
    assert curve.photos == [6, 6, 12, 12, 24]
    told = "\n".join(outcome_lines(outcome))
    assert re.search(r"\n  3 folds, all 40 images: figures of the recipe\n +accuracy", told)
    assert "\nphotos: Twice the 24 photos to learn from are expected to add " in told
    said = capsys.readouterr().err
    assert said.index("learning curve: 12 photos, 4 of 4") < said.index("fold 3 of 3")
    html = (run.path / "report.html").read_text("utf-8")
    assert "Cross-validated, on all 40 images: figures of the recipe" in html
    assert "Would more photos help?" in html


@pytest.mark.train
def test_what_was_stopped_has_no_figures(cells: Path, tmp_path: Path) -> None:
    task = Task(
        data=cells,
        out=tmp_path / "run",
        good=(),
        sort=False,
        split=None,
        options=TrainOptions(image_size=16, epochs=1, arch="mlp"),
        folds=3,
        curve=True,
    )
    material = gather(task)
    stop = threading.Event()
    stop.set()
    tensors = np.zeros((len(material.rows), 16, 16, 1), np.uint8)
    network = build_network(task.options, 1, 2)
    trained = Trained(network, {}, 0.0, "stopped", None)
    found = measure_besides(task, material, trained, tensors, stop)
    assert (found.folds, found.curve) == (None, None)
    assert found.notices == (
        "the learning curve was stopped before its end: there are no figures of it",
        "the cross-validation was stopped before its end: there are no figures of it",
    )


def test_wrong_labels_are_doubted() -> None:
    """Answers that are right in nine of ten cases; of 200 labels 10 are wrong."""
    random = np.random.default_rng(0)
    truth = random.integers(2, size=200)
    logits = np.where(np.eye(2)[truth] > 0, 2.0, -2.0) + random.normal(0, 1.0, (200, 2))
    wrong = random.choice(200, 10, replace=False)
    given = truth.copy()
    given[wrong] = 1 - given[wrong]
    rows = [SplitRow(f"{'ba'[label]}/{n}.png", f"{n:064}", "test") for n, label in enumerate(given)]
    metrics = FoldMetrics(
        folds=3,
        figures=figures(given, logits, LABELS),
        verdicts=verdict_figures(given, logits, LABELS, DECISION),
        balanced_accuracies=[0.9] * 3,
        fold=[0] * 200,
        logits=logits.tolist(),
        doubted=[place for place, _ in doubted_labels(given, softmax(logits))],
    )
    found = set(metrics.doubted)
    assert len(found & set(wrong.tolist())) >= 8
    assert len(found) <= 16
    shown = doubted_images(metrics, rows, LABELS)
    assert [one.file for one in shown] == [rows[place].file for place in metrics.doubted]
    assert all({one.label, one.called} == {"a", "b"} for one in shown)
    assert doubted_images(None, rows, LABELS) == []
