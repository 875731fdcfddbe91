"""Schemes, made and measured: each on `val`, against the original, by the same rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from lineside.limit_rules import LimitRules
from lineside.limits import choose_decision
from lineside.manifest import DecisionSpec, LimitSpec, Parity
from lineside.metrics import Figures, figures
from lineside.progress import working
from lineside.run import SplitRow
from lineside_convert.maker import PROBED, Logits, Maker
from lineside_convert.options import Options
from lineside_convert.parity import Flip, allowed_flips, compare, expected_flips
from lineside_convert.scheme import UNCHANGED
from lineside_convert.source import Photos, Source, Subject
from lineside_convert.tflite.graph import fingerprint, read_graph
from lineside_convert.worker.protocol import (
    Errors,
    Layer,
    Layers,
)
from lineside_convert.worker.score import values_file
from lineside_convert.workshop import Workshop

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
        maker: makes them.
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
        self.maker = Maker(workshop, source, subject)

    @property
    def photos(self) -> Photos | None:
        """The images; None where there are none."""
        return self.source.photos

    @property
    def rules(self) -> LimitRules:
        """What limits are chosen by: as was said, otherwise as the run was told."""
        run = self.source.run
        return self.options.rules.over(LimitRules() if run is None else run.info.limit_rules)

    def original(self, part: str) -> Logits:
        """The original's logits for a part, n x labels; 0 x labels without photos.

        Raises:
            ConvertError: it gives nonsense.
        """
        return self.maker.original(part)

    def score(self, candidate: Candidate, part: str) -> tuple[Logits, npt.NDArray[np.float64]]:
        """A candidate's logits for a part, n x labels, and the stored values, n x values.

        Raises:
            ConvertError: it gives nonsense, or kills its process.
        """
        out, _ = self.maker.ask(candidate.file, candidate.kind, part)
        return self.workshop.load(out), self.workshop.load(values_file(out))

    def make(self, scheme: str) -> Candidate:
        """Make a scheme and measure it.

        Raises:
            ConvertError: it can't be made or run.
        """
        with working(f"Making {scheme}" if len(scheme) < 60 else "Making a mixed scheme"):
            file, how = self.maker.make(scheme)
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

    # ---- measuring

    def _measure(self, scheme: str, file: str, how: dict[str, Any]) -> Candidate:
        kind = self.subject.own_kind if scheme == UNCHANGED else self.subject.kind
        model = self.maker.path(file).read_bytes()
        part = "val" if self.photos is not None else "patterns"
        out, scored = self.maker.ask(file, kind, part, timed=True)
        measured = None
        if self.photos is not None:
            seen, _ = self.maker.ask(file, kind, "calibration")
            off = self.workshop.load(seen) - self.original("calibration")
            measured = self._on_val(self.workshop.load(out), off)
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

    def _on_val(self, converted: Logits, off: Logits) -> Measured:
        assert self.photos is not None  # noqa: S101 - the caller has looked
        truth, labels, rules = self.truth["val"], self.subject.labels, self.rules
        original = self.original("val")
        decision = choose_decision(
            truth,
            original,
            labels,
            costs=rules.costs,
            max_escapes=rules.max_escapes,
            twin=converted,
        )
        differences = np.concatenate([converted - original, off])
        files = [row.file for row in self.photos.part("val")]
        reference = REFERENCE[self.source.kind]
        parity, flips = compare(files, original, converted, decision, labels, reference=reference)
        parity = _with_expected(parity, expected_flips(truth, original, differences, labels, rules))
        ours = figures(truth, converted, labels)
        lost = figures(truth, original, labels).balanced_accuracy - ours.balanced_accuracy
        return Measured(
            decision=decision, parity=parity, flips=flips, figures=ours, loss=100 * lost
        )

    def holds(self, candidate: Candidate) -> bool:
        """Whether a candidate is within the accuracy allowance on `val`.

        Its verdicts flip on no more than max(1 image, `max_flips`), on two thirds as many they are
        expected to flip among new images, since chance adds to that, and its balanced accuracy is
        within max(1 image, `max_loss` points).
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
            and expected <= max(1.0, images * self.options.max_flips / 100) * 2 / 3
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
