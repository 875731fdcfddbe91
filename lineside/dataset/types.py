"""What a folder of photos holds, and what a person should know of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Photo:
    """One usable image.

    Attributes:
        file: path below the root, with `/`; its first level is the label.
        sha256: of the file's bytes, in hex.
    """

    file: str
    sha256: str

    @property
    def label(self) -> str:
        """The label: the first level of the path."""
        return self.file.split("/", 1)[0]


@dataclass(frozen=True)
class Notice:
    """Something about the images that a person should know.

    Attributes:
        kind: `unreadable`, `conflict`, `duplicates`, `links`, `others`, `empty`, `reduced`,
            `groups`, a peculiarity (`16-bit`, `cmyk`, `alpha`, `exif`), or what a tool found.
        message: one line.
        files: which ones, below the root.
    """

    kind: str
    message: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """What a folder of photos holds.

    Attributes:
        root: the folder.
        labels: sorted; at least two.
        photos: the usable images, sorted by file.
        notices: what was left out or is treated specially.
        gray: whether no image holds any colour.
        sizes: height and width, in pixels, that the photos have once they are decoded.
    """

    root: Path
    labels: tuple[str, ...]
    photos: tuple[Photo, ...]
    notices: tuple[Notice, ...]
    gray: bool
    sizes: frozenset[tuple[int, int]]


def with_notices(dataset: Dataset, notices: Iterable[Notice]) -> Dataset:
    """The same photos, with more that a person should know."""
    return replace(dataset, notices=(*dataset.notices, *notices))
