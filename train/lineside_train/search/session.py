"""A search from start to end: a folder of photos in, a run folder of the best training out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lineside.errors import InputError, TrainError
from lineside.extras import require
from lineside.search import Search
from lineside_train.besides import measure_besides
from lineside_train.fitting.fit import Control, Trained, train_network
from lineside_train.networks import build_network
from lineside_train.outcome import Outcome, measure, report_run
from lineside_train.search.choice import choose
from lineside_train.search.device import Device, other_device, this_machine
from lineside_train.search.journal import Journal, checkpoint_of, read_journal
from lineside_train.search.latency import Stopwatch
from lineside_train.search.loop import Loop, Tensors
from lineside_train.search.options import Plan
from lineside_train.search.space import Space, make_space
from lineside_train.search.telling import table, why
from lineside_train.stopping import stop_on_interrupt
from lineside_train.task import Material, Task, identity
from lineside_train.unfinished import under_way


def search_run(task: Task, material: Material, plan: Plan, tell: Callable[[str], None]) -> Outcome:
    """Search, and write the run of the trial that was chosen.

    Only `train` and `val` are seen by the search; `test` is measured once, at the end.

    Args:
        task: what to train on; its options are tried first.
        material: the photos.
        plan: how to search.
        tell: is given a line for people, now and then.

    Raises:
        DatasetError: a photo has changed since it was read.
        MissingExtraError: Optuna is not installed.
        InputError: no network is fast enough, or the device's file can't be used.
        TrainError: every trial failed.
        StorageError: the run can't be written; the search can be gone on with.
    """
    require("optuna", extra="train")  # not only after the first training
    labels, channels = len(material.labels), material.preprocess.channels
    space = make_space(task.options, plan.fixed, channels)
    _check_weights(space, channels, labels)
    told = identity(task, material) | {"search": _identity(space, plan)}
    control = Control()
    with under_way(task.out, told, resume=task.resume) as checkpoint:
        folder = checkpoint.folder
        journal = read_journal(folder) or Journal(device=_device(plan))
        start = space.options(space.start())
        tensors = Tensors(task, material)
        with (
            stop_on_interrupt(control.stop),
            Stopwatch(
                start, channels, labels, journal.latencies, journal.device.scale
            ) as stopwatch,
        ):
            _check_limit(space, stopwatch, plan.max_latency, journal.device)
            loop = Loop(space, tensors, stopwatch, journal, folder, control.stop, tell)
            loop.run(plan.trials, plan.max_latency)
            task, trained, search = _chosen(loop, task, plan)
            sized = tensors.material(task.options)
            examples, all_of_them = tensors.examples(task.options)
            besides = measure_besides(task, sized, trained, all_of_them, control.stop)
        outcome = measure(task, sized, trained, examples, besides, search)
        if control.stop.is_set():
            outcome = replace(outcome, ended="stopped")
    report_run(task, sized, trained, examples, outcome.run)
    return outcome


def _check_weights(space: Space, channels: int, labels: int) -> None:
    """Refuse weights that can't be had or don't fit once, instead of in each trial that wants them.

    Raises:
        TrainError: so it is.
    """
    if space.weights:
        arch = min(space.weights)
        drawn = space.start() | ({"arch": arch} if "arch" in space.choices else {})
        build_network(space.options(drawn), channels, labels)


def _identity(space: Space, plan: Plan) -> dict[str, Any]:
    """What must be the same for a search to go on; the number of trials may change."""
    bench = plan.device_bench
    return {
        "fixed": sorted(space.fixed),
        "networks": {arch: list(widths) for arch, widths in space.networks.items()},
        "max_latency": plan.max_latency,
        "device_bench": bench and hashlib.sha256(bench.read_bytes()).hexdigest(),
    }


def _device(plan: Plan) -> Device:
    if plan.device_bench is None:
        return this_machine()
    return other_device(plan.device_bench, plan.device_bundles)


def _check_limit(space: Space, stopwatch: Stopwatch, limit: float | None, device: Device) -> None:
    """Refuse a limit that nothing meets, before hours of training."""
    if limit is None:
        return
    timed = [
        (stopwatch.milliseconds(options), options)
        for options in map(space.options, space.fastest())
    ]
    fastest, options = min(timed, key=lambda one: one[0])
    if fastest > limit:
        msg = (
            f"--max-latency {limit:g}: nothing that may be tried is so fast; the fastest is "
            f"{options.arch} of width {options.width:g} at {options.image_size} pixels, with "
            f"{fastest:.3g} ms on {device.name}"
        )
        raise InputError(msg)


def _chosen(loop: Loop, task: Task, plan: Plan) -> tuple[Task, Trained, Search]:
    """The training that was chosen, as it was: it is not made again."""
    choice = choose(loop.entries(), loop.weights, limit=plan.max_latency, start=1)
    records = loop.journal.records
    if choice is None:
        failed = [one.trial for one in records if one.trial.state == "failed"]
        reason = failed[0].note if failed else "it was stopped before the first one was done"
        msg = f"no trial of the search gave a model: {reason}"
        raise TrainError(msg)
    record = next(one for one in records if one.trial.number == choice.chosen)
    options = loop.space.options(record.drawn)
    train, val = loop.tensors.learned(options)
    kept = checkpoint_of(loop.folder, choice.chosen)
    trained = train_network(train, val, len(loop.tensors.labels), options, Control(kept))
    search = Search(
        wanted=plan.trials,
        trials=table(records, choice),
        chosen=choice.chosen,
        why=why(records, choice, plan.max_latency),
        device=loop.journal.device.name,
        latency_note=loop.journal.device.note,
        max_latency_ms=plan.max_latency,
    )
    task = replace(task, options=options)
    if not loop.stop.is_set():
        return task, trained, search
    done = sum(one.trial.state != "too slow" for one in records)
    notice = f"stopped by hand: {done} of {plan.trials} trials were made"
    return task, replace(trained, ended="stopped", notice=notice), search
