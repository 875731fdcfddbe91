"""What is written down of a conversion: the manifest, and the report for people."""

from __future__ import annotations

import hashlib
import os
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from lineside import __version__
from lineside.decision import is_sorting
from lineside.image import Frame, decode
from lineside.manifest import (
    DecisionSpec,
    Golden,
    InputSpec,
    Manifest,
    Metrics,
    ModelInput,
    ModelOutput,
    ModelSpec,
    Parity,
    RuntimeRecord,
)
from lineside.metrics import figures, verdict_figures
from lineside.report import FileSize, ModelScores, ReportData, Timing, render_report
from lineside.run import PARTS, Run, SplitRow
from lineside.runtime import Engine
from lineside.runtime.device import device_name
from lineside_convert.quantize import Quantized

SCHEME: Final = "static_wi8_ai8"
"""Weights and activations int8, their scales fixed by calibration."""

_PACKAGES: Final = ("numpy", "opencv-python-headless")
"""Whose versions a bundle notes, besides the ones of Keras, TensorFlow and the engine."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Facts:
    """All that a conversion found out.

    Attributes:
        run: what was converted.
        name: the bundle's name.
        version: the bundle's version.
        truth: for `val` and `test` the index of each image's label.
        quantized: the model, and the logits of both models.
        engine: holds the int8 model.
        decision: temperature and limits.
        parity: of both models on `val`.
        plain_agrees: whether the int8 model's verdicts are the same without XNNPACK.
        golden: the golden images.
        sample: the images of the calibration.
        invoke_ms: how long one inference took here, in milliseconds.
    """

    run: Run
    name: str
    version: str
    truth: dict[str, npt.NDArray[np.intp]]
    quantized: Quantized
    engine: Engine
    decision: DecisionSpec
    parity: Parity
    plain_agrees: bool
    golden: Sequence[Golden]
    sample: Sequence[SplitRow]
    invoke_ms: float


def make_manifest(facts: Facts, model_file: str) -> Manifest:
    """The bundle's manifest; its field `files` is filled in where the bundle is written.

    Args:
        facts: see there.
        model_file: what the model is called in the bundle.
    """
    info = facts.run.info
    return Manifest(
        name=facts.name,
        version=facts.version,
        created=_now(),
        task=info.task,
        labels=info.labels,
        inputs=[InputSpec(name="image", preprocess=info.preprocess)],
        models=[_model_spec(facts, model_file)],
        decision=facts.decision,
        golden=list(facts.golden),
        metrics=Metrics(
            split="test",
            images=len(facts.truth["test"]),
            float_=_figures(facts, facts.quantized.original["test"]),
            quantized=_figures(facts, facts.quantized.quantized["test"]),
        ),
        parity=facts.parity,
        measured={"device": device_name(), "threads": 1, "invoke_ms_p50": facts.invoke_ms},
        files={},
        provenance=_provenance(facts),
    )


def _now() -> str:
    """UTC; SOURCE_DATE_EPOCH where that is set, so that a build can be repeated to the byte."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    utc = timezone.utc
    now = datetime.fromtimestamp(int(epoch), utc) if epoch else datetime.now(utc)
    return now.isoformat(timespec="seconds").replace("+00:00", "Z")


def _model_spec(facts: Facts, model_file: str) -> ModelSpec:
    engine = facts.engine
    source, output = engine.inputs[0], engine.outputs[0]
    batch, height, width, channels = source.shape
    return ModelSpec(
        file=model_file,
        scheme=SCHEME,
        inputs=[
            ModelInput(
                tensor=0,
                source="image",
                shape=(batch, height, width, channels),
                dtype="uint8",
                scale=source.scale,
                zero_point=source.zero_point,
            )
        ],
        outputs=[
            ModelOutput(
                tensor=0,
                kind="class_logits",
                shape=list(output.shape),
                dtype="int8",
                scale=output.scale,
                zero_point=output.zero_point,
            )
        ],
        runtimes=[
            # The trial shows the first, or nothing is published.
            _runtime(engine, xnnpack=engine.xnnpack, same_answers=True),
            _runtime(engine, xnnpack=False, same_answers=facts.plain_agrees),
        ],
    )


def _runtime(engine: Engine, *, xnnpack: bool, same_answers: bool) -> RuntimeRecord:
    return RuntimeRecord(
        name=engine.name,
        version=engine.version,
        arch=platform.machine(),
        xnnpack=xnnpack,
        same_answers=same_answers,
    )


def _figures(facts: Facts, logits: npt.NDArray[np.float64]) -> dict[str, Any]:
    truth, labels = facts.truth["test"], facts.run.info.labels
    verdicts = verdict_figures(truth, logits, labels, facts.decision)
    return {
        **msgspec.to_builtins(figures(truth, logits, labels)),
        "verdicts": msgspec.to_builtins(verdicts),
    }


def _provenance(facts: Facts) -> dict[str, Any]:
    info = facts.run.info
    hashes = [row.sha256 for row in facts.sample]
    return {
        "run": info.name,
        "data": f"sha256:{info.data}",
        "split": f"sha256:{info.split}",
        "code": f"lineside {__version__}",
        "seed": info.seed,
        "train": info.options,
        "calibration": {"images": len(hashes), "sha256": hashes},
        "versions": {"train": info.versions, "convert": _versions(facts)},
    }


def _versions(facts: Facts) -> dict[str, str]:
    return {
        "lineside": __version__,
        "python": platform.python_version(),
        **facts.quantized.versions,
        facts.engine.name: facts.engine.version,
        **{package: version(package) for package in _PACKAGES},
    }


def make_report(facts: Facts, manifest: Manifest, root: Path) -> bytes:
    """The bundle's report.html.

    Args:
        facts: see there.
        manifest: made of them.
        root: the data folder.
    """
    run, info = facts.run, facts.run.info
    rows = run.rows("test")
    model = facts.quantized.model
    engine = f"{facts.engine.name} {facts.engine.version}"
    data = ReportData(
        title=f"{manifest.name} {manifest.version}",
        subject="bundle",
        created=manifest.created,
        labels=info.labels,
        files=[row.file for row in rows],
        truth=facts.truth["test"],
        models=[
            ModelScores("float", facts.quantized.original["test"]),
            ModelScores("int8", facts.quantized.quantized["test"]),
        ],
        load_frame=_frame_loader(root, facts),
        decision=facts.decision,
        counts={part: Counter(row.label for row in run.rows(part)) for part in PARTS},
        history=run.metrics.history,
        notices=run.metrics.notices,
        parity=facts.parity,
        timings=[
            Timing(f"one inference, int8, {engine}, 1 thread", facts.invoke_ms, device_name())
        ],
        sizes=[
            FileSize("model.keras, float", run.model_path.stat().st_size),
            FileSize("model.tflite, int8", len(model)),
        ],
        settings=_settings(facts),
        seed=info.seed,
        versions=_versions(facts),
        fingerprints={
            "data": info.data,
            "split": info.split,
            "model.tflite": hashlib.sha256(model).hexdigest(),
        },
    )
    return render_report(data).encode()


def _frame_loader(root: Path, facts: Facts) -> Callable[[str], Frame]:
    def load(file: str) -> Frame:
        return decode((root / file).read_bytes(), facts.run.info.preprocess.decode, name=repr(file))

    return load


def _settings(facts: Facts) -> list[tuple[str, str]]:
    costs = facts.decision.costs
    said = [(f"cost of {name}", f"{cost:g}") for name, cost in costs.items()]
    sorting = ["sorting: no label means a bad part"] if is_sorting(facts.run.info.labels) else []
    return [
        *((f"train: {key}", text) for key, text in facts.run.info.option_texts()),
        ("calibration", f"{len(facts.sample)} images of train, balanced by label"),
        *said,
        *(("task", text) for text in sorting),
    ]
