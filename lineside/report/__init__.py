"""The report: one self-contained HTML file that says how good a model is, for people.

    report = ReportData(title="cells", subject="run", …)
    write_file(path / "report.html", render_report(report).encode())

`train` writes one for a run (one model), `convert` one for a bundle (the original and the
converted model). The page needs no network: pictures, plots and style are inside it.
"""

from lineside.report.data import (
    FileSize,
    LayerError,
    ModelScores,
    ReportData,
    SchemeRow,
    Timing,
)
from lineside.report.explanation import Culprit, Explanation, Explanations
from lineside.report.pages import render_page
from lineside.report.render import render_report

__all__ = [
    "Culprit",
    "Explanation",
    "Explanations",
    "FileSize",
    "LayerError",
    "ModelScores",
    "ReportData",
    "SchemeRow",
    "Timing",
    "render_page",
    "render_report",
]
