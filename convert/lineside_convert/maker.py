"""Makes schemes of one model, in the workshop, and asks them and the original for logits."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside.decision import softmax
from lineside.errors import ConvertError
from lineside_convert.scheme import UNCHANGED, WEIGHTS, parse_scheme
from lineside_convert.source import Source, Subject
from lineside_convert.tflite.graph import Graph, read_graph
from lineside_convert.worker.protocol import Ask, AskOriginal, Calibrate, Done, Make, Scored
from lineside_convert.worker.ranges import METHODS
from lineside_convert.workshop import Workshop

Logits = npt.NDArray[np.float64]

GIVEN: Final = "given.tflite"
"""A .tflite of others, in the workshop: what was examined is what is used."""

PROBED: Final = 32
"""Calibration images that layers are looked at with."""

_ROUNDED: Final = "rounded by what the calibration images show"


class Maker:
    """Makes schemes of one model.

    Args:
        workshop: in which the model was loaded; the parts' tensors are there if there are photos.
        source: what is converted.
        subject: what is known of it.

    Attributes:
        calibrated: whether the ranges of the original's tensors were measured.
    """

    def __init__(self, workshop: Workshop, source: Source, subject: Subject) -> None:
        self.workshop = workshop
        self.source = source
        self.subject = subject
        self.calibrated = False
        self._number = 0
        self._originals: dict[str, Logits] = {}
        self._asked: dict[tuple[str, str, str], tuple[str, Scored]] = {}
        self._how: dict[str, Any] | None = None  # how the first calibrated scheme was made

    @cached_property
    def original_graph(self) -> Graph:
        """The graph of original.tflite."""
        return read_graph(self.path("original.tflite").read_bytes())

    @property
    def is_float(self) -> bool:
        """Whether nothing in original.tflite is quantized yet."""
        return not any(tensor.scales for tensor in self.original_graph.tensors)

    def path(self, file: str) -> Path:
        """Where a file of the workshop is."""
        return self.workshop.folder / file

    def original(self, part: str) -> Logits:
        """The original's logits for a part, n x labels; 0 x labels without photos.

        Raises:
            ConvertError: it gives nonsense.
        """
        if self.source.photos is None:
            return np.zeros((0, len(self.subject.labels)))
        if part not in self._originals:
            out = f"scores/original_{part}.npy"
            self.workshop.ask(AskOriginal(part=part, out=out), Scored)
            self._originals[part] = self.workshop.load(out)
        return self._originals[part]

    def make(self, scheme: str) -> tuple[str, dict[str, Any]]:
        """Make a scheme.

        Returns:
            Where the model is in the workshop, and how int8 was made of it, for the manifest.

        Raises:
            ConvertError: it can't be made.
        """
        if scheme == UNCHANGED:
            file = self._next()
            shutil.copyfile(self.path(GIVEN), self.path(file))
            return file, {}
        if not self.is_float:
            msg = (
                f"{self.source.path} is quantized already, and can't be made {scheme}: take it as "
                "it is (--scheme unchanged), or convert what it was made of"
            )
            raise ConvertError(msg)
        if parse_scheme(scheme).calibrated:
            return self._make_calibrated(scheme)
        return self._make_plain(scheme)

    def noise(self, scheme: str) -> float:
        """How far a scheme's logits are from the original's on calibration images: the RMS.

        Logits are compared after the mean of each image's was taken off, since softmax does not
        see that, and the mean of all images, since biases take that back.

        Raises:
            ConvertError: it can't be made or run.
        """
        self._calibrate()
        file = self._make(scheme, ranges=self._how["ranges"] if self._how else METHODS[0])
        off = _centred(self.workshop.load(self.ask(file, self.subject.kind, "probe")[0]))
        off = off - self._probe
        return float(np.sqrt(np.mean(np.square(off - off.mean(axis=0)))))

    @property
    def _probe(self) -> Logits:
        return _centred(self.original("calibration")[:PROBED])

    def signal(self) -> float:
        """How far the original's logits are from their mean on the same images: the RMS."""
        probe = self._probe
        return float(np.sqrt(np.mean(np.square(probe - probe.mean(axis=0)))))

    def _next(self) -> str:
        self._number += 1
        self.path("made").mkdir(exist_ok=True)
        return f"made/{self._number}.tflite"

    def _make(self, scheme: str, **how: Any) -> str:  # noqa: ANN401 - what Make takes
        file = self._next()
        self.workshop.ask(Make(scheme=scheme, out=file, **how), Done)
        return file

    def _make_plain(self, scheme: str) -> tuple[str, dict[str, Any]]:
        """Make a scheme without ranges; int8 weights are rounded by the images, if any."""
        if scheme != WEIGHTS or self.source.photos is None:
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
        if self.source.photos is None:
            msg = "int8 is calibrated with images: say where they are with --images DATA"
            raise ConvertError(msg)
        way = {"layout": self.subject.layout, "normalization": self.subject.normalization}
        self.workshop.ask(Calibrate(**way), Done)  # type: ignore[arg-type] # as Calibrate says
        self.calibrated = True

    def _calibration_of(self, file: str) -> Logits:
        return self.workshop.load(self.ask(file, self.subject.kind, "calibration")[0])

    def _distance(self, file: str) -> float:
        """The mean difference of the probabilities on the calibration images."""
        found = self._calibration_of(file)
        return float(np.mean(np.abs(softmax(found) - softmax(self.original("calibration")))))

    def ask(self, file: str, kind: str, part: str, *, timed: bool = False) -> tuple[str, Scored]:
        """Let a model that was made score a part; once, however often it is asked for.

        Args:
            file: where it is in the workshop.
            kind: of its output.
            part: of the images, or `probe` or `patterns`.
            timed: whether to time it too.

        Returns:
            Where its logits are, and what else is known.

        Raises:
            ConvertError: it gives nonsense, or kills its process.
        """
        key = (file, kind, part)
        if key in self._asked and not timed:
            return self._asked[key]
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
        self._asked[key] = (out, self.workshop.ask(request, Scored))
        return self._asked[key]


def _centred(logits: Logits) -> Logits:
    """Without what softmax does not see: the mean of each row."""
    return np.asarray(logits - logits.mean(axis=1, keepdims=True))
