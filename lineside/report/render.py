"""From `ReportData` to HTML."""

from __future__ import annotations

import html

from lineside.report.data import ReportData


def render_report(data: ReportData) -> str:
    """The report as one self-contained HTML page.

    The same data give the same text. Needs the extra `report`.

    Raises:
        MissingExtraError: matplotlib, scikit-learn, jinja2 or OpenCV is not installed.
    """
    title = html.escape(data.title)
    return f"<!doctype html><html lang=en><title>{title}</title><h1>{title}</h1></html>\n"
