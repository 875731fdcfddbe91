"""The run: the folder that `lineside train` writes and `convert` and `evaluate` read.

model.keras    the trained model: uint8 pixels (as float32, 0 to 255) in, logits out
run.json       `RunInfo`
split.csv      file, sha256, part (train, val or test), one row for each image
metrics.json   figures, history and scores: see `RunMetrics`
report.html    the same for people
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from lineside.errors import RunError
from lineside.files import new_folder, write_file
from lineside.image import Preprocess
from lineside.limit_rules import LimitRules
from lineside.manifest import DecisionSpec, Label, Sha256
from lineside.metrics import Figures, VerdictFigures
from lineside.search import Search

SCHEMA: Final = "lineside.run/1"
SplitPart = Literal["train", "val", "test"]
PARTS: Final[tuple[SplitPart, ...]] = ("train", "val", "test")


class RunInfo(Struct, frozen=True, kw_only=True):
    """run.json."""

    schema: Literal["lineside.run/1"] = "lineside.run/1"
    name: str
    task: Literal["classify"] = "classify"
    labels: Annotated[list[Label], Meta(min_length=2)]
    """In the order of the model's outputs."""
    preprocess: Preprocess
    image_size: tuple[int, int]
    """Height and width of the model's input, in pixels."""
    split: Sha256
    """Fingerprint of split.csv: the sha256 of its bytes."""
    data: Sha256
    """Fingerprint of the images: the sha256 of their sorted hashes and files."""
    data_root: str
    """Where the images were, absolute."""
    seed: int
    options: dict[str, Any]
    """What `lineside train` was told."""
    limit_rules: LimitRules = LimitRules()
    """What limits are chosen by: for the report, and by `convert` where it is told nothing else."""
    versions: dict[str, str]
    created: str
    train_seconds: float

    def option_texts(self) -> list[tuple[str, str]]:
        """What `lineside train` was told, for people; what it was not told is `auto`."""
        options = [(k, "auto" if v is None else str(v)) for k, v in self.options.items()]
        return options + self.limit_rules.texts()


class CurveMetrics(Struct, frozen=True, kw_only=True):
    """How the balanced accuracy on `val` grows with the photos to learn from."""

    photos: list[int]
    """Of each training, how many photos it had; the last one had all."""
    balanced_accuracies: list[float]
    """Of each training, on the same images of `val`."""
    fitted: list[list[float]]
    """Photos, and what the power law says they give: balanced accuracy, lower and upper end."""
    gain: float
    """How much balanced accuracy twice the photos are expected to add."""
    gain_interval: list[float]
    """Its 95 % interval."""


class FoldMetrics(Struct, frozen=True, kw_only=True):
    """What cross-validation found: figures of the recipe, not of the run's own model."""

    folds: int
    figures: Figures
    """Of all answers together, each by a model that has not seen the photo."""
    verdicts: VerdictFigures
    """By the limits that each of these models has."""
    balanced_accuracies: list[float]
    """Of each fold."""
    fold: list[int]
    """For each image, in split.csv's order, the fold that it was asked about in, from 0."""
    logits: list[list[float]]
    """In the same order, divided by the temperature of the model that was asked."""
    doubted: list[int] = []
    """Places in split.csv of images whose label is in doubt, the least believed first."""


class RunMetrics(Struct, frozen=True, kw_only=True):
    """metrics.json. Keys of `figures` are parts of the split: see `lineside.metrics.Figures`."""

    figures: dict[str, dict[str, Any]]
    history: dict[str, list[float]]
    """For each epoch, as Keras names it: loss, val_loss…"""
    logits: dict[str, list[list[float]]]
    """For `val` and `test`, one row of logits for each image of the part, in split.csv's order."""
    parameters: int
    decision: DecisionSpec | None = None
    """Temperature and limits of the model as it was trained, chosen on `val`; null in old runs."""
    verdicts: VerdictFigures | None = None
    """What they would have made of the images of `test`."""
    folds: FoldMetrics | None = None
    """Where cross-validation was asked for."""
    curve: CurveMetrics | None = None
    """Where a learning curve was asked for."""
    search: Search | None = None
    """Where the model was searched for."""
    notices: list[str] = []
    """What was odd about the images, one line each."""


@dataclass(frozen=True)
class SplitRow:
    """One image of the split.

    Attributes:
        file: path below the data root, with `/`; its first level is the label.
        sha256: of the file's bytes.
        part: `train`, `val` or `test`.
    """

    file: str
    sha256: str
    part: SplitPart

    @property
    def label(self) -> str:
        """The label: the first level of the path."""
        return self.file.split("/", 1)[0]


@dataclass(frozen=True)
class Run:
    """A run folder, opened and checked."""

    path: Path
    info: RunInfo
    split: tuple[SplitRow, ...]
    metrics: RunMetrics

    @property
    def model_path(self) -> Path:
        """The Keras model."""
        return self.path / "model.keras"

    def rows(self, part: SplitPart) -> tuple[SplitRow, ...]:
        """The images of one part, in split.csv's order."""
        return tuple(row for row in self.split if row.part == part)


def encode_split(rows: Sequence[SplitRow]) -> bytes:
    """split.csv, sorted by file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "sha256", "part"])
    writer.writerows([r.file, r.sha256, r.part] for r in sorted(rows, key=lambda r: r.file))
    return text.getvalue().encode()


def decode_split(data: bytes, name: str = "split.csv") -> tuple[SplitRow, ...]:
    """Read split.csv.

    Raises:
        RunError: another header, or a row that is not file, sha256 and part.
    """
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig")))
        rows = []
        for number, row in enumerate(reader, start=2):
            part = next((known for known in PARTS if known == row.get("part")), None)
            if part is None or not row.get("file") or not row.get("sha256"):
                expected = f"file, sha256 and part ({', '.join(PARTS)}) are expected"
                msg = f"{name}, line {number}: {expected}"
                raise RunError(msg)
            rows.append(SplitRow(row["file"], row["sha256"], part))
    except (UnicodeDecodeError, csv.Error) as error:
        msg = f"{name} can't be read: {error}"
        raise RunError(msg) from error
    if not rows:
        msg = f"{name} holds no image: a header 'file,sha256,part' and rows are expected"
        raise RunError(msg)
    return tuple(rows)


def encode_json(value: Struct) -> bytes:
    """A struct as JSON, indented, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


class _SchemaOnly(Struct):
    schema: str


def open_run(path: Path) -> Run:
    """Read a run folder and check that it is whole.

    Raises:
        RunError: it is not there, of another schema, or a file is missing or damaged.
    """
    if not path.is_dir():
        msg = f"{path} is no run: a folder written by 'lineside train' is expected"
        raise RunError(msg)
    try:
        info_bytes = (path / "run.json").read_bytes()
        schema = msgspec.json.decode(info_bytes, type=_SchemaOnly).schema
        if schema != SCHEMA:
            msg = f"{path} is of schema {schema!r}, {SCHEMA!r} is expected: update lineside"
            raise RunError(msg)
        info = msgspec.json.decode(info_bytes, type=RunInfo)
        metrics = msgspec.json.decode((path / "metrics.json").read_bytes(), type=RunMetrics)
        split_bytes = (path / "split.csv").read_bytes()
    except FileNotFoundError as error:
        msg = f"{path} is no complete run: {Path(error.filename).name} is missing; train it again"
        raise RunError(msg) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{path} is damaged: {error}; train it again"
        raise RunError(msg) from error
    found = hashlib.sha256(split_bytes).hexdigest()
    if found != info.split:
        msg = f"{path}/split.csv was changed: sha256 {info.split} is expected, got {found}"
        raise RunError(msg)
    run = Run(path, info, decode_split(split_bytes, f"{path}/split.csv"), metrics)
    if not run.model_path.is_file():
        msg = f"{path} is no complete run: model.keras is missing; train it again"
        raise RunError(msg)
    return run


def write_run(
    path: Path,
    *,
    info: RunInfo,
    metrics: RunMetrics,
    split: Sequence[SplitRow],
    save_model: Callable[[Path], None],
) -> Run:
    """Write a run folder but for its report, whole or not at all.

    Args:
        path: where; not there yet, or an empty folder.
        info: run.json; its `split` must be the fingerprint of `split`.
        metrics: metrics.json.
        split: split.csv.
        save_model: writes the model to the path it is given.

    Raises:
        StorageError: `path` is there already, or the disk is full or can't be written.
    """
    with new_folder(path) as folder:
        (folder / "run.json").write_bytes(encode_json(info))
        (folder / "metrics.json").write_bytes(encode_json(metrics))
        (folder / "split.csv").write_bytes(encode_split(split))
        save_model(folder / "model.keras")
    return Run(path, info, tuple(split), metrics)


def write_report(run: Run, report: str) -> None:
    """Add report.html to a run.

    Apart from the rest, so that nothing that goes wrong with a picture can lose a training.

    Raises:
        StorageError: the disk is full or can't be written; the run is whole without it.
    """
    write_file(run.path / "report.html", report.encode())
