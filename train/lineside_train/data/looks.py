"""What each photo looks like, in a few numbers: one pass over the files, without a network.

Everything else in this room works on these arrays.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside.dataset import Dataset
from lineside.dataset.threads import in_threads
from lineside.errors import DatasetError
from lineside.extras import require
from lineside.image import MAX_PIXELS, Decode, Frame, Preprocess, decode, largest_reduction

Floats = npt.NDArray[np.float32]

SIDE: Final = 128
"""Every photo is looked at in this many pixels each way, stretched."""

TINY: Final = 32
"""Side of the gray picture by which near duplicates are found, in pixels."""

BORDER: Final = 8
"""Width of the border that is looked at for shortcuts: of SIDE, so a sixteenth of the picture."""

_GRID: Final = 4
_CELLS: Final = 8
_WAYS: Final = 9
_BINS: Final = 8
_MAKE, _MODEL, _SOFTWARE = 0x010F, 0x0110, 0x0131  # tags of EXIF


@dataclass(frozen=True, eq=False)
class Looks:
    """What the photos look like, in the order of `files`.

    Attributes:
        files: below the root.
        truth: int64, n: index of the label in `labels`.
        labels: names, sorted.
        sizes: int64, n x 2: height and width as stored, in pixels.
        tiny: float32, n x (TINY * TINY): gray, 0 to 255.
        features: float32, n x f: colours, edges and a thumbnail of the whole picture.
        borders: float32, n x b: colours along the four edges.
        traits: what the file says of its making, by kind: `size`, `format`, `jpeg`, `camera`.
    """

    files: tuple[str, ...]
    truth: npt.NDArray[np.int64]
    labels: tuple[str, ...]
    sizes: npt.NDArray[np.int64]
    tiny: Floats
    features: Floats
    borders: Floats
    traits: dict[str, list[str]]

    def of(self, rows: npt.NDArray[np.int64]) -> Looks:
        """The same of some of the photos."""
        return Looks(
            files=tuple(self.files[k] for k in rows),
            truth=self.truth[rows],
            labels=self.labels,
            sizes=self.sizes[rows],
            tiny=self.tiny[rows],
            features=self.features[rows],
            borders=self.borders[rows],
            traits={kind: [texts[k] for k in rows] for kind, texts in self.traits.items()},
        )


@dataclass(frozen=True, eq=False)
class _Look:
    size: tuple[int, int]
    tiny: Floats
    features: Floats
    borders: Floats
    traits: dict[str, str]


def look_at(dataset: Dataset, *, features: bool = True) -> Looks:
    """Look at every photo once.

    Args:
        dataset: the photos.
        features: whether those of the whole picture are wanted; they take longest.

    Raises:
        DatasetError: a file can't be read any more.
        ImageError: a file is no picture any more.
    """
    # JPEGs are decoded at a fraction of their size where enough is left.
    reduce = largest_reduction(dataset.sizes, Preprocess(resize="stretch"), (SIDE, SIDE))
    files = tuple(photo.file for photo in dataset.photos)
    found = in_threads(
        lambda file: _look(dataset.root, file, Decode(reduce), whole=features),
        files,
        "Looking at the images",
    )
    number = {label: k for k, label in enumerate(dataset.labels)}
    return Looks(
        files=files,
        truth=np.array([number[photo.label] for photo in dataset.photos], np.int64),
        labels=dataset.labels,
        sizes=np.array([one.size for one in found], np.int64),
        tiny=np.stack([one.tiny for one in found]),
        features=np.stack([one.features for one in found]),
        borders=np.stack([one.borders for one in found]),
        traits={kind: [one.traits[kind] for one in found] for kind in found[0].traits},
    )


def _look(root: Path, file: str, how: Decode, *, whole: bool) -> _Look:
    cv2 = require("cv2", extra="runtime")
    try:
        data = (root / file).read_bytes()
    except OSError as error:
        msg = f"{file!r} can't be read from {root} ({error.strerror}): is somebody changing it?"
        raise DatasetError(msg) from error
    frame = decode(data, how, name=repr(file))
    size, traits = _header(data, (frame.shape[0], frame.shape[1]))
    small = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    lab = cv2.cvtColor(small, cv2.COLOR_BGR2LAB).astype(np.float32)
    tiny = cv2.resize(gray, (TINY, TINY), interpolation=cv2.INTER_AREA)
    return _Look(
        size,
        tiny.astype(np.float32).ravel(),
        _features(cv2, small, gray, lab) if whole else np.zeros(0, np.float32),
        border_features(lab),
        traits,
    )


def _features(cv2: Any, small: Frame, gray: npt.NDArray[np.uint8], lab: Floats) -> Floats:  # noqa: ANN401 - a module
    """Colours in a grid and as histograms, edges, sharpness at three scales, a thumbnail."""
    cells = lab.reshape(_GRID, SIDE // _GRID, _GRID, SIDE // _GRID, 3)
    hsv = cv2.cvtColor(small, cv2.COLOR_BGR2HSV)
    bounds = (180, 256, 256)
    histograms = [
        np.sqrt(np.histogram(hsv[..., k], _BINS, (0, bounds[k]))[0] / SIDE**2) for k in range(3)
    ]
    sharpness, level = [], gray
    for _ in range(3):
        detail = np.abs(cv2.Laplacian(level, cv2.CV_32F))
        sharpness += [np.log1p(q) for q in (detail.mean(), *np.percentile(detail, (50, 90, 99)))]
        level = cv2.pyrDown(level)
    thumbnail = cv2.resize(gray, (12, 12), interpolation=cv2.INTER_AREA).ravel() / 255
    parts = (
        cells.mean(axis=(1, 3)).ravel() / 255,
        cells.std(axis=(1, 3)).ravel() / 255,
        *histograms,
        _edges(cv2, gray),
        np.array(sharpness),
        thumbnail,
    )
    return np.concatenate(parts).astype(np.float32)


def _edges(cv2: Any, gray: npt.NDArray[np.uint8]) -> Floats:  # noqa: ANN401 - a module
    """Which way edges run in each of 8 x 8 cells, as in Dalal and Triggs 2005, without overlap."""
    x, y = (cv2.Sobel(gray, cv2.CV_32F, *way) for way in ((1, 0), (0, 1)))
    strength, angle = cv2.cartToPolar(x, y)
    way = (angle * (_WAYS / np.pi)).astype(np.int64) % _WAYS
    cell = np.arange(SIDE) // (SIDE // _CELLS)
    place = (cell[:, None] * _CELLS + cell) * _WAYS + way
    total = np.bincount(place.ravel(), strength.ravel(), _CELLS * _CELLS * _WAYS)
    counts = total.reshape(-1, _WAYS) / (SIDE / _CELLS) ** 2
    lengths = np.linalg.norm(counts, axis=1, keepdims=True)
    found: Floats = (counts / (lengths + lengths.mean() + 1e-6)).ravel().astype(np.float32)
    return found


def border_features(lab: Floats) -> Floats:
    """Mean and spread of the colours in four pieces of each edge.

    Args:
        lab: float32, SIDE x SIDE x 3, OpenCV's Lab of 0 to 255.

    Returns:
        float32, 4 edges x 4 pieces x 6.
    """
    edges = (
        lab[:BORDER],
        lab[-BORDER:],
        lab[:, :BORDER].transpose(1, 0, 2),
        lab[:, -BORDER:].transpose(1, 0, 2),
    )
    pieces = np.stack([edge.reshape(BORDER, _GRID, -1, 3) for edge in edges])
    both = np.concatenate([pieces.mean(axis=(1, 3)), pieces.std(axis=(1, 3))], axis=-1)
    return (both.ravel() / 255).astype(np.float32)


def _header(data: bytes, decoded: tuple[int, int]) -> tuple[tuple[int, int], dict[str, str]]:
    """Height and width as stored, and what the file says of its making."""
    image: Any = require("PIL.Image", extra="report")
    image.MAX_IMAGE_PIXELS = MAX_PIXELS  # the decoder has refused any larger one already
    try:
        with image.open(io.BytesIO(data)) as picture:
            width, height = picture.size
            # Pillow decodes all of a PNG to look for it behind the pixels; cameras write none.
            exif = {} if picture.format == "PNG" else picture.getexif()
            camera = [str(exif.get(tag, "")).strip("\0 ") for tag in (_MAKE, _MODEL, _SOFTWARE)]
            tables = getattr(picture, "quantization", None) or {}
            return (height, width), {
                "size": f"{width}x{height}",
                "format": f"{picture.format} {picture.mode}",
                "jpeg": _table(tables[min(tables)]) if tables else "",
                "camera": " ".join(filter(None, camera)),
            }
    except (OSError, ValueError, SyntaxError):
        # OpenCV reads it and Pillow does not: it is usable all the same.
        height, width = decoded
        size = f"{width}x{height}"
        return decoded, {"size": size, "format": "", "jpeg": "", "camera": ""}


def _table(table: Sequence[int]) -> str:
    """A JPEG's quantization of brightness: the sum tells its quality, 64 is the best."""
    return f"{sum(table)}"
