"""Cross-validation and the learning curve in a report."""

from __future__ import annotations

import numpy as np
import pytest

from lineside.metrics import figures, pooled_verdicts, verdict_figures
from lineside.report import Culprit, render_report
from lineside.run import CurveMetrics, FoldMetrics
from tests.lineside.report.page import Page
from tests.lineside.report.scored import DECISION, Scored, report_of


@pytest.fixture
def folds(scored: Scored) -> FoldMetrics:
    fold = np.arange(len(scored.truth)) % 3
    of = [(scored.truth[fold == k], scored.logits[fold == k], scored.labels) for k in range(3)]
    return FoldMetrics(
        folds=3,
        figures=figures(scored.truth, scored.logits, scored.labels),
        verdicts=pooled_verdicts([verdict_figures(*one, DECISION) for one in of]),
        balanced_accuracies=[figures(*one).balanced_accuracy for one in of],
        fold=fold.tolist(),
        logits=scored.logits.tolist(),
    )


def test_pooled_verdicts_are_those_of_all_images(scored: Scored, folds: FoldMetrics) -> None:
    assert folds.verdicts == verdict_figures(scored.truth, scored.logits, scored.labels, DECISION)


def test_folds_come_with_what_they_mean(scored: Scored, folds: FoldMetrics) -> None:
    head = Page(render_report(report_of(scored, folds=folds))).said("")
    found, verdicts = folds.figures, folds.verdicts
    assert f"Cross-validated, on all {found.images} images: figures of the recipe" in head
    assert "trained in the same way, but is none of them" in head
    low, high = (100 * end for end in verdicts.intervals["escape_rate"])
    rate = 100 * verdicts.escapes / verdicts.bad_parts
    assert f"Escapes {rate:.1f} % ({low:.1f} to {high:.1f} %) {verdicts.escapes} of" in head
    low, high = found.intervals["auroc"]
    assert f"AUROC {found.auroc:.3f} ({low:.3f} to {high:.3f}) all folds together" in head


def test_doubted_labels_are_shown(scored: Scored) -> None:
    doubted = [Culprit(file, "functional", called="defective") for file in scored.files[:20]]
    page = Page(render_report(report_of(scored, doubted=doubted)))
    said = page.said("doubted")
    assert "Labels to look at again: 20" in said
    assert "The least believed 16 are shown" in said
    assert f"functional, called defective{scored.files[0]} " in said
    assert scored.files[15] in said
    assert scored.files[16] not in said


def test_without_folds_and_curve_nothing_is_said_of_them(scored: Scored) -> None:
    page = Page(render_report(report_of(scored)))
    assert "Cross-validated" not in page.said("")
    assert page.said("learning") == ""
    assert "Learning" not in page.plots()


def test_the_curve_is_drawn_and_answered(scored: Scored) -> None:
    curve = CurveMetrics(
        photos=[36, 36, 72, 72, 144],
        balanced_accuracies=[0.66, 0.68, 0.7, 0.8, 0.83],
        fitted=[[36.0, 0.67, 0.55, 0.78], [144.0, 0.82, 0.7, 0.92], [576.0, 0.9, 0.73, 0.98]],
        gain=0.045,
        gain_interval=[0.005, 0.065],
    )
    page = Page(render_report(report_of(scored, curve=curve)))
    assert "Twice the 144 photos to learn from are expected to add 4.5 points" in page.said(
        "learning"
    )
    assert "66.0% with 36, 68.0% with 36, 70.0% with 72, 80.0% with 72" in page.plots()["Learning"]
    assert {"href": "#learning"} in page.all("a")
