"""What a training gave: measured, written as a run, and shown in a report."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone

import msgspec
import numpy as np

from lineside.dataset import (
    Photo,
    fingerprint,
)
from lineside.image import Frame, decode
from lineside.limits import choose_decision
from lineside.metrics import Figures, figures, verdict_figures
from lineside.progress import working
from lineside.report import Explanations, ModelScores, ReportData, render_report
from lineside.run import (
    PARTS,
    Run,
    RunInfo,
    RunMetrics,
    SplitPart,
    encode_split,
    write_report,
    write_run,
)
from lineside.search import Search
from lineside_train.backend import versions
from lineside_train.besides import Besides
from lineside_train.explain import Explainer, Photos
from lineside_train.fitting.examples import Examples, label_weights, predict
from lineside_train.fitting.fit import Trained
from lineside_train.fitting.progress import Ended
from lineside_train.folds import doubted_images
from lineside_train.task import Material, Task


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
    truth, balance = train.examples.truth, task.options.balance
    weights = label_weights(truth, len(material.labels), balance=balance)
    explainer = Explainer(trained.network, train, test, material.labels, metrics.decision, weights)
    return explainer.explanations


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
