"""The page of a check: what was found, with the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from lineside.dataset import Dataset
from lineside.errors import LinesideError
from lineside.extras import require
from lineside.image import Frame, decode
from lineside.report import render_page
from lineside.report.pictures import Thumbnail, picture, thumbnail
from lineside_train.data.check import DataCheck
from lineside_train.data.findings import Finding, Item
from lineside_train.data.looks import BORDER, SIDE

SHOWN: Final = 18
"""Cases of one finding with pictures at most."""

EACH: Final = 4
"""Pictures of one case at most."""

LISTED: Final = 300
"""Cases that are only named, at most."""

BORDERS: Final = 16
"""Photos of a label whose borders are shown."""

LABELS: Final = 12
"""Labels whose borders are shown, at most."""

ROWS: Final = 60
"""Labels that are listed with their images, at most."""


@dataclass(frozen=True)
class Tile:
    """A picture of a case; `picture` is None where it can't be had."""

    file: str
    caption: str
    picture: Thumbnail | None


@dataclass(frozen=True)
class Section:
    """A finding with what is shown of it.

    Attributes:
        finding: what was found.
        cases: the first, with pictures, and how many more pictures each has.
        more: the next, without.
        borders: for each label the borders of some of its photos.
    """

    finding: Finding
    cases: Sequence[tuple[Item, list[Tile]]]
    more: Sequence[Item]
    borders: Sequence[tuple[str, Thumbnail]]


def render_check(report: DataCheck, dataset: Dataset, *, made: str) -> str:
    """The page as self-contained HTML.

    Args:
        report: what was found.
        dataset: the photos, which are read again.
        made: when, for people.

    Raises:
        MissingExtraError: jinja2 or OpenCV is not installed.
    """

    def load(file: str) -> Frame:
        return decode((dataset.root / file).read_bytes(), name=repr(file))

    def tiles(item: Item) -> list[Tile]:
        shown = zip(item.files[:EACH], item.captions, strict=False)
        return [Tile(file, caption, thumbnail(load, file)) for file, caption in shown]

    sections = [
        Section(
            finding,
            [(item, tiles(item)) for item in finding.items[:SHOWN]],
            finding.items[SHOWN : SHOWN + LISTED],
            _borders(dataset) if finding.kind == "border_shortcut" else (),
        )
        for finding in report.findings
    ]
    context: dict[str, Any] = {
        "name": Path(report.data).resolve().name,
        "report": report,
        "made": made,
        "sections": sections,
        "labels": sorted(report.labels.items(), key=lambda row: row[1])[:ROWS],
        "listed": LISTED,
    }
    return render_page("page.html.j2", context, package="lineside_train.data")


def _borders(dataset: Dataset) -> list[tuple[str, Thumbnail]]:
    """For each label, one line for each of some photos: their four edges, one after the other."""
    cv2: Any = require("cv2", extra="runtime")
    found = []
    for label in dataset.labels[:LABELS]:
        files = [photo.file for photo in dataset.photos if photo.label == label]
        step = max(1, len(files) // BORDERS)
        lines = []
        for file in files[::step][:BORDERS]:
            try:
                frame = decode((dataset.root / file).read_bytes(), name=repr(file))
            except (LinesideError, OSError):
                continue  # it was moved aside meanwhile
            lines.append(_edges(cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA)))
        if lines:
            found.append((label, picture(np.concatenate(lines), 4 * SIDE)))
    return found


def _edges(frame: Frame) -> Frame:
    """Top, right, bottom and left edge of a picture, in a line of BORDER x (4 * SIDE)."""
    turned = (np.rot90(frame, k) for k in range(4))
    edges: Frame = np.concatenate([one[:BORDER] for one in turned], axis=1)
    return edges
