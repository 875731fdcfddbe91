"""k-fold cross-validation: each photo is asked about once, by a model that has not seen it.

Of few photos a quarter is too few to measure on. Here they are dealt into k parts, by the rules of
the split; for each part a model is trained as the run's own is, on a fifth of the others as its
`val` and the rest as its `train`, and its answers about the part are kept. All answers together are
as many as there are photos.

What their figures are of: the recipe (these options, on about as many photos), not the model of the
run, which has learned from the run's own `train` and is a model of its own. Intervals are those of
the photos; that the k models share most of their training photos is in no interval, and can't be
(Bengio and Grandvalet, No Unbiased Estimator of the Variance of K-Fold Cross-Validation, JMLR 5,
2004).

The k models are each on a scale of their own. So the logits are divided by each one's temperature,
and each one's limits, chosen on its `val`, give its verdicts. What they say of photos that they
have not seen also shows which labels to look at again (confident learning, by cleanlab).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import click
import numpy as np
import numpy.typing as npt

from lineside.dataset import Photo, share_photos
from lineside.decision import softmax
from lineside.limit_rules import LimitRules
from lineside.limits import choose_decision
from lineside.manifest import Label
from lineside.metrics import VerdictFigures, figures, pooled_verdicts, verdict_figures
from lineside.report import Culprit
from lineside.run import FoldMetrics, SplitRow
from lineside_train.data.suspects import doubted_labels
from lineside_train.fitting.examples import Examples, Rows, predict
from lineside_train.fitting.fit import Control, train_network
from lineside_train.options import TrainOptions

VAL: Final = 0.2
"""Share of the photos outside a fold that its model's best epoch and limits are chosen on."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Fold:
    """One of k divisions; indices of photos.

    Attributes:
        train: what its model learns from.
        val: what its best epoch, temperature and limits are chosen on.
        test: what it is asked about.
    """

    train: Indices
    val: Indices
    test: Indices


@dataclass(frozen=True, eq=False)
class Answered:
    """What the model of one fold says of its photos.

    Attributes:
        rows: which photos.
        logits: float64, n x labels, divided by the temperature.
        verdicts: by the limits of this model.
    """

    rows: Indices
    logits: npt.NDArray[np.float64]
    verdicts: VerdictFigures


def plan_folds(
    rows: Sequence[SplitRow], folds: int, seed: int, groups: Mapping[str, str]
) -> tuple[Fold, ...]:
    """Deal photos into folds: by content, stratified, groups undivided.

    Args:
        rows: the photos.
        folds: how many, at least 3.
        seed: of the dealing.
        groups: file -> group.

    Raises:
        DatasetError: a label has too few different images or groups.
    """
    photos = [Photo(row.file, row.sha256) for row in rows]
    fold_of = share_photos(photos, [1 / folds] * folds, seed, groups)
    place = {photo.file: index for index, photo in enumerate(photos)}
    found = []
    for fold in range(folds):
        rest = [photo for photo in photos if fold_of[photo.file] != fold]
        part_of = share_photos(rest, [1 - VAL, VAL], seed, groups)
        train, val = (
            np.array([place[file] for file, part in part_of.items() if part == wanted], np.int64)
            for wanted in (0, 1)
        )
        test = np.array([place[p.file] for p in photos if fold_of[p.file] == fold], np.int64)
        found.append(Fold(np.sort(train), np.sort(val), test))
    return tuple(found)


def cross_validate(
    plan: Sequence[Fold],
    examples: Examples,
    labels: Sequence[Label],
    options: TrainOptions,
    rules: LimitRules,
    stop: threading.Event,
) -> FoldMetrics | None:
    """Train and ask a model for each fold.

    Args:
        plan: as `plan_folds` gives it.
        examples: all photos and their labels.
        labels: in the order of the logits.
        options: how to train; those of the run.
        rules: what limits are chosen by.
        stop: once set, the folds are given up.

    Returns:
        None where they were given up.

    Raises:
        TrainError: a training failed.
    """
    answered = []
    for number, fold in enumerate(plan, start=1):
        if stop.is_set():
            return None
        click.echo(f"fold {number} of {len(plan)}", err=True)
        answered.append(_answer(fold, examples, labels, options, rules, stop))
    if stop.is_set():
        return None
    logits = np.empty((len(examples.truth), len(labels)))
    number_of = np.empty(len(examples.truth), np.int64)
    for number, one in enumerate(answered):
        logits[one.rows], number_of[one.rows] = one.logits, number
    each = [figures(examples.truth[one.rows], one.logits, labels) for one in answered]
    return FoldMetrics(
        folds=len(plan),
        figures=figures(examples.truth, logits, labels),
        verdicts=pooled_verdicts([one.verdicts for one in answered]),
        balanced_accuracies=[one.balanced_accuracy for one in each],
        fold=number_of.tolist(),
        logits=logits.tolist(),
        doubted=[place for place, _ in doubted_labels(examples.truth, softmax(logits))],
    )


def _answer(
    fold: Fold,
    examples: Examples,
    labels: Sequence[Label],
    options: TrainOptions,
    rules: LimitRules,
    stop: threading.Event,
) -> Answered:
    train, val, test = (chosen(examples, rows) for rows in (fold.train, fold.val, fold.test))
    trained = train_network(train, val, len(labels), options, Control(stop=stop))
    on_val, on_test = (predict(trained.network, one.tensors) for one in (val, test))
    decision = choose_decision(
        val.truth, on_val, labels, costs=rules.costs, max_escapes=rules.max_escapes
    )
    verdicts = verdict_figures(test.truth, on_test, labels, decision)
    return Answered(fold.test, on_test.astype(np.float64) / decision.temperature, verdicts)


def chosen(examples: Examples, rows: Indices) -> Examples:
    """Some of the examples, none of which is read before it is asked for."""
    return Examples(Rows(examples.tensors, rows), examples.truth[rows])


def doubted_images(
    found: FoldMetrics | None, rows: Sequence[SplitRow], labels: Sequence[Label]
) -> list[Culprit]:
    """The images whose label the folds do not believe, for the report; none without folds.

    Args:
        found: what the folds found.
        rows: all photos.
        labels: in the order of the logits.
    """
    if found is None:
        return []
    called = np.array(found.logits).argmax(axis=1)
    return [
        Culprit(rows[place].file, rows[place].label, called=labels[int(called[place])].name)
        for place in found.doubted
    ]
