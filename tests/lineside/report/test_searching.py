"""A search in a report."""

from __future__ import annotations

from typing import Any

import msgspec

from lineside.report import render_report
from lineside.report.searching import searched
from lineside.search import Search, Trial
from tests.lineside.report.page import Page
from tests.lineside.report.scored import Scored, report_of


def trial(number: int, **more: Any) -> Trial:  # noqa: ANN401 - of a trial
    options = {"arch": "plain", "flip": "none", "image_size": 64 + 32 * (number % 3)}
    figures = {"loss": 0.5 / number, "balanced_accuracy": 0.8, "latency_ms": 0.25 * number}
    return Trial(
        **{"number": number, "state": "complete", "options": options, "seconds": 61.2}
        | {"parameters": 12345}
        | figures
        | more
    )


SEARCH = Search(
    wanted=5,
    trials=[
        trial(1, front=True),
        trial(2, front=True, near_best=True),
        trial(3, front=True, near_best=True),
        trial(4, state="failed", loss=None, balanced_accuracy=None, note="<b>out of memory</b>"),
        trial(5, state="too slow", loss=None, balanced_accuracy=None, note="slower than 1 ms"),
        trial(6, state="given up", loss=0.9, note="worse than most"),
    ],
    chosen=2,
    why="Trial 3 has the lowest loss; trial 2 is faster.",
    device="Raspberry Pi 5",
    latency_note="estimated: multiplied by 4",
    max_latency_ms=1.0,
)


def test_the_search_is_told_and_listed(scored: Scored) -> None:
    page = Page(render_report(report_of(scored, search=SEARCH)))
    said = page.said("search")
    assert (
        "5 trainings of 5 that were asked for: 3 complete, 1 given up and 1 failed; "
        "1 network more not trained, being too slow. None of them has seen a test image."
    ) in said
    assert SEARCH.why in said
    assert "by one thread on Raspberry Pi 5, estimated: multiplied by 4." in said
    assert "Nothing slower than 1 ms was to be chosen." in said
    assert "chosen, front, near best" in said
    assert "Trial 4: <b>out of memory</b>." in said
    assert "12,345" in said
    assert page.plots()["Search:"].endswith("chosen: trial 2, 0.5 ms, 0.250")


def test_only_options_that_differ_have_a_column() -> None:
    assert searched(SEARCH).columns == ["image size"]


def test_one_trial_is_enough(scored: Scored) -> None:
    one = msgspec.structs.replace(SEARCH, trials=[trial(1, front=True)], chosen=1, wanted=1)
    said = Page(render_report(report_of(scored, search=one))).said("search")
    assert "1 training of 1 that were asked for: 1 complete." in said


def test_without_a_search_nothing_is_said(scored: Scored) -> None:
    assert Page(render_report(report_of(scored))).said("search") == ""
