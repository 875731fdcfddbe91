"""JPEGs decoded at a fraction of their size: what that saves, and what it costs in accuracy.

    python bench/reduced_jpeg.py              # with the photos of ../shared/data: both parts
    python bench/reduced_jpeg.py --seeds 0    # the times alone

The pictures: photos of cookies, toys and waste, and solar cells (elpv), each stretched to
1920x1080, with noise as a camera's, as JPEG of quality 90. Times: from the bytes in memory to the
model's pixels, on one thread, both ways in turn on the same picture. Accuracy: the demo's network
and cells; all of them as such JPEGs, each decoded both ways.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.page import ROOT, write_section
from lineside.dataset import read_dataset, split_photos
from lineside.demo.cells import lay_out_cells
from lineside.image import (
    REDUCTIONS,
    Decode,
    Preprocess,
    Reduction,
    decode,
    largest_reduction,
    to_tensor,
)
from lineside.labels import mark_labels
from lineside.metrics import figures
from lineside.run import PARTS, SplitRow
from lineside_train.fitting.examples import Examples, predict
from lineside_train.fitting.fit import train_network
from lineside_train.options import TrainOptions

HEIGHT, WIDTH = 1080, 1920
QUALITY: Final = 90
NOISE: Final = 2.0
"""Standard deviation of the noise, in grey levels."""

SHARED: Final = ("cookies", "aliens", "trashnet")
EACH: Final = 15
"""Pictures of each of these, and of the cells, that are timed."""

REPEATS: Final = 7
INPUTS: Final = (96, 128, 224)
TRAINED: Final = 128
"""The model's input, in pixels, that accuracy is measured for: the default."""

Pixels = npt.NDArray[np.uint8]


def as_1080p(picture: Pixels, seed: int) -> bytes:
    """A picture as a camera of 1080p would send it."""
    large = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    noise = np.empty(large.shape, np.int16)
    cv2.setRNGSeed(seed)
    cv2.randn(noise, (0, 0, 0), (NOISE, NOISE, NOISE))
    noisy = cv2.add(large, noise, dtype=cv2.CV_8U)
    return bytes(cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def spec_of(size: int, colour: Any) -> Preprocess:  # noqa: ANN401 - a Literal of Preprocess
    """What `lineside train --reduce auto --resize stretch` settles on for these pictures."""
    whole = Preprocess(resize="stretch", colour=colour)
    best = largest_reduction([(HEIGHT, WIDTH)], whole, (size, size))
    return Preprocess(decode=Decode(best), resize="stretch", colour=colour)


def reduced(data: bytes, spec: Preprocess, size: int) -> Pixels:
    """Bytes to pixels, as the device does it."""
    return to_tensor(decode(data, spec.decode), spec, (size, size))


def plain(data: bytes, size: int) -> Pixels:
    """Bytes to pixels as one would write it first."""
    frame = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    pixels: Pixels = cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)
    return pixels


@dataclass(frozen=True)
class Times:
    """Milliseconds for a picture, the median of all repeats; and the median of their ratios."""

    reduce: Reduction
    plain_ms: float
    reduced_ms: float
    ratio: float


def timed(pictures: Sequence[bytes], size: int) -> Times:
    """Both ways, in turn, picture by picture."""
    spec = spec_of(size, "rgb")
    for data in pictures[:3]:
        plain(data, size), reduced(data, spec, size)
    spent: list[tuple[float, float]] = []
    for _ in range(REPEATS):
        one = other = 0.0
        for data in pictures:
            begun = time.perf_counter()
            plain(data, size)
            between = time.perf_counter()
            reduced(data, spec, size)
            other += time.perf_counter() - between
            one += between - begun
        spent.append((1e3 * one / len(pictures), 1e3 * other / len(pictures)))
    return Times(
        spec.decode.reduce,
        statistics.median(one for one, _ in spent),
        statistics.median(other for _, other in spent),
        statistics.median(other / one for one, other in spent),
    )


def some_pictures(shared: Path, cells: Path) -> list[bytes]:
    """What is timed."""
    found: list[Path] = []
    for folder in (*(shared / "data" / name for name in SHARED), cells):
        files = sorted([*folder.rglob("*.jpg"), *folder.rglob("*.png")])
        found += files[:: max(1, len(files) // EACH)][:EACH]
    return [as_1080p(decode(file.read_bytes()), n) for n, file in enumerate(found)]


@dataclass(frozen=True, eq=False)
class Cells:
    """All cells: their labels, and what a model sees of each, by reduction."""

    rows: tuple[SplitRow, ...]
    names: tuple[str, ...]
    seen: dict[Reduction, Pixels]

    def truth(self, part: str) -> npt.NDArray[np.int64]:
        """For each cell of a part the index of its label."""
        labels = [self.names.index(row.label) for row in self.rows if row.part == part]
        return np.array(labels, np.int64)

    def pixels(self, part: str, reduction: Reduction) -> Pixels:
        """What a model sees of each cell of a part."""
        chosen = np.array([row.part == part for row in self.rows])
        pixels: Pixels = self.seen[reduction][chosen]
        return pixels


def read_cells(folder: Path) -> Cells:
    """Every cell as a JPEG of 1080p, decoded each way."""
    dataset = read_dataset(folder)
    rows = split_photos(dataset.photos, seed=0)
    shape = (len(rows), TRAINED, TRAINED, 1)
    seen: dict[Reduction, Pixels] = {by: np.empty(shape, np.uint8) for by in REDUCTIONS}

    def load(n: int) -> None:
        data = as_1080p(decode((folder / rows[n].file).read_bytes()), n)
        for by, pixels in seen.items():
            spec = Preprocess(decode=Decode(by), resize="stretch", colour="gray")
            pixels[n] = reduced(data, spec, TRAINED)

    with ThreadPoolExecutor() as pool:
        list(pool.map(load, range(len(rows))))
    return Cells(rows, dataset.labels, seen)


@dataclass(frozen=True)
class Accuracy:
    """Balanced accuracy on test, in percent, of two models of one seed.

    Attributes:
        same: of the model that was trained on whole pictures, by the reduction it is shown.
        flips: how many cells it calls something else than where it sees them whole.
        reduced: trained and measured on what `auto` gives.
    """

    same: dict[Reduction, float]
    flips: dict[Reduction, int]
    reduced: float


def trained(cells: Cells, seed: int, epochs: int | None) -> Accuracy:
    """Train twice with one seed, and measure."""
    options = TrainOptions(image_size=TRAINED, seed=seed, epochs=epochs)
    labels = mark_labels(cells.names, (), sort=False)
    truth = cells.truth("test")

    def network(by: Reduction) -> Any:  # noqa: ANN401 - Keras ships no types
        train, val = (Examples(cells.pixels(part, by), cells.truth(part)) for part in PARTS[:2])
        return train_network(train, val, len(labels), options).network

    def measure(logits: npt.NDArray[np.float32]) -> float:
        return 100 * figures(truth, logits, labels).balanced_accuracy

    first = network(1)
    said = {by: predict(first, cells.pixels("test", by)) for by in REDUCTIONS}
    calls = {by: logits.argmax(axis=1) for by, logits in said.items()}
    auto = spec_of(TRAINED, "gray").decode.reduce
    own = predict(network(auto), cells.pixels("test", auto))
    return Accuracy(
        {by: measure(logits) for by, logits in said.items()},
        {by: int(np.sum(called != calls[1])) for by, called in calls.items()},
        measure(own),
    )


def said_of_times(pictures: Sequence[bytes], times: dict[int, Times]) -> str:
    """The first table."""
    kilobytes = statistics.median(len(data) for data in pictures) / 1e3
    text = (
        f"{len(pictures)} JPEGs of {WIDTH}x{HEIGHT} pixels, {kilobytes:.0f} kB in the median, of "
        f"{', '.join(SHARED)} and elpv, noise of {NOISE:g} grey levels, quality {QUALITY}. From "
        f"bytes to the pixels that a model in colour sees, one thread, {REPEATS} repeats, both "
        "ways in turn, medians."
    )
    rows = [
        text,
        "",
        "| input | `--reduce auto` | imdecode + INTER_AREA, ms | reduced, ms | ratio |",
        "| --- | --- | --- | --- | --- |",
    ]
    rows += [
        f"| {size} | {t.reduce} | {t.plain_ms:.2f} | {t.reduced_ms:.2f} | {t.ratio:.2f} |"
        for size, t in times.items()
    ]
    return "\n".join(rows)


def said_of_accuracy(cells: Cells, found: Sequence[Accuracy]) -> str:
    """The second table."""
    tested = len(cells.truth("test"))
    auto = spec_of(TRAINED, "gray").decode.reduce
    less = REDUCTIONS[1:]
    apart = ", ".join(
        f"{np.abs(cells.seen[1].astype(np.int16) - cells.seen[by]).mean():.2f} at 1/{by}"
        for by in less
    )
    text = (
        f"All {len(cells.rows)} cells as such JPEGs, the network of the demo at {TRAINED} px; "
        f"balanced accuracy on the same {tested} of them, percent. One of them is "
        f"{100 / tested:.2f} points of accuracy. What the model sees differs from what it sees of "
        f"the whole picture by {apart} grey levels in the mean. In brackets: cells that the same "
        f"model calls otherwise. `--reduce auto` is {auto} here."
    )
    columns = [f"the same model at 1/{by}" for by in less]
    rows = [
        text,
        "",
        f"| seed | whole | {' | '.join(columns)} | trained at 1/{auto} |",
        "| --- " * (len(columns) + 3) + "|",
    ]
    for seed, one in enumerate(found):
        same = " | ".join(f"{one.same[by]:.2f} ({one.flips[by]})" for by in less)
        rows.append(f"| {seed} | {one.same[1]:.2f} | {same} | {one.reduced:.2f} |")
    spread = " | ".join(_spread([one.same[by] - one.same[1] for one in found]) for by in less)
    own = _spread([one.reduced - one.same[1] for one in found])
    rows += [f"| mean difference to whole | | {spread} | {own} |", ""]
    chance = _deviation([one.same[1] for one in found])
    rows.append(f"Two trainings differ by chance alone: the s.d. of whole is {chance}.")
    return "\n".join(rows)


def _spread(values: Sequence[float]) -> str:
    """Mean, and the standard error of it."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:+.2f}"
    return f"{mean:+.2f} (s.e. {statistics.stdev(values) / len(values) ** 0.5:.2f})"


def _deviation(values: Sequence[float]) -> str:
    return f"{statistics.stdev(values):.2f}" if len(values) > 1 else "unknown"


def main() -> None:
    """Measure, and write the section."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each kind")
    parser.add_argument("--epochs", type=int, help="of each training; as the demo's if left out")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cells_at = lay_out_cells(Path(folder) / "cells")
        pictures = some_pictures(args.shared, cells_at)
        cv2.setNumThreads(1)
        times = {size: timed(pictures, size) for size in INPUTS}
        parts = [said_of_times(pictures, times)]
        print(parts[0], flush=True)
        if args.seeds:
            cells = read_cells(cells_at)
            found = []
            for seed in range(args.seeds):
                found.append(trained(cells, seed, args.epochs))
                print(seed, found[-1], flush=True)
            parts.append(said_of_accuracy(cells, found))
    options = f" --seeds {args.seeds}" + (f" --epochs {args.epochs}" if args.epochs else "")
    write_section(
        "reduced-jpeg",
        "JPEGs decoded at a fraction of their size",
        f"python bench/reduced_jpeg.py{options}",
        "\n\n".join(parts),
    )


if __name__ == "__main__":
    main()
