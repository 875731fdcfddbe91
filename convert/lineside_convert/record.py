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
from lineside.report import (
    FileSize,
    LayerError,
    ModelScores,
    ReportData,
    SchemeRow,
    Timing,
    render_report,
)
from lineside.report.summary import counted
from lineside.run import PARTS, SplitRow
from lineside.runtime.device import device_name
from lineside_convert.auto import Choice
from lineside_convert.options import Options
from lineside_convert.scheme import STATIC, UNCHANGED, WEIGHTS
from lineside_convert.source import Photos, Source, Subject
from lineside_convert.trials import Candidate

MODEL_FILE: Final = "model.tflite"

_PACKAGES: Final = ("numpy", "opencv-python-headless", "litert-quantizer", "ai-edge-litert")
"""Whose versions a bundle notes, besides the ones of what loaded the model."""

Logits = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Facts:
    """All that a conversion found out about one candidate.

    Attributes:
        source: what was converted.
        subject: what is known of it.
        options: what was said.
        candidate: the scheme that was made.
        model: the bytes of the file, metadata included.
        entry: the model's input and output, for the manifest.
        decision: temperature and limits.
        parity: with the original.
        runtimes: where it was tried.
        golden: the golden images.
        sample: the images of the calibration.
        truth: for `val` and `test` the index of each image's label.
        original: for `test` the original's logits.
        converted: for `test` the candidate's.
        notes: what whoever uses the bundle must know.
    """

    source: Source
    subject: Subject
    options: Options
    candidate: Candidate
    model: bytes
    entry: tuple[ModelInput, ModelOutput]
    decision: DecisionSpec
    parity: Parity
    runtimes: Sequence[RuntimeRecord]
    golden: Sequence[Golden]
    sample: Sequence[SplitRow]
    truth: dict[str, npt.NDArray[np.intp]]
    original: Logits
    converted: Logits
    notes: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.options.name or self.source.name


def make_manifest(facts: Facts, choice: Choice) -> Manifest:
    """The bundle's manifest; its field `files` is filled in where the bundle is written."""
    subject, candidate = facts.subject, facts.candidate
    source, output = facts.entry
    return Manifest(
        name=facts.name,
        version=facts.options.version,
        created=_now(),
        task="classify",
        labels=list(subject.labels),
        inputs=[InputSpec(name="image", preprocess=subject.preprocess)],
        models=[
            ModelSpec(
                file=MODEL_FILE,
                scheme=candidate.scheme,
                graph=candidate.graph,
                inputs=[source],
                outputs=[output],
                runtimes=list(facts.runtimes),
            )
        ],
        decision=facts.decision,
        golden=list(facts.golden),
        metrics=_metrics(facts),
        parity=facts.parity,
        measured=_measured(facts, choice),
        notes=list(facts.notes),
        files={},
        provenance=_provenance(facts, choice.why if choice.candidate is facts.candidate else ""),
    )


def _now() -> str:
    """UTC; SOURCE_DATE_EPOCH where that is set, so that a build can be repeated to the byte."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    utc = timezone.utc
    now = datetime.fromtimestamp(int(epoch), utc) if epoch else datetime.now(utc)
    return now.isoformat(timespec="seconds").replace("+00:00", "Z")


def _measured(facts: Facts, choice: Choice) -> dict[str, Any]:
    """How fast it is: here, and on the device where its bench file was there."""
    said: dict[str, Any] = {
        "device": device_name(),
        "threads": 1,
        "invoke_ms_p50": facts.candidate.invoke_ms,
    }
    bench, row = facts.options.device_bench, choice.on_device
    if bench is None or row is None or choice.candidate is not facts.candidate:
        return said
    return {
        "device": bench.device,
        "runtime": row.runtime,
        "threads": row.threads,
        "invoke_ms_p50": row.invoke_ms_p50,
        "converted_on": said,
    }


def _metrics(facts: Facts) -> Metrics | None:
    if facts.source.photos is None:
        return None
    return Metrics(
        split="test",
        images=len(facts.truth["test"]),
        float_=_figures(facts, facts.original),
        quantized=_figures(facts, facts.converted),
    )


def _figures(facts: Facts, logits: Logits) -> dict[str, Any]:
    truth, labels = facts.truth["test"], facts.subject.labels
    verdicts = verdict_figures(truth, logits, labels, facts.decision)
    return {
        **msgspec.to_builtins(figures(truth, logits, labels)),
        "verdicts": msgspec.to_builtins(verdicts),
    }


def _provenance(facts: Facts, why: str) -> dict[str, Any]:
    run, hashes = facts.source.run, [row.sha256 for row in facts.sample]
    versions: dict[str, Any] = {"convert": _versions(facts)}
    if run is not None:
        versions["train"] = run.info.versions
    said = {**facts.source.provenance(), "code": f"lineside {__version__}", "versions": versions}
    if why:
        said["choice"] = why
    if facts.candidate.how:
        calibration = {"images": len(hashes), "sha256": hashes, **facts.candidate.how}
        said["calibration"] = calibration
    return said


def _versions(facts: Facts) -> dict[str, str]:
    return {
        "lineside": __version__,
        "python": platform.python_version(),
        **facts.subject.versions,
        **{package: version(package) for package in _PACKAGES},
    }


def make_report(
    facts: Facts,
    manifest: Manifest,
    choice: Choice,
    schemes: Sequence[SchemeRow],
    layers: Sequence[LayerError],
) -> bytes:
    """The bundle's report.html."""
    source, subject, photos = facts.source, facts.subject, facts.source.photos
    rows = photos.part("test") if photos is not None else ()
    run = source.run
    data = ReportData(
        title=f"{manifest.name} {manifest.version}",
        subject="bundle",
        created=manifest.created,
        labels=subject.labels,
        files=[row.file for row in rows],
        truth=facts.truth.get("test", np.zeros(0, np.intp)),
        models=[
            ModelScores("original", facts.original),
            ModelScores(short_name(facts.candidate.scheme), facts.converted),
        ],
        load_frame=_frame_loader(photos, facts),
        decision=facts.decision,
        counts=_counts(photos),
        history=run.metrics.history if run is not None else {},
        notices=photos.notices if photos is not None else (),
        parity=facts.parity,
        timings=_timings(facts, manifest),
        sizes=_sizes(facts),
        schemes=schemes,
        choice=choice.why,
        layers=layers,
        notes=facts.notes,
        settings=_settings(facts),
        seed=photos.seed if photos is not None else None,
        versions=_versions(facts),
        fingerprints=_fingerprints(facts),
    )
    return render_report(data).encode()


def short_name(scheme: str) -> str:
    """What people call a scheme, such as `int8`."""
    base = scheme.partition("+")[0]
    known = {STATIC: "int8", WEIGHTS: "int8 weights", UNCHANGED: "bundle"}
    return known.get(base, base) + (" mixed" if "+" in scheme else "")


def _counts(photos: Photos | None) -> dict[str, Counter[str]]:
    if photos is None:
        return {}
    return {part: Counter(row.label for row in photos.part(part)) for part in PARTS}


def _timings(facts: Facts, manifest: Manifest) -> list[Timing]:
    measured, invoke_ms = manifest.measured, facts.candidate.invoke_ms
    timings = []
    if "converted_on" in measured:
        threads = counted(measured["threads"], "thread")
        what = f"one inference on the device, {measured['runtime']}, {threads}"
        timings.append(Timing(what, measured["invoke_ms_p50"], measured["device"]))
    if invoke_ms is not None:
        name = short_name(facts.candidate.scheme)
        timings.append(Timing(f"one inference here, {name}, 1 thread", invoke_ms, device_name()))
    return timings


def _sizes(facts: Facts) -> list[FileSize]:
    name = short_name(facts.candidate.scheme)
    sizes = [FileSize(f"{MODEL_FILE}, {name}", len(facts.model))]
    if facts.source.path.is_file():
        sizes.insert(0, FileSize(facts.source.path.name, facts.source.path.stat().st_size))
    return sizes


def _fingerprints(facts: Facts) -> dict[str, str]:
    photos = facts.source.photos
    said = {"data": photos.data, "split": photos.split} if photos is not None else {}
    return {**said, MODEL_FILE: hashlib.sha256(facts.model).hexdigest()}


def _frame_loader(photos: Photos | None, facts: Facts) -> Callable[[str], Frame]:
    def load(file: str) -> Frame:
        assert photos is not None  # noqa: S101 - without photos there is no file to load
        data = (photos.root / file).read_bytes()
        return decode(data, facts.subject.preprocess.decode, name=repr(file))

    return load


def _settings(facts: Facts) -> list[tuple[str, str]]:
    run, how = facts.source.run, facts.candidate.how
    train = run.info.option_texts() if run is not None else []
    said = [(f"train: {key}", text) for key, text in train]
    said.append(("scheme", facts.candidate.scheme))
    if how:
        said.append(("calibration", f"{len(facts.sample)} images of train, balanced by label"))
        said += [(f"int8: {key}", str(value)) for key, value in how.items()]
    said += [(f"cost of {name}", f"{cost:g}") for name, cost in facts.decision.costs.items()]
    if is_sorting(facts.subject.labels):
        said.append(("task", "sorting: no label means a bad part"))
    return said
