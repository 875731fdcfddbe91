"""What a training says at its end: in a few lines for people, and by its exit code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from lineside.decision import is_sorting
from lineside.escapes import said as escapes_said
from lineside.intervals import said as interval_said
from lineside.metrics import verdicts_said
from lineside.report.recipe import curve_said

if TYPE_CHECKING:
    from lineside.metrics import Figures
    from lineside.run import Run
    from lineside_train.outcome import Outcome


EXIT_CODES: Final[dict[str, int]] = {"stopped": 130, "not finite": 1}
"""Of a training that wrote a run, but did not end well."""


def outcome_lines(outcome: Outcome) -> Iterator[str]:
    """What came out, the figures of `test` with their 95 % confidence intervals."""
    run, metrics = outcome.run, outcome.run.metrics
    epochs = len(metrics.history.get("loss", ()))
    yield f"{metrics.parameters:,} parameters, {epochs} epochs in {run.info.train_seconds:.0f} s"
    # What val says was chosen by: an interval would promise too much.
    yield f"  val   {_figures(outcome.figures['val'], intervals=False)}"
    yield f"  test  {_figures(outcome.figures['test'], intervals=True)}"
    if metrics.verdicts is not None:
        yield f"  test  {verdicts_said(metrics.verdicts, sorting=is_sorting(run.info.labels))}"
    if metrics.folds is not None:
        folds, sorting = metrics.folds, is_sorting(run.info.labels)
        yield f"  {folds.folds} folds, all {folds.figures.images} images: figures of the recipe"
        yield f"        {_figures(folds.figures, intervals=True)}"
        yield f"        {verdicts_said(folds.verdicts, sorting=sorting)}"
    yield "        in brackets: 95 % confidence intervals"
    if metrics.curve is not None:
        yield f"photos: {curve_said(metrics.curve)}"
    yield from _limits(run)
    yield f"Run:    {run.path}"
    yield f"Report: {run.path / 'report.html'}"


def _figures(found: Figures, *, intervals: bool) -> str:
    shown = found.intervals if intervals else {}
    said = [
        f"{name.replace('_', ' ')} {value:.3f}{interval_said(shown.get(name), '{:.3f}')}"
        for name, value in (
            ("accuracy", found.accuracy),
            ("balanced_accuracy", found.balanced_accuracy),
        )
    ]
    area = "unknown" if found.area is None else f"{found.area:.3f}"
    ends = found.area_interval if intervals else None
    return ", ".join([*said, f"{found.area_name} {area}{interval_said(ends, '{:.3f}')}"])


def _limits(run: Run) -> Iterator[str]:
    decision = run.metrics.decision
    if decision is None:
        return
    limits = [
        f"{name} from {limit:g}"
        for name, limit in (("review", decision.limits.review), ("ng", decision.limits.ng))
        if limit is not None
    ]
    costs = ", ".join(f"{name} {cost:g}" for name, cost in decision.costs.items())
    yield f"limits: {', '.join(limits)} (costs: {costs})"
    if decision.escapes is not None:
        yield f"escapes: {escapes_said(decision.escapes, sorting=is_sorting(run.info.labels))}"
