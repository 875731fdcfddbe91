"""Schemes, made and measured: each on `val`, against the original, by the same rule."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from lineside.decision import softmax
from lineside.errors import ConvertError
from lineside.limits import choose_decision
from lineside.manifest import DecisionSpec, LimitSpec, Parity
from lineside.metrics import Figures, figures
from lineside.progress import working
from lineside.run import SplitRow
from lineside_convert.options import Options
from lineside_convert.parity import Flip, allowed_flips, compare, expected_flips
from lineside_convert.scheme import UNCHANGED, parse_scheme
from lineside_convert.source import Photos, Source, Subject
from lineside_convert.tflite.graph import Graph, fingerprint, read_graph
from lineside_convert.worker.protocol import (
    Ask,
    AskOriginal,
    Calibrate,
    Done,
    Errors,
    Layer,
    Layers,
    Make,
    Scored,
)
from lineside_convert.worker.ranges import METHODS
from lineside_convert.worker.score import values_file
from lineside_convert.workshop import Workshop

Logits = npt.NDArray[np.float64]

WEIGHTS: Final = "weights_wi8_af32"

_ROUNDED: Final = "rounded by what the calibration images show"

PROBED: Final = 32
"""Calibration images that layers are looked at with."""

REFERENCE: Final = {
    "run": "keras",
    "keras": "keras",
    "saved_model": "tensorflow",
    "tflite": "the same file by plain kernels",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """What a scheme does on `val`.

    Attributes:
        decision: temperature and limits, chosen for the original, with this one as its twin.
        parity: how far it is from the original.
        flips: the images with another verdict.
        figures: of the most probable label.
        loss: points of balanced accuracy that it is below the original; negative: above.
    """

    decision: DecisionSpec
    parity: Parity
    flips: tuple[Flip, ...]
    figures: Figures
    loss: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidate:
    """A scheme that was made.

    Attributes:
        scheme: its name.
        file: where the model is, in the workshop's folder.
        model: its bytes.
        graph: its fingerprint.
        kind: of its output.
        how: how its ranges were chosen, for the manifest.
        invoke_ms: one inference here by one thread, the median in milliseconds.
        undelegated: kinds of operators that XNNPACK does not run.
        measured: on `val`; None where there are no images.
    """

    scheme: str
    file: str
    model: bytes
    graph: str
    kind: str
    how: dict[str, Any] = field(default_factory=dict)
    invoke_ms: float | None = None
    undelegated: tuple[str, ...] = ()
    measured: Measured | None = None


class Trials:
    """Makes schemes of one source and measures them.

    Args:
        workshop: in which the source's model was loaded; val.npy, test.npy and calibration.npy
            are there if there are photos.
        source: what is converted.
        subject: what is known of it.
        options: what was said.
        truth: for `val` and `test` the index of each image's label; empty without photos.
        sample: the images of the calibration; the same.

    Attributes:
        calibrated: whether the ranges of the original's tensors were measured.
    """

    def __init__(
        self,
        workshop: Workshop,
        source: Source,
        subject: Subject,
        options: Options,
        *,
        truth: Mapping[str, npt.NDArray[np.intp]] | None = None,
        sample: Sequence[SplitRow] = (),
    ) -> None:
        self.workshop = workshop
        self.source = source
        self.subject = subject
        self.options = options
        self.truth = dict(truth or {})
        self.sample = tuple(sample)
        self._number = 0
        self._originals: dict[str, Logits] = {}
        self.calibrated = False
        self._how: dict[str, Any] | None = None  # how the first calibrated scheme was made

    @cached_property
    def original_graph(self) -> Graph:
        """The graph of original.tflite."""
        return read_graph(self._path("original.tflite").read_bytes())

    @property
    def is_float(self) -> bool:
        """Whether nothing in original.tflite is quantized yet."""
        return all(tensor.dtype not in {"int8", "uint8"} for tensor in self.original_graph.tensors)

    @property
    def photos(self) -> Photos | None:
        """The images; None where there are none."""
        return self.source.photos

    def original(self, part: str) -> Logits:
        """The original's logits for a part, n x labels; 0 x labels without photos.

        Raises:
            ConvertError: it gives nonsense.
        """
        if self.photos is None:
            return np.zeros((0, len(self.subject.labels)))
        if part not in self._originals:
            out = f"scores/original_{part}.npy"
            self.workshop.ask(AskOriginal(part=part, out=out), Scored)
            self._originals[part] = self.workshop.load(out)
        return self._originals[part]

    def score(self, candidate: Candidate, part: str) -> tuple[Logits, npt.NDArray[np.float64]]:
        """A candidate's logits for a part, n x labels, and the stored values, n x values.

        Raises:
            ConvertError: it gives nonsense, or kills its process.
        """
        out, _ = self._ask(candidate.file, candidate.kind, part)
        return self.workshop.load(out), self.workshop.load(values_file(out))

    def make(self, scheme: str) -> Candidate:
        """Make a scheme and measure it.

        Raises:
            ConvertError: it can't be made or run.
        """
        with working(f"Making {scheme}" if len(scheme) < 60 else "Making a mixed scheme"):
            if scheme == UNCHANGED:
                file, how = self._next(), dict[str, Any]()
                shutil.copyfile(self.source.path, self._path(file))
            elif parse_scheme(scheme).calibrated:
                file, how = self._make_calibrated(scheme)
            else:
                file, how = self._make_plain(scheme)
            return self._measure(scheme, file, how)

    def layers(self, candidate: Candidate) -> Sequence[Layer]:
        """What the candidate does to each layer, on calibration images.

        Raises:
            ConvertError: the layers can't be compared.
        """
        with working("Looking at each layer"):
            return self.workshop.ask(
                Errors(
                    model=candidate.file,
                    part="calibration",
                    images=PROBED,
                    layout=self.subject.layout,
                    normalization=self.subject.normalization,
                ),
                Layers,
            ).layers

    def noise(self, scheme: str) -> float:
        """How far a scheme's logits are from the original's on calibration images: the RMS.

        Logits are compared after the mean of each image's was taken off, since softmax does not
        see that, and the mean of all images, since biases take that back.

        Raises:
            ConvertError: it can't be made or run.
        """
        self._calibrate()
        file = self._make(scheme, ranges=self._how["ranges"] if self._how else METHODS[0])
        off = _centred(self.workshop.load(self._ask(file, self.subject.kind, "probe")[0]))
        off = off - self._probe
        return float(np.sqrt(np.mean(np.square(off - off.mean(axis=0)))))

    @property
    def _probe(self) -> Logits:
        return _centred(self.original("calibration")[:PROBED])

    def signal(self) -> float:
        """How far the original's logits are from their mean on the same images: the RMS."""
        probe = self._probe
        return float(np.sqrt(np.mean(np.square(probe - probe.mean(axis=0)))))

    # ---- making

    def _next(self) -> str:
        self._number += 1
        self._path("made").mkdir(exist_ok=True)
        return f"made/{self._number}.tflite"

    def _path(self, file: str) -> Path:
        return self.workshop.folder / file

    def _make(self, scheme: str, **how: Any) -> str:  # noqa: ANN401 - what Make takes
        file = self._next()
        self.workshop.ask(Make(scheme=scheme, out=file, **how), Done)
        return file

    def _make_plain(self, scheme: str) -> tuple[str, dict[str, Any]]:
        """Make a scheme without ranges; int8 weights are rounded by the images, if any."""
        if scheme != WEIGHTS or self.photos is None:
            return self._make(scheme), {}
        try:
            self._calibrate()
        except ConvertError:  # its weights can't be looked at: they are rounded to the nearest
            return self._make(scheme), {}
        return self._make(scheme), {"weights": _ROUNDED}

    def _make_calibrated(self, scheme: str) -> tuple[str, dict[str, Any]]:
        """Make it in each way to choose ranges, with and without corrected biases.

        Which way is nearest to the original is decided once, by the first scheme.
        """
        self._calibrate()
        way = {"layout": self.subject.layout, "normalization": self.subject.normalization}
        if self._how is not None:
            return self._make(scheme, **self._how, **way), self._said()
        found = {
            (method, corrected): self._make_or_not(
                scheme, ranges=method, corrected=corrected, **way
            )
            for method in METHODS
            for corrected in (True, False)
        }
        made = {how: file for how, file in found.items() if isinstance(file, str)}
        failures = [one for one in found.values() if isinstance(one, ConvertError)]
        if not made:
            raise failures[0]
        method, corrected = self._nearest(made)
        self._how = {"ranges": method, "corrected": corrected}
        return made[method, corrected], self._said()

    def _make_or_not(self, scheme: str, **how: Any) -> str | ConvertError:  # noqa: ANN401 - as _make
        try:
            return self._make(scheme, **how)
        except ConvertError as error:
            return error

    def _said(self) -> dict[str, Any]:
        """How int8 was made, for the manifest."""
        assert self._how is not None  # noqa: S101 - the caller has decided
        biases = "corrected" if self._how["corrected"] else "as trained"
        return {"weights": _ROUNDED, "ranges": self._how["ranges"], "biases": biases}

    def _nearest(self, made: Mapping[tuple[str, bool], str]) -> tuple[str, bool]:
        """The way whose model's probabilities are the nearest; one that fails is left out."""
        found = {way: self._distance_or_not(file) for way, file in made.items()}
        distances = {way: one for way, one in found.items() if isinstance(one, float)}
        failures = [one for one in found.values() if isinstance(one, ConvertError)]
        if not distances:
            raise failures[0]
        return min(distances, key=lambda way: distances[way])

    def _distance_or_not(self, file: str) -> float | ConvertError:
        try:
            return self._distance(file)
        except ConvertError as error:  # it answers nonsense
            return error

    def _calibrate(self) -> None:
        if self.calibrated:
            return
        if self.photos is None:
            msg = "it has to be calibrated with images: say where they are with --images DATA"
            raise ConvertError(msg)
        way = {"layout": self.subject.layout, "normalization": self.subject.normalization}
        self.workshop.ask(Calibrate(**way), Done)  # type: ignore[arg-type] # as Calibrate says
        self.calibrated = True

    def _calibration_of(self, file: str) -> Logits:
        return self.workshop.load(self._ask(file, self.subject.kind, "calibration")[0])

    def _distance(self, file: str) -> float:
        """The mean difference of the probabilities on the calibration images."""
        found = self._calibration_of(file)
        return float(np.mean(np.abs(softmax(found) - softmax(self.original("calibration")))))

    def _ask(self, file: str, kind: str, part: str, *, timed: bool = False) -> tuple[str, Scored]:
        out = f"scores/{Path(file).stem}_{part}.npy"
        request = Ask(
            model=file,
            part=part,
            out=out,
            kind=kind,
            layout=self.subject.layout,
            normalization=self.subject.normalization,
            timed=timed,
        )
        return out, self.workshop.ask(request, Scored)

    # ---- measuring

    def _measure(self, scheme: str, file: str, how: dict[str, Any]) -> Candidate:
        kind = self.subject.own_kind if scheme == UNCHANGED else self.subject.kind
        model = self._path(file).read_bytes()
        part = "val" if self.photos is not None else "patterns"
        out, scored = self._ask(file, kind, part, timed=True)
        measured = None
        if self.photos is not None:
            measured = self._on_val(self.workshop.load(out))
        return Candidate(
            scheme=scheme,
            file=file,
            model=model,
            graph=fingerprint(read_graph(model)),
            kind=kind,
            how=how,
            invoke_ms=scored.invoke_ms_p50,
            undelegated=tuple(scored.undelegated),
            measured=measured,
        )

    def _on_val(self, converted: Logits) -> Measured:
        assert self.photos is not None  # noqa: S101 - the caller has looked
        truth, labels, costs = self.truth["val"], self.subject.labels, self.options.costs
        original = self.original("val")
        decision = choose_decision(truth, original, labels, costs=costs, twin=converted)
        files = [row.file for row in self.photos.part("val")]
        reference = REFERENCE[self.source.kind]
        parity, flips = compare(files, original, converted, decision, labels, reference=reference)
        parity = _with_expected(parity, expected_flips(truth, original, converted, labels, costs))
        ours = figures(truth, converted, labels)
        lost = figures(truth, original, labels).balanced_accuracy - ours.balanced_accuracy
        return Measured(
            decision=decision, parity=parity, flips=flips, figures=ours, loss=100 * lost
        )

    def holds(self, candidate: Candidate) -> bool:
        """Whether a candidate is within the accuracy allowance on `val`.

        Its verdicts flip on no more than max(1 image, `max_flips`), on half as many they are
        expected to flip among new images, since chance may double that, and its balanced accuracy
        is within max(1 image, `max_loss` points).
        """
        measured = candidate.measured
        if measured is None:
            return False
        images = measured.parity.images
        allowed = allowed_flips(images, self.options.max_flips)
        expected = (measured.parity.expected_flips or 0.0) * images
        rarest = np.bincount(self.truth["val"]).astype(float)
        one_image = 100.0 / (rarest[rarest > 0].min() * np.count_nonzero(rarest))
        return (
            len(measured.flips) <= allowed
            and expected <= max(1.0, images * self.options.max_flips / 100) / 2
            and measured.loss <= max(one_image, self.options.max_loss) + 1e-9
        )


def default_decision(*, sorting: bool) -> DecisionSpec:
    """Where there are no images to choose anything on: even odds."""
    limits = LimitSpec(review=0.5, ng=None) if sorting else LimitSpec(review=None, ng=0.5)
    return DecisionSpec(
        score="uncertainty" if sorting else "p_not_good",
        temperature=1.0,
        limits=limits,
        chosen_on="nothing",
    )


def _with_expected(parity: Parity, share: float) -> Parity:
    return msgspec.structs.replace(parity, expected_flips=round(share, 5))


def _centred(logits: Logits) -> Logits:
    """Without what softmax does not see: the mean of each row."""
    return np.asarray(logits - logits.mean(axis=1, keepdims=True))
