"""The command `lineside evaluate`: figures of a run or a bundle on any labelled folder."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, Protocol

import click
import msgspec
import numpy as np
import numpy.typing as npt

from lineside.dataset import Dataset, load_tensors, read_dataset
from lineside.decision import is_sorting
from lineside.errors import DatasetError, EngineError, InputError
from lineside.extras import quiet_native
from lineside.image import Preprocess
from lineside.inspector import Inspector
from lineside.intervals import said as interval_said
from lineside.manifest import DecisionSpec, Label, Manifest
from lineside.metrics import Figures, VerdictFigures, figures, verdict_figures, verdicts_said
from lineside.progress import track, working
from lineside.runtime.trial import load_bundle


class Predictor(Protocol):
    """What can be evaluated: something that gives logits for images.

    A package offers more kinds as entry points of the group `lineside.predictors`: NAME stands
    for a folder that holds NAME.json, its value for a function from the folder's path to a
    Predictor.
    """

    @property
    def labels(self) -> Sequence[Label]:
        """In the order of the logits' columns."""

    @property
    def preprocess(self) -> Preprocess:
        """How bytes become a tensor."""

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the model's input, in pixels."""

    @property
    def decision(self) -> DecisionSpec | None:
        """How logits become a verdict; None where no limits were chosen."""

    def logits(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.floating]:
        """What the model says.

        Args:
            tensors: uint8, n x height x width x channels.

        Returns:
            Float, n x labels.
        """


class BundlePredictor:
    """A bundle's model, run as a station runs it: one image after the other."""

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector
        self._manifest = inspector.bundle.manifest

    @property
    def labels(self) -> Sequence[Label]:
        """In the order of the logits' columns."""
        return self._manifest.labels

    @property
    def preprocess(self) -> Preprocess:
        """How bytes become a tensor."""
        return self._manifest.preprocess

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the model's input, in pixels."""
        return self._manifest.input_size

    @property
    def decision(self) -> DecisionSpec | None:
        """The bundle's temperature and limits."""
        return self._manifest.decision

    @property
    def manifest(self) -> Manifest:
        """The bundle's."""
        return self._manifest

    def logits(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.floating]:
        """What the model says: float64, n x labels, of uint8, n x height x width x channels."""
        rows = track(tensors, total=len(tensors), what="Asking the model")
        return np.stack([self._inspector.logits(tensor) for tensor in rows])


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What came out."""

    figures: Figures
    verdicts: VerdictFigures | None
    sorting: bool
    """Whether no label means a bad part: see `lineside.decision.is_sorting`."""
    parity: Literal["measured", "unknown"] | None = None
    """Of a bundle; None for a run, which is the original itself."""
    notes: Sequence[str] = ()
    """Of a bundle: what whoever uses it must know."""

    def to_json(self) -> bytes:
        """One object: the figures, `parity`, `notes`, and `verdicts` where limits are known.

        Null is an area for which images are missing; one that labels like these don't have is left
        out.
        """
        said: dict[str, Any] = msgspec.to_builtins(self.figures)
        if len(self.figures.labels) == 2:
            del said["macro_auroc"]
        elif self.sorting:
            del said["auroc"]
        if self.verdicts is not None:
            said["verdicts"] = msgspec.to_builtins(self.verdicts)
        said |= {"parity": self.parity, "notes": self.notes}
        return msgspec.json.encode(said)


def open_predictor(path: Path) -> Predictor:
    """Open a bundle, a run, or whatever else an installed package knows.

    Raises:
        InputError: it is nothing that can be evaluated.
        LinesideError: whatever the one that opens it raises.
    """
    if path.is_file() or (path / "manifest.json").is_file():
        with quiet_native(drop=b"INFO:"):
            return BundlePredictor(load_bundle(path))
    for entry in entry_points(group="lineside.predictors"):
        if (path / f"{entry.name}.json").is_file():
            with working("Loading the model"):
                predictor: Predictor = entry.load()(path)
            return predictor
    msg = f"{path} is neither a bundle (manifest.json) nor a run (run.json)"
    raise InputError(msg)


def evaluate_folder(predictor: Predictor, dataset: Dataset) -> Evaluation:
    """Figures of a model on a labelled folder.

    Args:
        predictor: the model.
        dataset: its labels must be known to the model; some of the model's may be missing.

    Raises:
        DatasetError: labels that the model doesn't know, or images that changed meanwhile.
        EngineError: the engine fails, or an answer that is no number.
    """
    names = [label.name for label in predictor.labels]
    unknown = sorted(set(dataset.labels) - set(names))
    if unknown:
        msg = (
            f"{dataset.root}: the model does not know the label {', '.join(map(repr, unknown))}; "
            f"it knows {', '.join(map(repr, names))}: rename or remove the folder"
        )
        raise DatasetError(msg)
    files = [photo.file for photo in dataset.photos]
    tensors = load_tensors(
        dataset.root,
        files,
        predictor.preprocess,
        predictor.image_size,
        what="Reading the images",
        sha256=[photo.sha256 for photo in dataset.photos],
    )
    truth = np.array([names.index(photo.label) for photo in dataset.photos])
    logits = predictor.logits(tensors)
    wrong = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if wrong.size:
        msg = f"the model's answer to {files[wrong[0]]!r} is no number (and {wrong.size - 1} more)"
        raise EngineError(msg)
    decision = predictor.decision
    manifest = predictor.manifest if isinstance(predictor, BundlePredictor) else None
    return Evaluation(
        figures=figures(truth, logits, predictor.labels),
        verdicts=verdict_figures(truth, logits, predictor.labels, decision) if decision else None,
        sorting=is_sorting(predictor.labels),
        parity=manifest.parity.status if manifest else None,
        notes=manifest.notes if manifest else (),
    )


@click.command(epilog="Example:  lineside evaluate bundles/cells photos/new --json")
@click.argument("model", metavar="RUN|BUNDLE", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def evaluate(model: Path, data: Path, *, as_json: bool) -> None:
    """Say how good a model is on DATA, a folder that holds one folder for each label.

    RUN is a folder that `lineside train` wrote, BUNDLE a folder or a zip file that `lineside
    convert` wrote. A label without images is fine; a label that the model doesn't know is not.
    """
    predictor = open_predictor(model)
    dataset = read_dataset(data, min_labels=1)
    remarks = predictor.manifest.remarks if isinstance(predictor, BundlePredictor) else ()
    for remark in (*remarks, *(notice.message for notice in dataset.notices)):
        click.echo(f"note: {remark}", err=True)
    evaluation = evaluate_folder(predictor, dataset)
    if as_json:
        click.echo(evaluation.to_json())
    else:
        _show(evaluation)


def _show(evaluation: Evaluation) -> None:
    """Say it to a person, on stdout."""
    from rich.console import Console
    from rich.table import Table

    # A label may look like rich's markup.
    found, console = evaluation.figures, Console(highlight=False, markup=False, emoji=False)
    click.echo(_headline(found))
    labels = Table("label", "images", "recall", "precision", box=None, pad_edge=False)
    for name, one in found.per_label.items():
        labels.add_row(name, str(one.images), _percent(one.recall), _percent(one.precision))
    console.print(labels)
    confusion = Table("truth \\ said", *found.labels, box=None, pad_edge=False)
    for name, row in zip(found.labels, found.confusion, strict=True):
        confusion.add_row(name, *map(str, row))
    click.echo()
    console.print(confusion)
    if evaluation.verdicts is not None:
        said = evaluation.verdicts
        click.echo(f"\nverdicts: {said.ok} ok, {said.ng} ng, {said.review} review")
        click.echo(verdicts_said(said, sorting=evaluation.sorting))


def _headline(found: Figures) -> str:
    ends = {name: interval_said(two, "{:.1%}") for name, two in found.intervals.items()}
    said = f"{found.images} images: accuracy {_percent(found.accuracy)}{ends['accuracy']}"
    said += f", balanced accuracy {_percent(found.balanced_accuracy)}{ends['balanced_accuracy']}"
    if found.area is not None:
        said += (
            f", {found.area_name} {found.area:.3f}{interval_said(found.area_interval, '{:.3f}')}"
        )
    return said + "\n(in brackets: 95 % confidence intervals)\n"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
