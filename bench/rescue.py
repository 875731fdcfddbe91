"""Models that plain int8 breaks: does `auto` bring them back?

    python bench/rescue.py [NAME…]

The plain converter is TFLiteConverter as its manual says, with the same calibration images.
Takes about half an hour on two cores, most of it the training, which is kept in build/quality.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent))

from page import write_section
from parity import ENTRIES, in_words
from quality import (
    WORK,
    AbsentError,
    Comparison,
    answers_of,
    compared,
    figures_of,
    make_bundle,
    make_run,
    photos_of,
)

from lineside.bench.measure import time_in_turn
from lineside.dataset import load_tensors, read_dataset, split_photos
from lineside.labels import mark_labels
from lineside.run import Run, SplitPart
from lineside.runtime import Engine, open_engine
from lineside_convert.calibration import balanced_sample

POINTS: Final = 0.5
"""Of balanced accuracy within which a model counts as brought back; one image always may."""

RELAXED: Final = "5"
"""Percent of verdicts that may flip where only the balanced accuracy is asked for."""

CALIBRATION: Final = 200
"""Images, as many as `lineside convert` takes."""

SECONDS: Final = 6.0
"""How long each model is timed."""

Pixels = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float64]


def _changed(make: str, entry: str) -> Run:
    """A model of bench/parity.py, changed by bench/networks.py."""
    (run,) = ENTRIES[entry].runs()
    info = run.info
    return make_run(
        f"{make}-{entry}",
        run.split,
        Path(info.data_root),
        make=make,
        run=str(run.path),
        labels=info.labels,
        size=info.image_size[0],
        colour=info.preprocess.colour,
        resize=info.preprocess.resize,
    )


def _mobilenet3() -> Run:
    """MobileNetV3-Small, trained here."""
    data = photos_of("elpv")
    dataset = read_dataset(data)
    return make_run(
        "mobilenet3",
        split_photos(dataset.photos, 0),
        data,
        make="mobilenet3",
        labels=list(mark_labels(dataset.labels, (), sort=False)),
        size=96,
        colour="gray",
        epochs=40,
    )


MODELS: Final[dict[str, tuple[str, Callable[[], Run]]]] = {
    "outliers": (
        "outliers: a quarter of two layers' channels x 200, undone; lineside's own CNN, elpv",
        partial(_changed, "outliers", "own"),
    ),
    "wide-input": (
        "input layer: Rescaling, then one channel with a std of 1/200, undone; MobileNet, elpv",
        partial(_changed, "wide_input", "elpv"),
    ),
    "mobilenet3": ("MobileNetV3-Small, 96 px, elpv", _mobilenet3),
}


@dataclass(frozen=True, eq=False)
class Contender:
    """One way to run a model, in the table.

    Attributes:
        name: of the way.
        scheme: what it is.
        model: the .tflite.
        found: against Keras; None: it could not be measured.
    """

    name: str
    scheme: str
    model: bytes
    found: Comparison


def pixels_of(run: Run, part: SplitPart) -> Pixels:
    """What the models see: of `test` all, of `train` the images that calibrate."""
    info, rows = run.info, run.rows(part)
    if part == "train":
        rows = balanced_sample(rows, CALIBRATION, info.seed)
    files = [row.file for row in rows]
    return load_tensors(
        Path(info.data_root), files, info.preprocess, info.image_size, what=f"Reading {part}"
    )


def plain_int8(run: Run) -> bytes:
    """What TFLiteConverter makes of a run, in a process of its own."""
    folder = WORK / "plain"
    folder.mkdir(parents=True, exist_ok=True)
    images, out = folder / f"{run.path.name}.npy", folder / f"{run.path.name}.tflite"
    if not out.exists():
        np.save(images, pixels_of(run, "train"))
        script = str(Path(__file__).with_name("plain_int8.py"))
        command = [sys.executable, script, str(run.model_path), str(images), str(out)]
        subprocess.run(command, check=True, capture_output=True)
        images.unlink()
    return out.read_bytes()


def fed(engine: Engine, pixels: Pixels) -> npt.NDArray[np.generic]:
    """Pixels as a plain model's user would store them: by the scale of its input."""
    source = engine.inputs[0]
    if not source.scale:
        return pixels.astype(source.dtype)
    limits = np.iinfo(source.dtype)
    stored = np.round(pixels / source.scale) + source.zero_point
    return np.clip(stored, limits.min, limits.max).astype(source.dtype)


def logits_of(model: bytes, pixels: Pixels) -> Logits:
    """A .tflite's logits, n x labels."""
    engine = open_engine(model)
    output = engine.outputs[0]
    answers = [engine.invoke(one)[0].reshape(-1) for one in fed(engine, pixels)]
    return np.stack([output.dequantize(one) for one in answers])


def milliseconds(models: Sequence[bytes], pixels: Pixels) -> list[float]:
    """The median of an inference by one thread, the models in turns."""
    works = []
    for model in models:
        engine = open_engine(model)
        works.append([partial(engine.invoke, one) for one in fed(engine, pixels[:8])])
    times = time_in_turn(works, seconds=SECONDS, what="Timing")
    return [float(np.median(found)) for found in times]


def main(names: Sequence[str]) -> None:
    """Convert all, or those that are named, and write the table."""
    rows = [
        "| model | converter | scheme | kB | ms | balanced accuracy, % | points | flips | within |",
        "| --- " * 9 + "|",
    ]
    for name in names or MODELS:
        title, make = MODELS[name]
        try:
            run = make()
        except AbsentError as error:
            rows.append(f"| {title} | skipped: {error} |" + " |" * 7)
            continue
        rows += _rows(title, run)
        print("\n".join(rows[-4:]), flush=True)
    if not names:
        write_section(
            "rescue", "Models that int8 breaks", "make bench-rescue", _TEXT + "\n".join(rows)
        )


def _rows(title: str, run: Run) -> list[str]:
    floats, auto = make_bundle(run, "float32"), make_bundle(run, "auto")
    relaxed = make_bundle(run, "auto", "--max-flips", RELAXED, "--max-loss", str(POINTS))
    pixels, broken = pixels_of(run, "test"), plain_int8(run)
    # Verdicts of the plain model by auto's limits: it comes without any.
    contenders = [
        Contender("none", "float32", floats.model, figures_of(answers_of(run, floats))),
        Contender(
            "TFLiteConverter",
            "full int8",
            broken,
            figures_of(compared(run, auto, logits_of(broken, pixels))),
        ),
        Contender(
            f"auto, up to {RELAXED} % flips",
            in_words(relaxed.manifest.model.scheme),
            relaxed.model,
            figures_of(answers_of(run, relaxed)),
        ),
        Contender(
            "auto",
            in_words(auto.manifest.model.scheme),
            auto.model,
            figures_of(answers_of(run, auto)),
        ),
    ]
    times = milliseconds([one.model for one in contenders], pixels)
    return [
        _row(title if n == 0 else "", one, ms)
        for n, (one, ms) in enumerate(zip(contenders, times, strict=True))
    ]


def _row(title: str, one: Contender, ms: float) -> str:
    found = one.found
    cells = (
        title,
        one.name,
        one.scheme,
        f"{len(one.model) / 1000:.0f}",
        f"{ms:.2f}",
        f"{found.converted:.2f}",
        f"{found.difference:+.2f} ({found.low:+.2f} to {found.high:+.2f})",
        f"{found.flips} of {found.images} ({100 * found.flips / found.images:.2f} %)",
        "yes" if found.accurate(POINTS) else "no",
    )
    return "| " + " | ".join(cells) + " |"


_TEXT: Final = (
    "On test images, against Keras. `TFLiteConverter` is full int8 as its manual has it, with the "
    "200 training images that `lineside convert` calibrates with, and judged by the limits of "
    "`auto`'s bundle, since it has none of its own. `within`: balanced accuracy within max(1 "
    "image, 0.5 points) of Keras; the interval is of the difference, of 2,000 resamples. `auto` "
    "allows 0.5 % of flipped verdicts, which asks for more than 0.5 points; the row above it "
    f"shows what it takes if {RELAXED} % may flip. ms: the median of an inference here by one "
    "thread, the four in turns.\n\n"
)


if __name__ == "__main__":
    main(sys.argv[1:])
