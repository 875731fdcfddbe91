"""Real logits for reports: a small linear model of real images, fitted in a second."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lineside.image import Frame, Preprocess, decode, to_tensor
from lineside.manifest import DecisionSpec, Label, LimitSpec, Parity
from lineside.report import FileSize, LayerError, ModelScores, ReportData, SchemeRow, Timing

DECISION = DecisionSpec(
    score="p_not_good",
    temperature=0.4,  # weights held small give timid probabilities
    limits=LimitSpec(review=0.3, ng=0.6),
    costs={"escape": 10, "reject": 1},
)

DEVICES = (
    "Raspberry Pi 5 Model B Rev 1.0, ai-edge-litert 2.3.0 with XNNPACK, 2 threads",
    "a test machine, 2 cores, tflite-runtime 2.14, 1 thread",
)

SCHEMES = (
    SchemeRow(
        scheme="float32",
        size=876112,
        accuracy=0.8,
        balanced_accuracy=0.78,
        flips=0,
        expected_flips=0.0,
        worst=0.00002,
        invoke_ms=1.02,
        device=DEVICES[0],
    ),
    SchemeRow(
        scheme="weights_wi8_af32",
        size=286000,
        accuracy=0.79,
        balanced_accuracy=0.77,
        flips=2,
        expected_flips=0.011,
        worst=0.0192,
        invoke_ms=14.1,
        device=DEVICES[1],
    ),
    SchemeRow(
        scheme="static_wi8_ai8",
        size=212344,
        accuracy=0.61,
        balanced_accuracy=0.5,
        flips=24,
        expected_flips=0.4,
        worst=0.4321,
        invoke_ms=0.31,
        device=DEVICES[0],
        note="Refused: 24 of 60 verdicts flip, 1 is allowed.",
    ),
    SchemeRow(
        scheme="static_wi8_ai8+float(block1/hard_swish,logits)",
        chosen=True,
        size=241000,
        accuracy=0.8,
        balanced_accuracy=0.775,
        flips=1,
        expected_flips=0.004,
        worst=0.0123,
    ),
    SchemeRow(scheme="float16", note="Could not be made: signal 11 killed the conversion."),
)

LAYERS = (
    LayerError(layer="stem", op="CONV_2D", snr_db=48.0, own_snr_db=46.0, delegated=True),
    LayerError(layer="block1/conv", op="CONV_2D", snr_db=39.5, own_snr_db=41.0, delegated=True),
    LayerError(
        layer="block1/hard_swish",
        op="HARD_SWISH",
        snr_db=21.5,
        own_snr_db=11.5,
        in_float=True,
        delegated=False,
    ),
    LayerError(layer="mean", op="MEAN", snr_db=20.0, own_snr_db=52.0),
    LayerError(layer="logits", op="FULLY_CONNECTED", snr_db=17.5, own_snr_db=19.5, in_float=True),
)


@dataclass(frozen=True)
class Scored:
    """Test images with the logits of a model for them."""

    root: Path
    labels: tuple[Label, ...]
    files: tuple[str, ...]
    truth: np.ndarray
    logits: np.ndarray

    def load(self, file: str) -> Frame:
        return decode((self.root / file).read_bytes(), name=file)

    @property
    def int8(self) -> np.ndarray:
        """What an int8 output of this model would hold: logits on a grid."""
        return np.round(self.logits / 0.11) * 0.11


def pixels_of(root: Path, files: list[str]) -> np.ndarray:
    """n x 576, 0 to 1."""
    spec = Preprocess(colour="gray", resize="stretch")
    tensors = [to_tensor(decode((root / f).read_bytes()), spec, (24, 24)) for f in files]
    return np.stack(tensors).reshape(len(files), -1) / 255.0


def fit(
    root: Path, files: list[str], pixels: np.ndarray, truth: np.ndarray, labels: list[Label]
) -> Scored:
    """Learn every other image, and score the ones between."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=0.05, max_iter=2000).fit(pixels[::2], truth[::2])
    z = model.decision_function(pixels[1::2])
    # Of two labels the model gives the log-odds of the second one.
    logits = z if z.ndim == 2 else np.stack([-z / 2, z / 2], axis=1)
    return Scored(root, tuple(labels), tuple(files[1::2]), truth[1::2], logits)


def report_of(scored: Scored, **changes: Any) -> ReportData:  # noqa: ANN401 - of any field
    """A full report's data; `changes` replace parts of it."""
    counts = {
        label.name: int(np.sum(scored.truth == number))
        for number, label in enumerate(scored.labels)
    }
    data: dict[str, Any] = {
        "title": "cells 1.4.0",
        "subject": "bundle",
        "created": "2026-11-21T17:03:11Z",
        "labels": scored.labels,
        "files": scored.files,
        "truth": scored.truth,
        "models": [ModelScores("float", scored.logits), ModelScores("int8", scored.int8)],
        "load_frame": scored.load,
        "decision": DECISION,
        "counts": {"train": counts, "val": counts, "test": counts},
        "history": {"loss": [0.7, 0.5, 0.4], "val_loss": [0.72, 0.6, 0.58], "lr": [1e-3] * 3},
        "parity": Parity(
            status="measured",
            reference="keras",
            split="val",
            images=60,
            flips=1,
            worst=0.0123,
            expected_flips=0.021,
        ),
        "notices": ["'a.png' and 'b.png' are the same image under two labels"],
        "timings": [Timing("one inference, int8", 0.3117, "a test machine, 2 cores")],
        "sizes": [FileSize("model.tflite, int8", 212344)],
        "schemes": SCHEMES,
        "choice": "Two layers are kept in float: without them 24 of 60 verdicts flip.",
        "layers": LAYERS,
        "notes": ["tflite-runtime 2.14 was not asked."],
        "settings": [("arch", "compact")],
        "seed": 7,
        "versions": {"keras": "3.15.0"},
        "fingerprints": {"data": "sha256:" + "ab" * 32},
    }
    return ReportData(**(data | changes))
