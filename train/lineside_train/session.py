"""One training from start to end: a folder of photos in, a run folder out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from lineside.dataset import (
    Dataset,
    Photo,
    fingerprint,
    read_dataset,
    read_groups,
    with_notices,
)
from lineside.errors import StorageError
from lineside.image import Frame, Preprocess, decode
from lineside.labels import mark_labels
from lineside.limit_rules import LimitRules
from lineside.limits import choose_decision
from lineside.manifest import Label
from lineside.metrics import Figures, figures, verdict_figures
from lineside.progress import working
from lineside.report import Explanations, ModelScores, ReportData, render_report
from lineside.run import (
    PARTS,
    Run,
    RunInfo,
    RunMetrics,
    SplitPart,
    SplitRow,
    encode_split,
    write_report,
    write_run,
)
from lineside.search import Search
from lineside_train.backend import versions
from lineside_train.besides import Besides, measure_besides
from lineside_train.cache import cached_tensors
from lineside_train.curve import plan_curve
from lineside_train.data import quick
from lineside_train.explain import Explainer, Photos
from lineside_train.fitting.examples import Examples, Rows, predict
from lineside_train.fitting.fit import Control, Trained, train_network
from lineside_train.fitting.machines import ALONE, Alone
from lineside_train.fitting.progress import Ended
from lineside_train.fitting.teaching import check_teacher
from lineside_train.folds import Fold, doubted_images, plan_folds
from lineside_train.options import TrainOptions
from lineside_train.reduction import settle_reduction
from lineside_train.split import choose_split
from lineside_train.stopping import stop_on_interrupt
from lineside_train.unfinished import under_way


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to train on, and where to put the run.

    Attributes:
        data: the folder of photos.
        out: the run folder to write.
        good: the labels that mean a good part; empty: those that are known to.
        sort: whether no label means a bad part.
        split: a split.csv to take over.
        options: how to train.
        rules: what limits are chosen by.
        groups: a `file,group` file or a pattern; None: the data folder's groups.csv, if any.
        cache: where decoded photos are kept; None: nowhere.
        resume: go on with a training into `out` that did not end.
        folds: how many models to train besides, to cross-validate; None: none.
        curve: whether to train with fewer photos besides, to see if more would help.
    """

    data: Path
    out: Path
    good: tuple[str, ...]
    sort: bool
    split: Path | None
    options: TrainOptions
    rules: LimitRules = field(default_factory=LimitRules)
    groups: str | None = None
    cache: Path | None = None
    resume: bool = False
    folds: int | None = None
    curve: bool = False


@dataclass(frozen=True)
class Material:
    """What a task turned out to hold: everything that training needs but the pixels."""

    dataset: Dataset
    labels: tuple[Label, ...]
    rows: tuple[SplitRow, ...]
    preprocess: Preprocess
    folds: tuple[Fold, ...] = ()
    subsets: tuple[npt.NDArray[np.int64], ...] = ()

    def part(self, part: SplitPart) -> tuple[SplitRow, ...]:
        """The images of one part of the split."""
        return tuple(row for row in self.rows if row.part == part)

    def truth(self, part: SplitPart) -> npt.NDArray[np.int64]:
        """For each image of one part the index of its label."""
        index = {label.name: k for k, label in enumerate(self.labels)}
        return np.array([index[row.label] for row in self.part(part)], np.int64)

    def examples(self, part: SplitPart, tensors: npt.NDArray[np.uint8]) -> Examples:
        """The images and labels of one part.

        Args:
            part: of the split.
            tensors: of all `rows`: uint8, n x height x width x channels.
        """
        rows = np.flatnonzero([row.part == part for row in self.rows])
        return Examples(Rows(tensors, rows), self.truth(part))

    def counts(self) -> dict[str, dict[str, int]]:
        """Images of each label in each part."""
        return {
            part: {
                label.name: int(count)
                for label, count in zip(
                    self.labels,
                    np.bincount(self.truth(part), minlength=len(self.labels)),
                    strict=True,
                )
            }
            for part in PARTS
        }


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a task gave.

    Attributes:
        run: the run as it was written.
        ended: why the training ended.
        figures: for each part of the split.
    """

    run: Run
    ended: Ended
    figures: dict[SplitPart, Figures]


def check_out(out: Path, data: Path) -> None:
    """Refuse a place for the run before the work is done, not after it.

    Raises:
        StorageError: there is something already, or it lies inside the data folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        msg = f"{out} is there already: choose another name for --out, or remove it"
        raise StorageError(msg)
    if out.resolve().is_relative_to(data.resolve()):
        msg = f"{out} lies inside {data}, where it would be taken for a label: choose another --out"
        raise StorageError(msg)


def gather(task: Task) -> Material:
    """Read the photos and settle labels, split and preprocessing.

    Raises:
        DatasetError: the folder, its labels or the imported split can't be used, or a photo is too
            small to be reduced as asked.
        RunError: the imported split is no split.csv, or the teacher no run.
        TrainError: the teacher was trained on another split.
    """
    dataset = read_dataset(task.data)
    labels = mark_labels(dataset.labels, task.good, sort=task.sort)
    grouping = read_groups(task.groups, dataset)
    rows = choose_split(dataset, task.options.seed, task.split, grouping)
    if task.options.teacher is not None:
        check_teacher(task.options.teacher, hashlib.sha256(encode_split(rows)).hexdigest())
    dataset = with_notices(dataset, (*grouping.notices, *quick(dataset, rows, grouping)))
    colour = task.options.colour or ("gray" if dataset.gray else "rgb")
    spec = Preprocess(resize=task.options.resize, colour=colour)
    dataset, decode_by = settle_reduction(dataset, spec, task.options)
    train = [row for row in rows if row.part == "train"]
    return Material(
        dataset,
        labels,
        rows,
        msgspec.structs.replace(spec, decode=decode_by),
        plan_folds(rows, task.folds, task.options.seed, grouping.of) if task.folds else (),
        plan_curve(train, task.options.seed, grouping.of) if task.curve else (),
    )


def all_examples(
    task: Task, material: Material
) -> tuple[npt.NDArray[np.uint8], dict[SplitPart, Examples]]:
    """The pixels of all photos, and of each part of the split its images and labels.

    Raises:
        DatasetError: a photo has changed since it was read.
    """
    size = (task.options.image_size, task.options.image_size)
    tensors = cached_tensors(task.data, material.rows, material.preprocess, size, task.cache)
    return tensors, {part: material.examples(part, tensors) for part in PARTS}


def train_run(task: Task, material: Material, machines: Alone = ALONE) -> Outcome:
    """Train, measure and write the run.

    `val` chooses the weights; `test` is measured once, at the end.

    Args:
        task: what was asked for.
        material: the photos.
        machines: who share the training; this is the first of them, and all else is its own.

    Raises:
        DatasetError: a photo has changed since it was read.
        TrainError: the training failed.
        StorageError: the run can't be written: nothing is left of it, but a training that had
            come far enough can be gone on with.
    """
    tensors, examples = all_examples(task, material)
    with under_way(task.out, identity(task, material), resume=task.resume) as checkpoint:
        control = Control(checkpoint, machines=machines)
        with stop_on_interrupt(control.stop):
            trained = train_network(
                examples["train"], examples["val"], len(material.labels), task.options, control
            )
            machines.leave()
            besides = measure_besides(task, material, trained, tensors, control.stop)
        outcome = measure(task, material, trained, examples, besides)
        if control.stop.is_set():
            outcome = replace(outcome, ended="stopped")
    report_run(task, material, trained, examples, outcome.run)
    return outcome


def report_run(
    task: Task,
    material: Material,
    trained: Trained,
    examples: dict[SplitPart, Examples],
    run: Run,
) -> None:
    """Add the report to a run that is written.

    Raises:
        StorageError: the disk is full or can't be written; the run is whole without it.
    """
    with working("Writing the report"):
        why = _explanations(task, material, trained, examples, run.metrics)
        write_report(run, render_report(_report(task, material, run.info, run.metrics, why)))


def _explanations(
    task: Task,
    material: Material,
    trained: Trained,
    examples: dict[SplitPart, Examples],
    metrics: RunMetrics,
) -> Explanations | None:
    """Why the network answers as it does; nothing is chosen by it."""
    if metrics.decision is None:
        return None
    train, test = (
        Photos(examples[part], [row.file for row in material.part(part)])
        for part in ("train", "test")
    )
    weights = np.ones(len(material.labels))
    if task.options.balance:
        weights = 1 / np.bincount(train.examples.truth, minlength=len(weights))
    explainer = Explainer(trained.network, train, test, material.labels, metrics.decision, weights)
    return explainer.explanations


def identity(task: Task, material: Material) -> dict[str, Any]:
    """What must be the same for a training to go on."""
    return asked(task, material) | {"versions": versions()}


def asked(task: Task, material: Material) -> dict[str, Any]:
    """What is trained on, and how, apart from the versions of what trains."""
    options: dict[str, Any] = msgspec.to_builtins(task.options)
    return options | {
        "labels": [msgspec.to_builtins(label) for label in material.labels],
        "split": hashlib.sha256(encode_split(material.rows)).hexdigest(),
        "preprocess": msgspec.to_builtins(material.preprocess),
    }


def measure(
    task: Task,
    material: Material,
    trained: Trained,
    examples: dict[SplitPart, Examples],
    besides: Besides,
    search: Search | None = None,
) -> Outcome:
    """Measure what was trained, and write the run.

    Args:
        task: what was asked for.
        material: the photos.
        trained: the run's model.
        examples: of each part of the split.
        besides: what other trainings say.
        search: how it was found, if it was searched for.

    Raises:
        StorageError: the run can't be written.
    """
    logits = {part: predict(trained.network, examples[part].tensors) for part in PARTS}
    found = {part: figures(material.truth(part), logits[part], material.labels) for part in PARTS}
    info = _info(task, material, trained)
    decision = choose_decision(
        material.truth("val"),
        logits["val"],
        material.labels,
        costs=task.rules.costs,
        max_escapes=task.rules.max_escapes,
    )
    metrics = RunMetrics(
        figures={part: msgspec.to_builtins(figure) for part, figure in found.items()},
        history=trained.history,
        logits={part: logits[part].tolist() for part in ("val", "test")},
        parameters=trained.network.count_params(),
        decision=decision,
        verdicts=verdict_figures(material.truth("test"), logits["test"], material.labels, decision),
        folds=besides.folds,
        curve=besides.curve,
        search=search,
        notices=[
            *([trained.notice] if trained.notice else []),
            *besides.notices,
            *(notice.message for notice in material.dataset.notices),
        ],
    )
    run = write_run(
        task.out,
        info=info,
        metrics=metrics,
        split=material.rows,
        save_model=trained.network.save,
    )
    return Outcome(run, trained.ended, found)


def _info(task: Task, material: Material, trained: Trained) -> RunInfo:
    size = task.options.image_size
    return RunInfo(
        name=task.out.resolve().name,
        labels=list(material.labels),
        preprocess=material.preprocess,
        image_size=(size, size),
        split=hashlib.sha256(encode_split(material.rows)).hexdigest(),
        data=fingerprint([Photo(row.file, row.sha256) for row in material.rows]),
        data_root=str(task.data.resolve()),
        seed=task.options.seed,
        options=msgspec.to_builtins(task.options),
        limit_rules=task.rules,
        versions=versions(),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        train_seconds=round(trained.seconds, 3),
    )


def _report(
    task: Task,
    material: Material,
    info: RunInfo,
    metrics: RunMetrics,
    why: Explanations | None = None,
) -> ReportData:
    def load_frame(file: str) -> Frame:
        return decode((task.data / file).read_bytes(), info.preprocess.decode, name=repr(file))

    return ReportData(
        title=info.name,
        subject="run",
        created=info.created,
        labels=material.labels,
        files=[row.file for row in material.part("test")],
        truth=material.truth("test"),
        models=[ModelScores("float", np.array(metrics.logits["test"]))],
        load_frame=load_frame,
        decision=metrics.decision,
        counts=material.counts(),
        history=metrics.history,
        notices=metrics.notices,
        explanations=why,
        folds=metrics.folds,
        curve=metrics.curve,
        doubted=doubted_images(metrics.folds, material.rows, material.labels),
        search=metrics.search,
        settings=info.option_texts(),
        seed=info.seed,
        versions=info.versions,
        fingerprints={"data": info.data, "split": info.split},
    )
