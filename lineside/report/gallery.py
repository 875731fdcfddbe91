"""Which test images a report shows, and what it says of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lineside.decision import is_sorting
from lineside.manifest import Label
from lineside.messages import Verdict
from lineside.report.analysis import Differences, Indices, Judged, Outcomes
from lineside.report.data import ReportData
from lineside.report.explanation import Culprit, Explanation, heated
from lineside.report.pictures import Thumbnail, thumbnail
from lineside.report.pictures import picture as make_picture

EXAMPLES: Final = 90
"""Pictures of examples at most, all labels together (one for each label at least)."""

EXAMPLES_EACH: Final = 6
"""Pictures of one label at most."""

MISTAKES_EACH: Final = 12
"""Pictures of one kind of mistake at most."""

LISTED: Final = 200
"""Mistakes of one kind that are only named, at most."""

DOUBTED: Final = 16
"""Pictures of images with a doubtful label at most."""

FLIPS_LISTED: Final = 20
"""Images that two models judge differently, at most."""


@dataclass(frozen=True)
class Tile:
    """A test image and what became of it.

    Attributes:
        file: its name.
        truth: its true label.
        says: the most probable label.
        sureness: that label's probability.
        score: the defect score; when sorting, how unsure the model is.
        verdict: what a station would say.
        picture: None where none is wanted, or where it can't be had.
        heat: what speaks for the label that it was called; None where that is not known.
        culprits: training images that pulled a wrong answer, the worst first.
    """

    file: str
    truth: str
    says: str
    sureness: float
    score: float
    verdict: Verdict
    picture: Thumbnail | None
    heat: Thumbnail | None = None
    culprits: Sequence[CulpritTile] = ()


@dataclass(frozen=True)
class CulpritTile:
    """A training image.

    Attributes:
        file: its name.
        label: what it was taught as.
        times: for how many answers; 0: not counted.
        called: what it is called by who has not seen it; empty: nobody was asked.
        picture: None where it can't be had.
    """

    file: str
    label: str
    times: int
    called: str
    picture: Thumbnail | None


@dataclass(frozen=True)
class Mistakes:
    """One kind of mistake.

    Attributes:
        title: what it is called.
        text: what it means.
        total: how many there are.
        tiles: the worst, with pictures.
        more: the next worst, without.
    """

    title: str
    text: str
    total: int
    tiles: Sequence[Tile]
    more: Sequence[Tile]


@dataclass(frozen=True)
class Flip:
    """An image that two models judge differently.

    Attributes:
        before: what the original says.
        after: what the judged model says.
    """

    before: Tile
    after: Tile


def examples(data: ReportData, judged: Judged) -> Iterator[tuple[Label, list[Tile]]]:
    """For each label images spread evenly over its files, neither the best nor the worst."""
    each = max(1, min(EXAMPLES_EACH, EXAMPLES // len(data.labels)))
    for number, label in enumerate(data.labels):
        found = np.flatnonzero(data.truth == number)
        count = min(each, len(found))
        spread = (np.arange(count) + 0.5) * len(found) / max(1, count)
        yield label, _tiles(data, judged, found[spread.astype(int)], pictures=True)


def mistakes(data: ReportData, judged: Judged, ends: Outcomes) -> Iterator[Mistakes]:
    """Kinds of mistakes that were made, those that cost most first."""
    sorting = is_sorting(data.labels)
    kinds = (
        (
            "Wrong and yet sure" if sorting else "Escapes",
            "images that are given another label than their own, the surest first"
            if sorting
            else "bad parts that pass as ok, the lowest score first",
            ends.escapes,
        ),
        (
            "False rejects",
            "good parts with the verdict ng, the highest score first",
            ends.false_rejects,
        ),
        (
            "Wrong labels",
            "rightly ok or ng, but not of the kind that the model says; the surest first",
            ends.wrong_labels,
        ),
    )
    for title, text, found in kinds:
        if len(found):
            rest = found[MISTAKES_EACH : MISTAKES_EACH + LISTED]
            yield Mistakes(
                title,
                text,
                len(found),
                _tiles(data, judged, found[:MISTAKES_EACH], pictures=True),
                _tiles(data, judged, rest, pictures=False),
            )


def flips(data: ReportData, before: Judged, after: Judged, found: Differences) -> list[Flip]:
    """Images with another verdict, those with the largest difference of scores first."""
    apart = np.abs(before.scores - after.scores)[found.verdicts]
    worst = found.verdicts[np.argsort(-apart, kind="stable")][:FLIPS_LISTED]
    both = (_tiles(data, judged, worst, pictures=False) for judged in (before, after))
    return [Flip(one, other) for one, other in zip(*both, strict=True)]


def _tiles(data: ReportData, judged: Judged, indices: Indices, *, pictures: bool) -> list[Tile]:
    """What is said of some test images."""
    tiles = []
    why: Sequence[Explanation | None] = [None] * len(indices)
    if pictures and data.explanations is not None and len(indices):
        why = data.explanations.explain(indices.tolist())
    for index, explanation in zip(indices, why, strict=True):
        file, says = data.files[index], int(judged.predicted[index])
        tiles.append(
            Tile(
                file=file,
                truth=data.labels[int(data.truth[index])].name,
                says=data.labels[says].name,
                sureness=float(judged.probabilities[index, says]),
                score=float(judged.scores[index]),
                verdict=judged.verdicts[index],
                picture=thumbnail(data.load_frame, file) if pictures else None,
                heat=_heat(explanation),
                culprits=culprit_tiles(data, explanation.culprits) if explanation else (),
            )
        )
    return tiles


def _heat(explanation: Explanation | None) -> Thumbnail | None:
    if explanation is None or explanation.heat is None:
        return None
    return make_picture(heated(explanation))


def culprit_tiles(data: ReportData, culprits: Sequence[Culprit]) -> list[CulpritTile]:
    """What is shown of some training images."""
    return [
        CulpritTile(
            one.file, one.label, one.times, one.called, thumbnail(data.load_frame, one.file)
        )
        for one in culprits
    ]
