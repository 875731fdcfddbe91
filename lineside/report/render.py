"""From `ReportData` to HTML: what the template shows, and the template filled in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside.decision import is_sorting
from lineside.metrics import figures
from lineside.report import charts, conversion, gallery, recipe, reliability, summary
from lineside.report.analysis import Judged, differences, judge, limits_of, outcomes
from lineside.report.data import ReportData
from lineside.report.pages import render_page
from lineside.report.searching import searched
from lineside.run import PARTS

MANY: Final = 60
"""Labels from which on a page does not go into each: a model of others may have a thousand."""


def render_report(data: ReportData) -> str:
    """The report as one self-contained HTML page.

    The same data give the same text. Needs the extras `report` and `runtime`.

    Raises:
        MissingExtraError: matplotlib, scikit-learn, jinja2 or OpenCV is not installed.
    """
    context = {
        "data": data,
        "many": MANY,
        "sorting": is_sorting(data.labels),
        "limits": limits_of(data.decision),
        "costs": summary.costs(data.decision) if data.decision else "",
        "escapes": summary.escapes(data),
        "search": searched(data.search) if data.search else None,
        "folds": data.folds,
        "fold_cards": list(recipe.fold_cards(data.folds, data.labels)) if data.folds else [],
        "doubted": gallery.culprit_tiles(data, data.doubted[: gallery.DOUBTED]),
        "learning": recipe.curve_chart(data.curve) if data.curve else None,
        "learning_said": recipe.curve_said(data.curve) if data.curve else "",
        "parts": _counts(data),
        "history": list(charts.history_charts(data.history)),
        "measured": _measured(data) if len(data.files) else None,
        "unmeasured": summary.unmeasured(data),
        "parity": list(summary.parity(data.parity)) if data.parity else [],
        "devices": conversion.devices(data.schemes),
        "layers": conversion.layer_chart(data.layers) if data.layers else None,
    }
    return render_page("template.html.j2", context)


def _counts(data: ReportData) -> dict[str, list[int]]:
    """For each part of the split, in the usual order, the images of each label."""
    order = [part for part in PARTS if part in data.counts]
    return {part: [data.counts[part].get(label.name, 0) for label in data.labels] for part in order}


def _measured(data: ReportData) -> dict[str, Any]:
    """What is shown where there are test images."""
    models = [judge(model, data.labels, data.decision) for model in data.models]
    judged = models[-1]
    ends = [outcomes(data, one) for one in models]
    figured = [figures(data.truth, model.logits, data.labels) for model in data.models]
    sorting = is_sorting(data.labels)
    lines = charts.label_curves(data) if sorting or len(data.labels) > 2 else {}
    score_plots = [charts.score_chart(data, judged)]
    if sorting:
        score_plots.append(charts.coverage_chart(data, judged))
    curves = [] if sorting else list(charts.bad_part_charts(data, models))
    if lines:
        curves += charts.label_charts(lines)
    return {
        "headline": summary.headline(data, judged, ends[-1]),
        "caveats": list(summary.caveats(data)),
        "cards": list(summary.cards(data, ends[-1], figured[-1])),
        "verdicts": _verdicts(data, judged),
        "listed": _listed(data),
        "shown": _shown(np.array(figured[-1].confusion)),
        "score_plots": score_plots,
        "examples": list(gallery.examples(data, judged)),
        "mistakes": list(gallery.mistakes(data, judged, ends[-1])),
        "why": data.explanations,
        "common": gallery.culprit_tiles(
            data, data.explanations.common if data.explanations else ()
        ),
        "curves": curves,
        "label_curves": lines,
        "compared": [
            {"name": one.name, "ends": end, "figures": figure}
            for one, end, figure in zip(models, ends, figured, strict=True)
        ],
        **_reliability(data, models),
        **_differences(data, models),
    }


def _verdicts(data: ReportData, judged: Judged) -> list[dict[str, int]]:
    """For each label how many of its test images got which verdict."""
    verdicts = np.array(judged.verdicts)
    return [
        {
            verdict: int(np.sum((verdicts == verdict) & (data.truth == number)))
            for verdict in ("ok", "review", "ng")
        }
        for number in range(len(data.labels))
    ]


def _listed(data: ReportData) -> list[int]:
    """The labels that have a row; of very many only those that a test image shows."""
    if len(data.labels) <= MANY:
        return list(range(len(data.labels)))
    return [int(number) for number in np.unique(data.truth)]


def _shown(confusion: npt.NDArray[np.integer]) -> list[int]:
    """The labels that are gone into one by one; of very many those with the most mistakes."""
    if len(confusion) <= MANY:
        return list(range(len(confusion)))
    images, called = confusion.sum(axis=1), confusion.sum(axis=0)
    mistakes = images + called - 2 * confusion.diagonal()
    order = np.lexsort((-images, -mistakes))
    return sorted([int(number) for number in order if images[number] or called[number]][:MANY])


def _reliability(data: ReportData, models: Sequence[Judged]) -> dict[str, Any]:
    """How far each model's probabilities can be believed."""
    found = [reliability.reliability_of(data, model) for model in models]
    raw = [judge(model, data.labels, None) for model in data.models if data.decision is not None]
    return {
        "reliability": found,
        "untempered": [reliability.reliability_of(data, model) for model in raw],
        "reliability_charts": [
            reliability.reliability_chart(data, model.name, one, number)
            for number, (model, one) in enumerate(zip(models, found, strict=True))
        ],
    }


def _differences(data: ReportData, models: Sequence[Judged]) -> dict[str, Any]:
    """How the judged model differs from the original, where there are both."""
    if len(models) < 2:
        return {"differences": None, "flips": []}
    found = differences(models[0], models[-1])
    return {"differences": found, "flips": gallery.flips(data, models[0], models[-1], found)}
