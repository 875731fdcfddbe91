"""What the benchmarks of the converter share: photos, runs, bundles, and both models' answers.

What was trained stays in build/quality. A bundle is made again when the converter has changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent))

from page import ROOT

import lineside_convert
from lineside.bundle import Bundle, open_bundle
from lineside.dataset import Photo, load_tensors
from lineside.demo.cells import lay_out_cells
from lineside.files import new_folder
from lineside.inspector import Inspector
from lineside.manifest import Label
from lineside.run import Run, SplitPart, SplitRow, encode_split, open_run
from lineside_convert.parity import allowed_flips, compare

WORK: Final = ROOT / "build" / "quality"
SHARED: Final = Path(os.environ.get("LINESIDE_SHARED", ROOT.parent / "shared"))
WEIGHTS: Final = "weights/mobilenet_v1_0.25_224_imagenet_notop_from_float_tflite.weights.h5"
V2_WEIGHTS: Final = "weights/mobilenet_v2_1.0_224_imagenet_notop_dequantized_from_int8.weights.h5"
FOLDS: Final = 5
RESAMPLES: Final = 2000

Floats = npt.NDArray[np.float64]


class AbsentError(Exception):
    """Something that is no part of the repository is not here."""


def shared(path: str) -> Path:
    """A file or a folder of the read-only companions.

    Raises:
        AbsentError: it is not here.
    """
    found = SHARED / path
    if not found.exists():
        msg = f"{path} is not in $LINESIDE_SHARED, nor in shared/ beside the repository"
        raise AbsentError(msg)
    return found


# ---- photos


def photos_of(name: str) -> Path:
    """A data set, laid out as a folder for each label.

    Raises:
        AbsentError: it is not here.
    """
    if name == "elpv":
        return lay_out_cells(WORK / "data" / "elpv")
    found = shared(f"data/{name}")
    return _without_parts(found, WORK / "data" / name) if name == "cookies" else found


def _without_parts(source: Path, folder: Path) -> Path:
    """test/LABEL and train/LABEL together: the parts of others are not those of the folds."""
    if not folder.is_dir():
        with new_folder(folder) as partial:
            for photo in sorted(source.glob("t*/*/*.jpg")):
                (partial / photo.parent.name).mkdir(exist_ok=True)
                shutil.copyfile(photo, partial / photo.parent.name / photo.name)
    return folder


def fold_photos(photos: Sequence[Photo], fold: int) -> tuple[SplitRow, ...]:
    """One of five splits: a fifth is the test, the next fifth val, the rest train.

    Each label's images are dealt out in the order of their hashes; copies stay together.
    """
    dealt: dict[str, int] = {}
    counts: dict[str, int] = defaultdict(int)
    for photo in sorted(photos, key=lambda one: one.sha256):
        if photo.sha256 not in dealt:
            dealt[photo.sha256] = counts[photo.label] % FOLDS
            counts[photo.label] += 1
    rows = []
    for photo in photos:
        part: SplitPart = "train"
        if dealt[photo.sha256] == fold:
            part = "test"
        elif dealt[photo.sha256] == (fold + 1) % FOLDS:
            part = "val"
        rows.append(SplitRow(photo.file, photo.sha256, part))
    return tuple(sorted(rows, key=lambda row: row.file))


# ---- runs and bundles


def make_run(name: str, rows: Sequence[SplitRow], data: Path, **job: Any) -> Run:  # noqa: ANN401
    """A run of bench/networks.py, unless it is there already.

    Args:
        name: of the run.
        rows: the split.
        data: the photos.
        job: the rest of a `networks.Job`.
    """
    out = WORK / "runs" / name
    if not out.is_dir():
        out.parent.mkdir(parents=True, exist_ok=True)
        split = out.with_name(f"{name}.split.csv")
        split.write_bytes(encode_split(rows))
        told = out.with_name(f"{name}.job.json")
        job |= {"data": str(data), "split": str(split), "out": str(out)}
        told.write_bytes(msgspec.json.encode(job))
        script = Path(__file__).with_name("networks.py")
        subprocess.run([sys.executable, str(script), str(told)], check=True)
    return open_run(out)


def make_own_run(name: str, data: Path) -> Run:
    """A run of `lineside train`, told what the demo tells it."""
    out = WORK / "runs" / name
    if not out.is_dir():
        command = [sys.executable, "-m", "lineside", "train", str(data), "--out", str(out)]
        subprocess.run([*command, "--good", "functional", "--flip", "both"], check=True)
    return open_run(out)


def make_bundle(run: Run, scheme: str, *options: str) -> Bundle:
    """A bundle, unless this very converter has made it already.

    Args:
        run: what to convert.
        scheme: how.
        options: more words of the command line.
    """
    out = WORK / "bundles" / _converter(options) / f"{run.path.name}-{scheme}"
    if not out.is_dir():
        command = [sys.executable, "-m", "lineside", "convert", str(run.path), "--scheme", scheme]
        said = subprocess.run(
            [*command, "--out", str(out), *options], check=True, capture_output=True, text=True
        )
        out.with_suffix(".txt").write_text(said.stdout)
    return open_bundle(out)


def _converter(options: Sequence[str]) -> str:
    """What the converter is made of, and what it is told, as a name."""
    whole = hashlib.sha256(" ".join(options).encode())
    for file in sorted(Path(lineside_convert.__file__).parent.rglob("*.py")):
        whole.update(file.read_bytes())
    return whole.hexdigest()[:8]


# ---- both models' answers


@dataclass(frozen=True, eq=False)
class Answers:
    """What the original and the converted model say of the same test images.

    Attributes:
        labels: in the order of the columns.
        truth: n indices into them.
        original: n x labels, logits of Keras.
        converted: the same of the bundle.
        flips: images with another verdict by the bundle's own decision.
    """

    labels: tuple[Label, ...]
    truth: npt.NDArray[np.intp]
    original: Floats
    converted: Floats
    flips: int


def answers_of(run: Run, bundle: Bundle) -> Answers:
    """Ask both; Keras was asked when the run was written."""
    rows, info = run.rows("test"), run.info
    files = [row.file for row in rows]
    pixels = load_tensors(
        Path(info.data_root), files, info.preprocess, info.image_size, what="Reading test"
    )
    inspector = Inspector(bundle)
    return compared(run, bundle, np.stack([inspector.logits(one) for one in pixels]))


def truth_of(run: Run) -> npt.NDArray[np.intp]:
    """Of the run's test images: n indices into its labels."""
    index = {label.name: k for k, label in enumerate(run.info.labels)}
    return np.array([index[row.label] for row in run.rows("test")])


def compared(run: Run, bundle: Bundle, converted: Floats) -> Answers:
    """The answers of some model for the test images beside those of Keras.

    Args:
        run: with what Keras said.
        bundle: whose decision is taken for both.
        converted: n x labels, logits.
    """
    rows, labels = run.rows("test"), run.info.labels
    original = np.array(run.metrics.logits["test"])
    files = [row.file for row in rows]
    decision = bundle.manifest.decision
    flips = compare(files, original, converted, decision, labels)[1]
    return Answers(tuple(labels), truth_of(run), original, converted, len(flips))


def pooled(answers: Sequence[Answers]) -> Answers:
    """The folds' test images together: each is in one fold, and was told by that fold's models."""
    return Answers(
        answers[0].labels,
        np.concatenate([one.truth for one in answers]),
        np.concatenate([one.original for one in answers]),
        np.concatenate([one.converted for one in answers]),
        sum(one.flips for one in answers),
    )


@dataclass(frozen=True)
class Comparison:
    """Figures of both models on the same images.

    Attributes:
        images: how many.
        original: balanced accuracy of the original, in percent.
        converted: the same of the converted model.
        low: 2.5 % quantile of the difference (converted less original), in points.
        high: its 97.5 % quantile.
        one_image: points of balanced accuracy that an image of the rarest label is worth.
        flips: images with another verdict.
        lost: for each label that is not good (when sorting: for each label) how many of its
            images the original told rightly, less those that the converted model did.
    """

    images: int
    original: float
    converted: float
    low: float
    high: float
    one_image: float
    flips: int
    lost: dict[str, int]

    @property
    def difference(self) -> float:
        """Points of balanced accuracy: converted less original."""
        return self.converted - self.original

    def accurate(self, points: float) -> bool:
        """Whether the balanced accuracy is within max(1 image, `points`)."""
        return -self.difference <= max(self.one_image, points) + 1e-9

    @property
    def steady(self) -> bool:
        """Whether verdicts flip on at most max(1 image, 0.5 %)."""
        return self.flips <= allowed_flips(self.images, 0.5)

    @property
    def watchful(self) -> bool:
        """Whether no label that is watched loses more than an image of its recall."""
        return max(self.lost.values()) <= 1


def figures_of(answers: Answers) -> Comparison:
    """Compare; images are drawn again within each label, both models' answers together."""
    truth, labels = answers.truth, answers.labels
    right = [
        (logits.argmax(axis=1) == truth).astype(float)
        for logits in (answers.original, answers.converted)
    ]
    members = [np.flatnonzero(truth == k) for k in range(len(labels))]
    random = np.random.default_rng(0)
    gained = right[1] - right[0]
    drawn = [random.choice(gained[some], (RESAMPLES, len(some))).mean(axis=1) for some in members]
    low, high = np.quantile(np.mean(drawn, axis=0), [0.025, 0.975])
    watched = [k for k, label in enumerate(labels) if not label.good] or range(len(labels))
    original, converted = (100 * float(np.mean([one[m].mean() for m in members])) for one in right)
    return Comparison(
        images=len(truth),
        original=original,
        converted=converted,
        low=100 * float(low),
        high=100 * float(high),
        one_image=100.0 / (min(map(len, members)) * len(labels)),
        flips=answers.flips,
        lost={labels[k].name: int(-gained[members[k]].sum()) for k in watched},
    )
