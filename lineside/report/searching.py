"""What is shown of a search: a plot, and a table of what was tried."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lineside.report.charts import Chart
from lineside.report.plots import Look
from lineside.report.search_plot import search_plot
from lineside.report.summary import counted, enumerated
from lineside.search import Search, Trial


@dataclass(frozen=True)
class Searched:
    """The section about a search.

    Attributes:
        facts: what was done, a sentence each.
        chart: the trials; None where none gave a network.
        columns: names of the options that differ.
        rows: each trial, what came of it, and the text of these options.
        notes: numbers of trials, and what else is to be known of them.
    """

    facts: list[str]
    chart: Chart | None
    columns: list[str]
    rows: list[tuple[Trial, str, list[str]]]
    notes: list[tuple[list[int], str]]


def searched(search: Search) -> Searched:
    """What is shown of a search."""
    names = [
        name
        for name in dict.fromkeys(key for trial in search.trials for key in trial.options)
        if len({str(trial.options.get(name)) for trial in search.trials}) > 1
    ]
    rows = [
        (trial, _standing(trial, search), [_text(trial.options.get(name)) for name in names])
        for trial in search.trials
    ]
    notes: dict[str, list[int]] = {}
    for trial in search.trials:
        if trial.note:
            notes.setdefault(trial.note, []).append(trial.number)
    return Searched(
        list(_facts(search)),
        _chart(search),
        [name.replace("_", " ") for name in names],
        rows,
        [(numbers, note) for note, numbers in notes.items()],
    )


def _standing(trial: Trial, search: Search) -> str:
    said = {
        "chosen": trial.number == search.chosen,
        "front": trial.front,
        "near best": trial.near_best,
        trial.state: trial.state != "complete",
    }
    return ", ".join(text for text, is_so in said.items() if is_so)


def _text(value: Any) -> str:  # noqa: ANN401 - of an option
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value).rsplit("/", 1)[-1]


def _facts(search: Search) -> Iterator[str]:
    counts = dict.fromkeys(("complete", "given up", "failed", "too slow"), 0)
    for trial in search.trials:
        counts[trial.state] += 1
    slow = counts.pop("too slow")
    trained = sum(counts.values())
    parts = [f"{count} {state}" for state, count in counts.items() if count]
    text = f"{counted(trained, 'training')} of {search.wanted} that were asked for"
    if parts:
        text += f": {enumerated(parts)}"
    if slow:
        text += f"; {counted(slow, 'network')} more not trained, being too slow"
    yield f"{text}. None of them has seen a test image."
    yield search.why
    where = f"Milliseconds are of one inference in int8 by one thread on {search.device}"
    yield f"{where}, {search.latency_note}." if search.latency_note else f"{where}."
    if search.max_latency_ms is not None:
        yield f"Nothing slower than {search.max_latency_ms:g} ms was to be chosen."


def _chart(search: Search) -> Chart | None:
    there = [one for one in search.trials if one.loss is not None and one.latency_ms is not None]
    if not there:
        return None
    chosen = search.trial(search.chosen)
    front = [str(one.number) for one in there if one.front]
    alt = (
        f"Search: log loss on val over latency of {counted(len(there), 'trial')}; front: trials "
        f"{', '.join(front)}; chosen: trial {chosen.number}, {chosen.latency_ms:.3g} ms, "
        f"{chosen.loss:.3f}"
    )
    return Chart(
        "Better is lower, faster is further left",
        "On the front nothing else is as fast and better. Trial 1 is what the training does by "
        "itself; the chosen one has a ring.",
        search_plot("search", alt, there, search.chosen),
        [("Pareto front", Look("accent", "", 1.6))],
    )
