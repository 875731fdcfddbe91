"""What a report is made of: plain data, so that every tool can fill it in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from lineside.image import Frame
from lineside.manifest import DecisionSpec, Label, Parity
from lineside.report.explanation import Culprit, Explanations
from lineside.run import CurveMetrics, FoldMetrics
from lineside.search import Search


@dataclass(frozen=True, eq=False)
class ModelScores:
    """What one model says of the test images.

    Attributes:
        name: what people call it, such as `float` or `int8`.
        logits: float, n x labels; row i belongs to file i of the report.
    """

    name: str
    logits: npt.NDArray[np.floating]


@dataclass(frozen=True)
class Timing:
    """How long something took.

    Attributes:
        what: such as `one inference, int8, 1 thread`.
        p50_ms: the median, in milliseconds.
        device: the machine, as a person would name it.
    """

    what: str
    p50_ms: float
    device: str


@dataclass(frozen=True)
class FileSize:
    """How large a file is.

    Attributes:
        what: such as `model.tflite, int8`.
        size: in bytes.
    """

    what: str
    size: int


@dataclass(frozen=True, kw_only=True)
class SchemeRow:
    """One way in which the model was, or could have been, converted.

    Raises:
        ValueError: it contradicts itself; the message says how.

    Attributes:
        scheme: its name, such as `static_wi8_ai8`.
        chosen: whether it is the one in the bundle.
        size: of the model file, in bytes; None where there is none.
        accuracy: on the images that the choice was made on; None where it was not measured.
        balanced_accuracy: the same.
        flips: images with another verdict than the original's; None as above.
        expected_flips: the share of new images that is to be expected so.
        worst: the largest difference of a defect score.
        invoke_ms: how long one inference takes, in milliseconds, where it is known.
        device: on which machine, runtime and number of threads that was measured; not shown where
            it was not.
        note: why it was refused or could not be made, or what else is to be known of it.
    """

    scheme: str
    chosen: bool = False
    size: int | None = None
    accuracy: float | None = None
    balanced_accuracy: float | None = None
    flips: int | None = None
    expected_flips: float | None = None
    worst: float | None = None
    invoke_ms: float | None = None
    device: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        """Check that it does not contradict itself."""
        for name in ("accuracy", "balanced_accuracy", "expected_flips", "worst"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                msg = f"{self.scheme}: {name}: 0 to 1 is expected, got {value}"
                raise ValueError(msg)
        for name in ("size", "flips", "invoke_ms"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                msg = f"{self.scheme}: {name}: at least 0 is expected, got {value}"
                raise ValueError(msg)
        if self.invoke_ms is not None and not self.device:
            msg = f"{self.scheme}: {self.invoke_ms} ms, but not on which device"
            raise ValueError(msg)
        if self.size is None and (self.chosen or self.invoke_ms is not None):
            msg = f"{self.scheme}: it was chosen or timed, so it must have a size"
            raise ValueError(msg)


@dataclass(frozen=True, kw_only=True)
class LayerError:
    """What quantization does to the output of one layer, on the same images.

    Raises:
        ValueError: a ratio is not a number.

    Attributes:
        layer: its name in the converted graph, made short.
        op: the TFLite operator, such as `CONV_2D`.
        snr_db: signal-to-noise ratio in dB, 10 log10(sum x^2 / sum (x - q)^2), of all that led
            there; higher is better, infinite where nothing was lost.
        own_snr_db: the same with only this layer quantized, measured at the logits; None where it
            was not measured.
        in_float: whether the chosen model keeps it in float.
        delegated: whether XNNPACK runs it; None where that is not known.
    """

    layer: str
    op: str
    snr_db: float
    own_snr_db: float | None = None
    in_float: bool = False
    delegated: bool | None = None

    def __post_init__(self) -> None:
        """Check that the ratios are numbers."""
        for name in ("snr_db", "own_snr_db"):
            value = getattr(self, name)
            if value is not None and math.isnan(value):
                msg = f"{self.layer}: {name}: a number is expected, got {value}"
                raise ValueError(msg)


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportData:
    """Everything that a report shows.

    Attributes:
        title: the name of the run or of the bundle, with its version where it has one.
        subject: what the report is about.
        created: when, as text, such as an ISO 8601 time.
        labels: in the order of the logits' columns; at least two.
        files: the test images, each a path as people know it and as `load_frame` takes it. Empty
            where there are none: then nothing is said of what the models answer.
        truth: int, n: for each file the index of its true label.
        models: what was measured on these files: the original and, behind it, what was made of
            it. The last one is judged: verdicts, mistakes and headline are its own.
        load_frame: gives the picture of a file. Where it raises a LinesideError or an OSError,
            the report says that the picture is not there.
        decision: temperature and limits; None where none were chosen.
        counts: for each part of the split the number of images of each label name.
        history: for each epoch one value, as Keras names them: `loss`, `val_loss`…
        parity: how far the converted model is from the original; None where nothing was converted.
        notices: what was odd about the images, one sentence each.
        timings: how long things took; the first one is shown with the main figures.
        sizes: how large the model's files are.
        schemes: the table that the converted model was chosen from, in the order of making.
        choice: why that one was chosen, a sentence or two.
        layers: what quantization does to each layer, in the order of the graph.
        notes: what whoever uses the model must know, a sentence each.
        explanations: why the judged model answers as it does; None where nobody can say.
        folds: what cross-validation found; None where there was none.
        curve: what more photos would bring; None where nobody asked.
        doubted: images whose label cross-validation does not believe, the least believed first.
        search: what else was trained to find the model; None where it was not searched for.
        settings: what was asked for: key and value, for a table.
        seed: the seed of everything random; None where there is none.
        versions: of the software that made the model.
        fingerprints: of data, split, model, code: name and hash.
    """

    title: str
    subject: Literal["run", "bundle"]
    created: str
    labels: Sequence[Label]
    files: Sequence[str]
    truth: npt.NDArray[np.integer]
    models: Sequence[ModelScores]
    load_frame: Callable[[str], Frame]
    decision: DecisionSpec | None = None
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    parity: Parity | None = None
    notices: Sequence[str] = ()
    timings: Sequence[Timing] = ()
    sizes: Sequence[FileSize] = ()
    schemes: Sequence[SchemeRow] = ()
    choice: str = ""
    layers: Sequence[LayerError] = ()
    notes: Sequence[str] = ()
    explanations: Explanations | None = None
    folds: FoldMetrics | None = None
    curve: CurveMetrics | None = None
    doubted: Sequence[Culprit] = ()
    search: Search | None = None
    settings: Sequence[tuple[str, str]] = ()
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the parts fit together.

        Raises:
            ValueError: they do not; the message says what was expected and what was found.
        """
        images, labels = len(self.files), len(self.labels)
        if labels < 2:
            msg = f"a report needs at least two labels, got {labels}"
            raise ValueError(msg)
        if not self.models:
            msg = "a report needs at least one model"
            raise ValueError(msg)
        if self.truth.shape != (images,):
            msg = f"truth: shape ({images},) is expected, got {self.truth.shape}"
            raise ValueError(msg)
        if images and not (self.truth.min() >= 0 and self.truth.max() < labels):
            msg = f"truth: 0 to {labels - 1} is expected, got {set(self.truth.tolist())}"
            raise ValueError(msg)
        for model in self.models:
            if model.logits.shape != (images, labels):
                msg = f"{model.name}: expected {images} x {labels} logits, got {model.logits.shape}"
                raise ValueError(msg)
            if not np.isfinite(model.logits).all():
                msg = f"{model.name}: logits that are not finite"
                raise ValueError(msg)
        chosen = [row.scheme for row in self.schemes if row.chosen]
        if self.schemes and len(chosen) != 1:
            found = ", ".join(chosen) or "none"
            msg = f"schemes: one of {len(self.schemes)} is to be the chosen one, got {found}"
            raise ValueError(msg)
