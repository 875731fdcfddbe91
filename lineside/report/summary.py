"""The report in a sentence and in a few numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lineside.decision import is_sorting
from lineside.escapes import said as escapes_said
from lineside.intervals import CONFIDENCE, share_interval
from lineside.manifest import DecisionSpec, Parity
from lineside.metrics import Figures
from lineside.report.analysis import Judged, Outcomes, limits_of
from lineside.report.data import ReportData

FEW: Final = 30
"""A label with fewer test images than this is pointed out: its figures are rough."""

_SPACE: Final = "\N{NO-BREAK SPACE}"


def percent(part: float) -> str:
    """A share as a person reads it: `6.7 %`."""
    return f"{100 * part:.1f}{_SPACE}%"


def counted(count: int, what: str) -> str:
    """`1 part`, `2 parts`."""
    return f"{count} {what}" + "s" * (count != 1)


def share(count: int, of: int, what: str) -> str:
    """`12 of 178 bad parts (6.7 %)`; `of` is at least 1."""
    return f"{count} of {counted(of, what)} ({percent(count / of)})"


def milliseconds(value: float) -> str:
    """A duration in ms with about three figures: `0.31 ms`."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f}{_SPACE}ms"


def areas(found: Figures) -> dict[str, float]:
    """The areas that there are, under what they are called where there is room."""
    name = "AUROC" if len(found.labels) == 2 else "AUROC of good against bad"
    said = {name: found.auroc, "Mean AUROC of the labels": found.macro_auroc}
    return {name: area for name, area in said.items() if area is not None}


def headline(data: ReportData, judged: Judged, ends: Outcomes) -> str:
    """What became of the test images, at least one, in a sentence or two."""
    images = len(data.files)
    model = f"the {judged.name} model" if len(data.models) > 1 else "the model"
    if is_sorting(data.labels):
        return f"Of {counted(images, 'test image')}, {model} {_sorted(data, judged)}"
    good = images - ends.bad
    said = []
    if ends.bad:
        said.append(f"let {share(len(ends.escapes), ends.bad, 'bad part')} pass as ok")
    if good:
        said.append(f"stopped {share(len(ends.false_rejects), good, 'good part')}")
    if limits_of(data.decision):
        count = len(ends.review)
        parts = f"{counted(count, 'part')} ({percent(count / images)})"
        said.append(f"left {parts} for a person to look at")
    return f"On {counted(images, 'test image')}, {model} {enumerated(said)}."


def unmeasured(data: ReportData) -> str:
    """What is said where there are no test images."""
    compared = data.parity is not None and data.parity.status == "measured"
    if compared or any(row.accuracy is not None for row in data.schemes):
        return "No labelled test images: only the conversion was measured."
    return "No labelled images: nothing was measured."


def parity(found: Parity) -> Iterator[str]:
    """How far the converted model is from the original, a sentence each."""
    if found.status == "unknown":
        yield (
            "Parity is unknown: how far the converted model is from the original was not measured."
        )
        return
    reference = f"Measured against {found.reference}: on" if found.reference else "On"
    split = f"{found.split} " if found.split else ""
    yield (
        f"{reference} {counted(found.images, f'{split}image')} {found.flips or 'none'} changed "
        f"the verdict by the conversion; no score moved by more than {found.worst:.4f}."
    )
    if found.expected_flips is not None:
        yield (
            f"Of new images, {percent(found.expected_flips)} are to be expected to change it "
            "(limits chosen on one half of the images, the models' differences tried on the other)."
        )


def _sorted(data: ReportData, judged: Judged) -> str:
    """The rest of the sentence when sorting."""
    right = judged.predicted == data.truth
    text = f"gave {int(right.sum())} ({percent(float(right.mean()))}) their right label"
    if not limits_of(data.decision):
        return text + "."
    sure = judged.is_verdict("ok")
    count = int(sure.sum())
    if not count:
        return text + ". It was sure of none, so that all are left for a person to look at."
    rest = len(right) - count
    return (
        f"{text}. It was sure of {count}, and right in {percent(float(right[sure].mean()))} of "
        f"these; {rest} ({percent(rest / len(right))}) are left for a person to look at."
    )


def enumerated(parts: Sequence[str]) -> str:
    """`a, b and c`; there is at least one."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def costs(decision: DecisionSpec) -> str:
    """What the limits weigh, to go on with after a clause."""
    if not decision.costs:
        return ""
    said = [f"{cost:g} for {what}" for what, cost in decision.costs.items()]
    return f", with costs of {enumerated(said)}"


def escapes(data: ReportData) -> str:
    """How far a limit on escapes is kept; empty where none was set."""
    if data.decision is None or data.decision.escapes is None:
        return ""
    return escapes_said(data.decision.escapes, sorting=is_sorting(data.labels))


def caveats(data: ReportData) -> Iterator[str]:
    """What the reader has to know before trusting the figures, a sentence each."""
    yield (
        f"In brackets: where the true figure lies, with {100 * CONFIDENCE:.0f}{_SPACE}% "
        "confidence, if no two images show the same part."
    )
    counts = np.bincount(data.truth, minlength=len(data.labels))
    missing = [label.name for label, n in zip(data.labels, counts, strict=True) if n == 0]
    few = [label.name for label, n in zip(data.labels, counts, strict=True) if 0 < n < FEW]
    if missing:
        yield f"No test image shows {_names(missing)}: nothing is known of that."
    if few:
        yield f"Fewer than {FEW} test images each show {_names(few)}: figures for that are rough."


def _names(names: list[str]) -> str:
    """The names, or the first of many."""
    if len(names) <= 6:
        return enumerated(names)
    return f"{', '.join(names[:5])} and {len(names) - 5} other labels"


def interval_text(interval: Sequence[float]) -> str:
    """`2.1 to 6.7 %`."""
    low, high = interval
    return f"{100 * low:.1f} to {percent(high)}"


@dataclass(frozen=True)
class Card:
    """One of the main figures.

    Attributes:
        name: what it is.
        value: the figure, as text.
        note: what it rests on.
        interval: how far it may be off by chance, as text; empty where that has no meaning.
        kind: how it is coloured: `plain`, `ng` or `review`.
    """

    name: str
    value: str
    note: str
    kind: str = "plain"
    interval: str = ""


def cards(data: ReportData, ends: Outcomes, main: Figures) -> Iterator[Card]:
    """The main figures of the judged model; there is at least one test image."""
    images, sorting = len(data.files), is_sorting(data.labels)
    good = images - ends.bad
    split = f"{len(data.labels)} labels" if sorting else f"{good} good, {ends.bad} bad"
    yield Card("Test images", str(images), split)
    if sorting or ends.bad:
        count, of = len(ends.escapes), images if sorting else ends.bad
        what = "image" if sorting else "bad part"
        ending = "wrong and yet sure" if sorting else "passed as ok"
        note = f"{count} of {counted(of, what)} {ending}"
        yield Card(
            "Escapes", percent(count / of), note, "ng", interval_text(share_interval(count, of))
        )
    if good and not sorting:
        count = len(ends.false_rejects)
        note = f"{count} of {counted(good, 'good part')} stopped"
        yield Card(
            "False rejects",
            percent(count / good),
            note,
            "ng",
            interval_text(share_interval(count, good)),
        )
    if limits_of(data.decision):
        count = len(ends.review)
        yield Card(
            "Review",
            percent(count / images),
            f"{count} of {counted(images, 'part')}",
            "review",
            interval_text(share_interval(count, images)),
        )
    accuracy = f"accuracy {percent(main.accuracy)} ({interval_text(main.intervals['accuracy'])})"
    yield Card(
        "Balanced accuracy",
        percent(main.balanced_accuracy),
        f"{accuracy}; by the most probable label",
        interval=interval_text(main.intervals["balanced_accuracy"]),
    )
    if main.area is not None and main.area_interval is not None:
        name = next(iter(areas(main)))
        low, high = main.area_interval
        interval = f"{low:.3f} to {high:.3f}"
        yield Card(name, f"{main.area:.3f}", "0.5 is guessing, 1 is perfect", interval=interval)
    for timing in data.timings[:1]:
        yield Card("Time", milliseconds(timing.p50_ms), f"{timing.what}; {timing.device}")
