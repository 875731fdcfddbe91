"""What is known of the recipe, beyond the one model: cross-validation, and the learning curve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from lineside.decision import is_sorting
from lineside.manifest import Label
from lineside.report.charts import Chart
from lineside.report.learning_plot import learning_plot
from lineside.report.summary import Card, areas, counted, interval_text, percent
from lineside.run import CurveMetrics, FoldMetrics

WORTH: Final = 0.01
"""Balanced accuracy that is worth twice the photos."""


def fold_cards(folds: FoldMetrics, labels: Sequence[Label]) -> Iterator[Card]:
    """The main figures of cross-validation."""
    found, verdicts = folds.figures, folds.verdicts
    yield Card("Images", str(found.images), f"{folds.folds} folds, each image asked about once")
    sorting = is_sorting(labels)
    rates = (
        ("Escapes", "escape_rate", verdicts.escapes, verdicts.bad_parts, "bad part", "ng"),
        (
            *("False rejects", "false_reject_rate", verdicts.false_rejects),
            *(verdicts.images - verdicts.bad_parts, "good part", "ng"),
        ),
        ("Review", "review_rate", verdicts.review, verdicts.images, "part", "review"),
    )
    for name, key, count, of, what, kind in rates:
        if of and (key == "review_rate" or not sorting):
            note = f"{count} of {counted(of, what)}"
            ends = interval_text(verdicts.intervals[key])
            yield Card(name, percent(count / of), note, kind, ends)
    lowest, highest = min(folds.balanced_accuracies), max(folds.balanced_accuracies)
    yield Card(
        "Balanced accuracy",
        percent(found.balanced_accuracy),
        f"of single folds {percent(lowest)} to {percent(highest)}",
        interval=interval_text(found.intervals["balanced_accuracy"]),
    )
    if found.area is not None and found.area_interval is not None:
        low, high = found.area_interval
        yield Card(
            next(iter(areas(found))),
            f"{found.area:.3f}",
            "all folds together",
            interval=f"{low:.3f} to {high:.3f}",
        )


def curve_said(curve: CurveMetrics) -> str:
    """Whether more photos would help, in a sentence or two."""
    low, high = (100 * end for end in curve.gain_interval)
    number = f"{curve.photos[-1]:,}"
    text = (
        f"Twice the {number} photos to learn from are expected to add {100 * curve.gain:.1f} "
        f"points of balanced accuracy (95 % interval {low:.1f} to {high:.1f})"
    )
    if curve.gain_interval[0] >= WORTH:
        return f"{text}: more photos will help."
    if curve.gain_interval[1] < WORTH:
        return f"{text}: the curve is flat, more photos of the same kind will hardly help."
    if curve.gain >= WORTH:
        return f"{text}: more photos will probably help, but so few in val can't show it for sure."
    return f"{text}: probably little, but so few in val can't show it for sure."


def curve_chart(curve: CurveMetrics) -> Chart:
    """The learning curve, and where it leads."""
    points = list(zip(curve.photos, curve.balanced_accuracies, strict=True))
    said = [f"{value:.1%} with {photos}" for photos, value in points]
    return Chart(
        "Learning curve",
        "Each point is a training with some of the photos, all asked about "
        "the same images of val; the line is a power law through their errors, the band where it "
        "lies with 95 % confidence. Left of the dotted line is what there is, right of it a "
        "forecast.",
        learning_plot(
            "learning", f"Learning curve: {', '.join(said)}", points, curve.fitted, curve.photos[-1]
        ),
    )
