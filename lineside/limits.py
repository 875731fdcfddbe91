"""Temperature and limits, chosen on labelled images: on `val`, never on `test`.

The temperature makes probabilities honest: the T that minimises the negative log likelihood of
softmax(logits / T) (Guo et al., On Calibration of Modern Neural Networks, ICML 2017).

The limits minimise what wrong verdicts cost. With E, R and V what an escape (a bad part passed
as `ok`), a false reject (a good part refused as `ng`) and a `review` cost:

    cost = mean over good and bad parts, each half, of
           E where a bad part is ok,  R where a good part is ng,  V where any part is review

Good and bad parts weigh the same, since a folder of photos does not say how often defects come
on the line. What a part is, is taken from a logistic curve through all scores,

    P(bad | score) = 1 / (1 + exp(-(a logit(score) + b)))

(Platt, Probabilistic outputs for support vector machines, 1999, with his smoothed targets):
counting the few images on either side of a limit would follow their noise. The cost is a sum of
one term for each limit, so each is found by itself; if they cross, looking twice never pays and
there is one limit, `ng`. When sorting (no label means bad) there is one limit, `review`: an
escape is a wrong label that is ok. Where a limit on escapes was set, the limits are the cheapest of
those that keep it, for the original and for the converted model: see `lineside.escapes`.

All this is chosen for the original model: a converted one that answers something else must not
make limits of its own, it must fail its parity test. But many limits cost nearly the same. Among
those the one is taken that fewest scores cross between the original and the converted model;
among those again, the middle of the widest gap between scores: there small differences between
devices change no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from lineside.decision import defect_scores, is_sorting, softmax
from lineside.errors import InputError
from lineside.escapes import check_rate, evidence, within_rate
from lineside.extras import require
from lineside.manifest import DecisionSpec, Label, LimitSpec

Floats = npt.NDArray[np.float64]

TEMPERATURES: Final = (0.5, 20.0)
"""The range of T. Few images that are all answered rightly would ask for endless confidence."""

STEADY: Final = 0.01
"""How much more, as a share of the lowest cost, limits may cost that fewer scores cross."""

EQUAL: Final = 0.002
"""Costs that differ by less than this share of the lowest count as equal."""


@dataclass(frozen=True)
class Costs:
    """What wrong verdicts cost, against each other; only the ratios matter.

    Attributes:
        escape: a bad part passed as `ok`; when sorting, a wrong label passed as `ok`.
        reject: a good part refused as `ng`.
        review: a part that a person has to look at.

    Raises:
        InputError: a cost that is not a positive number.
    """

    escape: float = 2.0
    reject: float = 1.0
    review: float = 0.5

    def __post_init__(self) -> None:
        for name, cost in vars(self).items():
            if not 0 < cost < float("inf"):
                msg = f"the cost {name!r} must be a number above 0, got {cost}"
                raise InputError(msg)


def choose_decision(
    truth: npt.NDArray[np.integer],
    logits: npt.NDArray[np.floating],
    labels: Sequence[Label],
    *,
    costs: Costs = Costs(),
    max_escapes: float | None = None,
    twin: npt.NDArray[np.floating] | None = None,
) -> DecisionSpec:
    """Choose temperature and limits; see above.

    Args:
        truth: n indices into `labels`.
        logits: n x labels, of the original model.
        labels: in the order of the columns.
        costs: of wrong verdicts.
        max_escapes: the share of bad parts that may pass as `ok`; when sorting, of all images,
            wrongly labelled; None: no limit on it.
        twin: n x labels, of the converted model, where there is one.

    Raises:
        InputError: logits that are not finite, no image of a good or of a bad part, or a limit on
            escapes that is none.
    """
    temperature = fit_temperature(truth, logits)
    limits = choose_limits(
        truth,
        logits,
        labels,
        temperature=temperature,
        costs=costs,
        max_escapes=max_escapes,
        twin=twin,
    )
    escapes = None
    if max_escapes is not None:
        lowest = min(limit for limit in (limits.review, limits.ng) if limit is not None)
        models = [logits] if twin is None else [logits, twin]
        may_not, of = _may_not_pass(truth, models, labels)
        scores = np.stack([defect_scores(softmax(one, temperature), labels) for one in models])
        passed = int((may_not & (scores < lowest)).sum(axis=1).max())
        escapes = evidence(passed, of, max_escapes)
    return DecisionSpec(
        score="uncertainty" if is_sorting(labels) else "p_not_good",
        temperature=temperature,
        limits=limits,
        chosen_on="val",
        costs=dict(vars(costs)),
        escapes=escapes,
    )


def fit_temperature(truth: npt.NDArray[np.integer], logits: npt.NDArray[np.floating]) -> float:
    """The temperature that makes the probabilities honest, rounded to 4 digits.

    Args:
        truth: n indices of the true label.
        logits: n x labels.

    Raises:
        InputError: no image, or logits that are not finite.
    """
    optimize = require("scipy.optimize", extra="report")
    _check(truth, logits)
    z = np.asarray(logits, np.float64)
    rows = np.arange(len(truth))

    def loss(log_t: float) -> float:
        scaled = z / np.exp(log_t)
        top = scaled.max(axis=1)
        log_sum = top + np.log(np.exp(scaled - top[:, np.newaxis]).sum(axis=1))
        return float(np.mean(log_sum - scaled[rows, truth]))

    low, high = np.log(TEMPERATURES)
    found = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded")
    return float(f"{np.exp(found.x):.4g}")


def choose_limits(
    truth: npt.NDArray[np.integer],
    logits: npt.NDArray[np.floating],
    labels: Sequence[Label],
    *,
    temperature: float,
    costs: Costs = Costs(),
    max_escapes: float | None = None,
    twin: npt.NDArray[np.floating] | None = None,
) -> LimitSpec:
    """The limits of the lowest cost; see above.

    Args:
        truth: n indices into `labels`.
        logits: n x labels, of the original model.
        labels: in the order of the columns.
        temperature: for both models.
        costs: of wrong verdicts.
        max_escapes: as for `choose_decision`.
        twin: n x labels, of the converted model, where there is one.

    Raises:
        InputError: logits that are not finite, no image of a good or of a bad part, or a limit on
            escapes that is none.
    """
    both = [logits] if twin is None else [logits, twin]
    for one in both:
        _check(truth, one)
    every = np.stack([defect_scores(softmax(one, temperature), labels) for one in both])
    gaps, scores = _gaps(every), every[0]
    escaping = _Escaping(every, *_may_not_pass(truth, both, labels))
    if is_sorting(labels):
        wrong = logits.argmax(axis=1) != truth
        weight = np.full(len(truth), 1.0 / len(truth))
        p_wrong = _curve(wrong, scores, weight)
        cost = costs.review + _below(scores, weight * (costs.escape * p_wrong - costs.review), gaps)
        kept = gaps.keeping(max_escapes, escaping, _below(scores, weight * p_wrong, gaps))
        if not kept.any():
            return LimitSpec(review=0.0, ng=None)
        return LimitSpec(review=gaps.middle(gaps.best(cost, kept)), ng=None)
    bad = np.array([not label.good for label in labels])[truth]
    if bad.all() or not bad.any():
        kind = "good" if bad.all() else "bad"
        msg = f"limits can't be chosen: none of the {len(truth)} images shows a {kind} part"
        raise InputError(msg)
    weight = np.where(bad, 0.5 / bad.sum(), 0.5 / (~bad).sum())
    p_bad = _curve(bad, scores, weight)
    # What each part costs more when it is ok, or ng, than when it is in review.
    as_ok = weight * (costs.escape * p_bad - costs.review)
    as_ng = weight * (costs.reject * (1.0 - p_bad) - costs.review)
    review_cost = costs.review + _below(scores, as_ok, gaps)
    ng_cost = costs.review + as_ng.sum() - _below(scores, as_ng, gaps)
    expected = _below(scores, weight * p_bad, gaps) / np.sum(weight * p_bad)
    kept = gaps.keeping(max_escapes, escaping, expected)
    if not kept.any():
        # Bad parts with a score of 0: nothing may pass.
        return LimitSpec(review=0.0, ng=gaps.middle(gaps.best(ng_cost)))
    review, ng = gaps.best(review_cost, kept), gaps.best(ng_cost)
    if review > ng:
        # Looking twice never pays: one limit.
        together = review_cost + ng_cost - costs.review
        return LimitSpec(review=None, ng=gaps.middle(gaps.best(together, kept)))
    if review == ng:
        # No score lies between them. Whoever comes to lie there is like none of these images.
        return LimitSpec(review=gaps.at(review, 1 / 3), ng=gaps.at(ng, 2 / 3))
    return LimitSpec(review=gaps.middle(review), ng=gaps.middle(ng))


def _may_not_pass(
    truth: npt.NDArray[np.integer],
    models: Sequence[npt.NDArray[np.floating]],
    labels: Sequence[Label],
) -> tuple[npt.NDArray[np.bool_], int]:
    """What must not pass as `ok`, models x n, and how many parts its share is of."""
    if is_sorting(labels):
        return np.stack([one.argmax(axis=1) != truth for one in models]), len(truth)
    bad = np.array([not label.good for label in labels])[truth]
    return np.stack([bad] * len(models)), int(bad.sum())


@dataclass(frozen=True, eq=False)
class _Escaping:
    """What would be an escape if it passed.

    Attributes:
        scores: models x n.
        may_not: models x n, what must not pass as `ok`.
        of: how many parts a rate is a share of.
    """

    scores: Floats
    may_not: npt.NDArray[np.bool_]
    of: int


@dataclass(frozen=True)
class _Gaps:
    """The gaps between neighbouring scores of all models: where a limit can lie.

    Attributes:
        edges: from 0 to 1, one more than there are gaps.
        flips: for each gap, how many images have their scores on both sides of it.
    """

    edges: Floats
    flips: npt.NDArray[np.intp]

    def keeping(
        self, rate: float | None, escaping: _Escaping, expected: Floats
    ) -> npt.NDArray[np.bool_]:
        """For each gap whether a limit there keeps escapes within a rate, for every model.

        Args:
            rate: None: any.
            escaping: what would be an escape.
            expected: for each gap the share that the curve expects to pass below it.
        """
        kept = np.ones(len(self.flips), np.bool_)
        if rate is None:
            return kept
        check_rate(rate)
        for scores, may_not in zip(escaping.scores, escaping.may_not, strict=True):
            counted = np.searchsorted(np.sort(scores[may_not]), self.edges[:-1], "right")
            kept &= within_rate(counted, escaping.of, expected, rate)
        return kept

    def best(self, cost: Floats, kept: npt.NDArray[np.bool_] | None = None) -> int:
        """Of the gaps of nearly the lowest cost those of fewest flips; of these the widest.

        Args:
            cost: of each gap.
            kept: the gaps that may be taken, one at least; None: all.
        """
        cost = cost if kept is None else np.where(kept, cost, np.inf)
        cheap = np.flatnonzero(cost <= (1 + STEADY) * cost.min() + 1e-12)
        steady = cheap[self.flips[cheap] == self.flips[cheap].min()]
        equal = steady[cost[steady] <= (1 + EQUAL) * cost[steady].min() + 1e-12]
        return int(equal[np.argmax(np.diff(self.edges)[equal])])

    def middle(self, gap: int) -> float:
        """The middle of a gap."""
        return self.at(gap, 1 / 2)

    def at(self, gap: int, share: float) -> float:
        """A point of a gap, rounded to as few digits as keep it off its edges."""
        low, high = self.edges[gap], self.edges[gap + 1]
        point = low + (high - low) * share
        for digits in range(2, 9):
            rounded = round(float(point), digits)
            if abs(rounded - point) <= (high - low) / 8:
                return rounded
        return float(point)


def _gaps(scores: Floats) -> _Gaps:
    """The gaps between the scores, models x n."""
    edges = np.unique(np.concatenate([[0.0], scores.ravel(), [1.0]]))
    low, high = np.sort(scores.min(axis=0)), np.sort(scores.max(axis=0))
    # A limit in the gap above edge e parts the images with low <= e < high.
    flips = np.searchsorted(low, edges[:-1], "right") - np.searchsorted(high, edges[:-1], "right")
    return _Gaps(edges, flips)


def _below(scores: Floats, cost: Floats, gaps: _Gaps) -> Floats:
    """For each gap the cost of all images that lie below it."""
    order = np.argsort(scores, kind="stable")
    running = np.concatenate([[0.0], np.cumsum(cost[order])])
    return np.asarray(running[np.searchsorted(scores[order], gaps.edges[:-1], "right")])


def _curve(is_so: npt.NDArray[np.bool_], scores: Floats, weight: Floats) -> Floats:
    """P(is_so | score) for each score, by a logistic curve through all of them."""
    optimize = require("scipy.optimize", extra="report")
    x = np.log(np.clip(scores, 1e-9, 1 - 1e-9) / np.clip(1.0 - scores, 1e-9, 1 - 1e-9))
    # Platt's targets: not quite 0 and 1, so that the curve stays finite if nothing overlaps.
    many, few = int(is_so.sum()), int((~is_so).sum())
    target = np.where(is_so, (many + 1) / (many + 2), 1 / (few + 2))

    def loss(ab: Floats) -> float:
        z = ab[0] * x + ab[1]
        return float(np.sum(weight * (np.logaddexp(0.0, z) - target * z)))

    def slope(ab: Floats) -> Floats:
        off = weight * (_sigmoid(ab[0] * x + ab[1]) - target)
        return np.array([np.sum(off * x), np.sum(off)])

    a, b = optimize.minimize(loss, np.array([1.0, 0.0]), jac=slope, method="BFGS").x
    return _sigmoid(a * x + b)


def _sigmoid(z: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))


def _check(truth: npt.NDArray[np.integer], logits: npt.NDArray[np.floating]) -> None:
    if not len(truth) or logits.ndim != 2 or len(logits) != len(truth):
        msg = f"images with logits are expected, got {len(truth)} and logits {logits.shape}"
        raise InputError(msg)
    if not np.isfinite(logits).all():
        first = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        msg = f"the model's logits are not finite (NaN or infinite), first for image {first}"
        raise InputError(msg)
