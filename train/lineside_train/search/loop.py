"""One trial after the other, each step kept on disk before the next."""

from __future__ import annotations

import gc
import math
import shutil
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from lineside.errors import LinesideError, TrainError
from lineside.metrics import figures
from lineside.run import PARTS, SplitPart
from lineside.search import Trial
from lineside_train.backend import load_keras
from lineside_train.cache import cached_tensors
from lineside_train.fitting.examples import Examples, predict
from lineside_train.fitting.fit import Control, Trained, train_network
from lineside_train.fitting.progress import State
from lineside_train.options import TrainOptions
from lineside_train.reduction import settle_reduction
from lineside_train.search.choice import Entry, image_losses, image_weights, pareto
from lineside_train.search.journal import (
    Journal,
    Record,
    Running,
    checkpoint_of,
    trial_folder,
    write_journal,
)
from lineside_train.search.latency import Stopwatch
from lineside_train.search.proposal import Tried, propose
from lineside_train.search.space import Drawn, Space
from lineside_train.search.telling import begun, done
from lineside_train.task import Material, Task

STARTS: Final = 3
"""How often a trial is begun that the process does not survive: it may be what kills it."""

AGAIN: Final = 20
"""How often another proposal is asked for, where one was tried already."""

SLOW: Final = 4
"""Proposals for each training that was asked for: most of them may be too slow."""

FEW: Final = 3
"""Trials that a training is compared with at half of its epochs, at least."""


class Tensors:
    """The photos as the networks of a search see them, in one size at a time.

    Args:
        task: says where they are.
        material: the photos.
    """

    def __init__(self, task: Task, material: Material) -> None:
        self._task = task
        self._material = material
        self._loaded: tuple[int, npt.NDArray[np.uint8]] | None = None
        self.labels = material.labels

    def material(self, options: TrainOptions) -> Material:
        """The material, decoded as that size of image wants it."""
        before = self._material
        dataset, decode = settle_reduction(before.dataset, before.preprocess, options)
        preprocess = msgspec.structs.replace(before.preprocess, decode=decode)
        return replace(before, dataset=dataset, preprocess=preprocess)

    def examples(
        self, options: TrainOptions
    ) -> tuple[dict[SplitPart, Examples], npt.NDArray[np.uint8]]:
        """All parts, and the tensors of all photos.

        Raises:
            DatasetError: a photo has changed since it was read.
        """
        material, side = self.material(options), options.image_size
        if self._loaded is None or self._loaded[0] != side:
            self._loaded = None  # two sizes at once may be more than there is room for
            tensors = cached_tensors(
                *(self._task.data, material.rows, material.preprocess, (side, side)),
                self._task.cache,
            )
            self._loaded = side, tensors
        tensors = self._loaded[1]
        return {part: material.examples(part, tensors) for part in PARTS}, tensors

    def learned(self, options: TrainOptions) -> tuple[Examples, Examples]:
        """What a trial may see: `train` and `val`.

        Raises:
            DatasetError: a photo has changed since it was read.
        """
        found = self.examples(options)[0]
        return found["train"], found["val"]

    def truth(self) -> npt.NDArray[np.int64]:
        """Of val: n indices into the labels."""
        return self._material.truth("val")


class Loop:
    """The trials of one search.

    Args:
        space: what is varied.
        tensors: the photos.
        stopwatch: times networks.
        journal: what was tried already; is added to.
        folder: where the state is kept.
        stop: once set, it ends, with what there is.
        tell: is given a line for people.
    """

    def __init__(
        self,
        space: Space,
        tensors: Tensors,
        stopwatch: Stopwatch,
        journal: Journal,
        folder: Path,
        stop: threading.Event,
        tell: Callable[[str], None],
    ) -> None:
        self.space = space
        self.tensors = tensors
        self.journal = journal
        self.folder = folder
        self.stop = stop
        self._stopwatch = stopwatch
        self._tell = tell
        self.weights = image_weights(
            tensors.truth(), len(tensors.labels), balance=space.base.balance
        )

    def entries(self) -> list[Entry]:
        """The trials that gave a network."""
        return [
            Entry(one.trial.number, np.array(one.losses), one.trial.latency_ms)
            for one in self.journal.records
            if one.losses and one.trial.latency_ms is not None
        ]

    def run(self, trials: int, limit: float | None) -> None:
        """Try until there are enough trainings, or it is stopped, or nothing else is to be tried.

        Args:
            trials: how many trainings there shall be, those included that are there already.
            limit: a network that is slower is not trained; in ms.

        Raises:
            DatasetError: a photo has changed since it was read.
            StorageError: the disk is full or can't be written.
        """
        took: list[float] = []
        records = self.journal.records
        while not self.stop.is_set() and len(records) < SLOW * trials:
            counted = sum(one.trial.state != "too slow" for one in records)
            drawn = self._next() if counted < trials else None
            if drawn is None:
                return
            number = len(records) + 1
            options = self.space.options(drawn)
            self._tell(begun(number, counted + 1, trials, self.space.said(options)))
            began = time.monotonic()
            record = self._made(number, drawn, options, limit)
            if record is None:  # stopped before there was anything
                return
            self.journal.running = None
            records.append(record)
            write_journal(self.folder, self.journal)
            self._forget()
            if record.trial.state != "too slow":
                counted += 1
                took.append(time.monotonic() - began)
            left = statistics.mean(took or [0.0]) * (trials - counted)
            self._tell(done(record.trial, records, left))

    # ---- what is tried

    def _next(self) -> Drawn | None:
        """What to try; it is kept, so that it will be tried again if the process dies."""
        running = self.journal.running
        if running is not None:
            running = msgspec.structs.replace(running, starts=running.starts + 1)
        else:
            drawn = self._proposed()
            if drawn is None:
                return None
            running = Running(drawn=drawn)
        self.journal.running = running
        write_journal(self.folder, self.journal)
        return running.drawn

    def _proposed(self) -> Drawn | None:
        records = self.journal.records
        if not records:
            return self.space.start()
        if len(records) == 1 and records[0].trial.state == "too slow":
            # So that there is a model, whatever follows.
            return min(
                self.space.fastest(),
                key=lambda one: self._stopwatch.milliseconds(self.space.options(one)),
            )
        seen = [self.space.options(one.drawn) for one in records]
        for attempt in range(AGAIN):
            drawn = propose(self.space, self._tried(), self.space.base.seed + 7919 * attempt)
            if self.space.options(drawn) not in seen:
                return drawn
        self._tell("there is nothing else to try")
        return None

    def _tried(self) -> list[Tried]:
        """For the sampler; what gave no network counts as one that guesses."""
        guessing = math.log(len(self.tensors.labels))
        latencies = [one.trial.latency_ms or 0.0 for one in self.journal.records]
        return [
            (
                one.drawn,
                (
                    guessing if one.trial.loss is None else one.trial.loss,
                    one.trial.latency_ms or max(latencies) or 1.0,
                ),
            )
            for one in self.journal.records
        ]

    # ---- a trial

    def _made(
        self, number: int, drawn: Drawn, options: TrainOptions, limit: float | None
    ) -> Record | None:
        trial = Trial(number=number, options=self.space.said(options), state="failed")
        running = self.journal.running
        if running is not None and running.starts > STARTS:
            note = f"the process died in it {STARTS} times: out of memory?"
            return Record(trial=msgspec.structs.replace(trial, note=note), drawn=drawn)
        try:
            latency = self._stopwatch.milliseconds(options)
        except TrainError as error:
            return _failed(trial, drawn, str(error))
        trial = msgspec.structs.replace(trial, latency_ms=latency)
        if limit is not None and latency > limit:
            note = f"slower than {limit:g} ms: not trained"
            slow = msgspec.structs.replace(trial, state="too slow", note=note)
            return Record(trial=slow, drawn=drawn)
        return self._attempt(trial, drawn, options, latency)

    def _attempt(
        self, trial: Trial, drawn: Drawn, options: TrainOptions, latency: float
    ) -> Record | None:
        try:
            return None if self.stop.is_set() else self._trained(trial, drawn, options, latency)
        except TrainError as error:
            return None if self.stop.is_set() else _failed(trial, drawn, str(error))
        except LinesideError:
            raise
        except Exception as error:  # noqa: BLE001 - each backend has its own for a full memory
            said = str(error).strip().splitlines() or [type(error).__name__]
            return _failed(trial, drawn, said[0][:300])
        finally:
            load_keras().utils.clear_session()
            gc.collect()

    def _trained(self, trial: Trial, drawn: Drawn, options: TrainOptions, latency: float) -> Record:
        train, val = self.tensors.learned(options)
        halfway = Halfway(self._bar(latency))
        control = Control(checkpoint_of(self.folder, trial.number), self.stop, halfway)
        trained = train_network(train, val, len(self.tensors.labels), options, control)
        if trained.ended == "not finite":
            return _failed(trial, drawn, trained.notice or "", trained.seconds)
        logits = predict(trained.network, val.tensors)
        losses = image_losses(val.truth, logits)
        found = figures(val.truth, logits, self.tensors.labels)
        trial = msgspec.structs.replace(
            trial,
            state="complete" if trained.ended in {"all", "no better"} else "given up",
            loss=float(losses @ self.weights),
            balanced_accuracy=found.balanced_accuracy,
            parameters=trained.network.count_params(),
            seconds=round(trained.seconds, 3),
            note=_note(trained),
        )
        return Record(trial=trial, drawn=drawn, losses=losses.tolist(), halfway=halfway.loss)

    def _bar(self, latency: float) -> float | None:
        """What a training must have reached at half of its epochs: as those that aren't slower."""
        reached = [
            one.halfway
            for one in self.journal.records
            if one.halfway is not None and (one.trial.latency_ms or 0.0) <= latency
        ]
        return statistics.median(reached) if len(reached) >= FEW else None

    def _forget(self) -> None:
        """Remove the states of trials that can't be chosen any more."""
        front = {one.number for one in pareto(self.entries(), self.weights)}
        for record in self.journal.records:
            if record.trial.number not in front:
                place = trial_folder(self.folder, record.trial.number)
                shutil.rmtree(place, ignore_errors=True)


class Halfway:
    """Ends a training at half of its epochs, if its loss on val is higher than a bar until there.

    Attributes:
        loss: the lowest until there; None before.
    """

    def __init__(self, bar: float | None) -> None:
        self.loss: float | None = None
        self._bar = bar

    def __call__(self, state: State, epochs: int) -> bool:
        """Whether it is enough."""
        losses, half = state.history["val_loss"], max(1, epochs // 2)
        if len(losses) < half or self.loss is not None:
            return False
        self.loss = min(losses[:half])
        return self._bar is not None and self.loss > self._bar


def _note(trained: Trained) -> str:
    if trained.ended == "given up":
        return "at half of its epochs worse than most that are as fast"
    return trained.notice or ""


def _failed(trial: Trial, drawn: Drawn, why: str, seconds: float = 0.0) -> Record:
    failed = msgspec.structs.replace(trial, state="failed", note=why, seconds=round(seconds, 3))
    return Record(trial=failed, drawn=drawn)
