"""From a run to a bundle: the steps, in order.

    run ─▶ pixels ─▶ int8 ─▶ decision ─▶ parity ─▶ golden images ─▶ report ─▶ trial ─▶ bundle
           (hashes   (child   (on val)   (refuses)                            (child)
            checked) process)

Nothing appears at the bundle's place before all of them are done.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from lineside.bundle import Bundle, write_bundle, zip_bundle
from lineside.dataset import load_tensors
from lineside.errors import ConvertError, LinesideError, RunError, StorageError
from lineside.extras import quiet_native
from lineside.files import storage_error
from lineside.image import Frame, decode
from lineside.limits import Costs, choose_decision
from lineside.manifest import DecisionSpec, Golden, Manifest, Parity
from lineside.progress import working
from lineside.run import Run, SplitPart, SplitRow
from lineside.runtime import Engine, open_engine
from lineside.runtime.trial import Trial, try_bundle
from lineside_convert.calibration import balanced_sample, with_full_range
from lineside_convert.child import PARTS
from lineside_convert.golden import Judge, choose_golden, make_golden
from lineside_convert.parity import allowed_flips, compare, require_parity
from lineside_convert.quantize import Quantized, quantize
from lineside_convert.record import Facts, make_manifest, make_report

MODEL_FILE: Final = "model.tflite"
REPORT_FILE: Final = "report.html"
TIMED: Final = 200
"""Inferences that are timed; the median is kept."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `lineside convert` is told.

    Attributes:
        name: the bundle's name; the run's where None.
        version: the bundle's version.
        calibration: how many training images the converter sees.
        max_flips: percent of `val` whose verdict may differ from the Keras model's.
        costs: what wrong verdicts cost.
        data: where the photos are; where they were when None.
    """

    name: str | None = None
    version: str = "1.0.0"
    calibration: int = 200
    max_flips: float = 1.0
    costs: Costs = field(default_factory=Costs)
    data: Path | None = None


@dataclass(frozen=True, eq=False)
class _Pixels:
    """The images as the model sees them: uint8, n x h x w x channels."""

    sample: tuple[SplitRow, ...]
    calibration: npt.NDArray[np.uint8]
    parts: dict[str, npt.NDArray[np.uint8]]


def convert_run(run: Run, out: Path, options: Options, *, zip_to: Path | None = None) -> Bundle:
    """Convert a run into a bundle.

    Args:
        run: opened.
        out: the bundle's folder, which must not be there yet.
        options: see there.
        zip_to: a zip file to write as well.

    Returns:
        The bundle, tried in a process of its own.

    Raises:
        RunError: the run or its images can't be used.
        DatasetError: an image is missing or was changed.
        ConvertError: the model can't be converted.
        ParityError: its int8 verdicts differ too often. Nothing is written.
        EngineError: the bundle fails its trial. Nothing is written.
        StorageError: something is there already, or the disk is full.
    """
    _check_free(out, zip_to)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # Beside the bundle, since /tmp may be memory, and the images as tensors are large.
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.work-") as work:
            bundle = _convert(run, out, options, Path(work))
    except OSError as error:
        if isinstance(error, LinesideError):
            raise
        raise storage_error(error, out) from error
    if zip_to is not None:
        zip_bundle(out, zip_to)
    return bundle


def _check_free(out: Path, zip_to: Path | None) -> None:
    """Say before the work that what is there would be in the way after it."""
    in_the_way = [path for path in (out, zip_to) if path is not None and path.exists()]
    if in_the_way and not (in_the_way == [out] and out.is_dir() and not any(out.iterdir())):
        msg = f"{in_the_way[-1]} is there already: choose another name, or remove it"
        raise StorageError(msg)


def _convert(run: Run, out: Path, options: Options, work: Path) -> Bundle:
    root = _data_root(run, options)
    pixels = _read_pixels(run, root, options.calibration)
    with working("Converting to int8"):
        quantized = quantize(
            run.model_path, len(run.info.labels), pixels.calibration, pixels.parts, work
        )
    with quiet_native(drop=b"INFO:"):
        engine = open_engine(quantized.model)
    _check_engine(engine)
    decision, parity = _decide(run, quantized, options)
    plain_agrees = _plain_agrees(run, quantized, decision, options)
    golden, files = _make_golden(run, root, quantized, engine, decision, plain_agrees=plain_agrees)
    facts = Facts(
        run=run,
        name=options.name or run.info.name,
        version=options.version,
        truth={part: _truth(run, part) for part in PARTS},
        quantized=quantized,
        engine=engine,
        decision=decision,
        parity=parity,
        plain_agrees=plain_agrees,
        golden=golden,
        sample=pixels.sample,
        invoke_ms=_time(engine, pixels.parts["val"]),
    )
    manifest = make_manifest(facts, MODEL_FILE)
    with working("Writing the report"):
        files[REPORT_FILE] = make_report(facts, manifest, root)
    files[MODEL_FILE] = quantized.model
    return _publish(out, manifest, files, work)


def _publish(out: Path, manifest: Manifest, files: dict[str, bytes], work: Path) -> Bundle:
    """Try the bundle, then let it appear."""
    draft = write_bundle(work / "bundle", manifest, files)
    with working("Trying the bundle"):
        trial = try_bundle(draft.path)
    _check_trial(manifest, trial)
    return write_bundle(out, manifest, files)


def _check_trial(manifest: Manifest, trial: Trial) -> None:
    """The manifest says which runtime ran the golden images; the child must have used that one."""
    record = manifest.model.runtimes[0]
    said = (record.name, record.version, record.arch, record.xnnpack)
    found = (trial.runtime, trial.version, trial.arch, trial.xnnpack)
    if said != found:
        msg = f"the trial ran on {found}, but the bundle says {said}; run it again"
        raise ConvertError(msg)


# ---- the photos


def _data_root(run: Run, options: Options) -> Path:
    root = options.data or Path(run.info.data_root)
    if not root.is_dir():
        msg = f"the photos of {run.path} are not in {root}: say where they are with --data DIR"
        raise RunError(msg)
    return root


def _read_pixels(run: Run, root: Path, calibration: int) -> _Pixels:
    for part in ("train", *PARTS):
        if not run.rows(part):
            msg = f"{run.path}/split.csv has no image in {part}: train it again"
            raise RunError(msg)
    sample = balanced_sample(run.rows("train"), calibration, run.info.seed)
    return _Pixels(
        sample,
        with_full_range(_tensors(run, root, sample, "train")),
        {part: _tensors(run, root, run.rows(part), part) for part in PARTS},
    )


def _tensors(run: Run, root: Path, rows: Sequence[SplitRow], part: str) -> npt.NDArray[np.uint8]:
    return load_tensors(
        root,
        [row.file for row in rows],
        run.info.preprocess,
        run.info.image_size,
        what=f"Reading {part}",
        sha256=[row.sha256 for row in rows],
    )


def _truth(run: Run, part: SplitPart) -> npt.NDArray[np.intp]:
    """For each image of a part the index of its label."""
    names = [label.name for label in run.info.labels]
    unknown = sorted({row.label for row in run.rows(part)} - set(names))
    if unknown:
        msg = f"{run.path}/split.csv: {unknown[0]!r} is none of the labels {', '.join(names)}"
        raise RunError(msg)
    return np.array([names.index(row.label) for row in run.rows(part)], np.intp)


def _frames(run: Run, root: Path, chosen: Sequence[int]) -> list[Frame]:
    rows = run.rows("val")
    files = [rows[index].file for index in chosen]
    return [
        decode((root / file).read_bytes(), run.info.preprocess.decode, name=repr(file))
        for file in files
    ]


# ---- the model


def _check_engine(engine: Engine) -> None:
    """Refuse what a station could not feed with raw pixels."""
    source, output = engine.inputs[0], engine.outputs[0]
    found = (source.dtype, source.scale, source.zero_point)
    if found != ("uint8", 1.0, 0):
        msg = f"the int8 model's input is expected as ('uint8', 1.0, 0), got {found}"
        raise ConvertError(msg)
    if output.dtype != "int8" or not output.scale > 0:
        msg = f"the int8 model's output has no usable scale: {output}"
        raise ConvertError(msg)


def _decide(run: Run, quantized: Quantized, options: Options) -> tuple[DecisionSpec, Parity]:
    """Choose temperature and limits on `val`, and refuse what flips too often there.

    Raises:
        ParityError: it does.
    """
    labels, files = run.info.labels, [row.file for row in run.rows("val")]
    original, converted = quantized.original["val"], quantized.quantized["val"]
    decision = choose_decision(
        _truth(run, "val"), original, labels, costs=options.costs, twin=converted
    )
    parity, flips = compare(files, original, converted, decision, labels)
    require_parity(parity, flips, options.max_flips)
    return decision, parity


def _plain_agrees(run: Run, quantized: Quantized, decision: DecisionSpec, options: Options) -> bool:
    """Whether the int8 model's verdicts are the same without XNNPACK, on nearly all of `val`."""
    files = [row.file for row in run.rows("val")]
    parity, flips = compare(
        files, quantized.quantized["val"], quantized.plain, decision, run.info.labels
    )
    return len(flips) <= allowed_flips(parity.images, options.max_flips)


def _make_golden(
    run: Run,
    root: Path,
    quantized: Quantized,
    engine: Engine,
    decision: DecisionSpec,
    *,
    plain_agrees: bool,
) -> tuple[list[Golden], dict[str, bytes]]:
    judge = Judge(engine.outputs[0], decision, run.info.labels)
    logits, engines = [quantized.quantized["val"]], [engine]
    if plain_agrees:
        logits.append(quantized.plain)
        engines.append(open_engine(quantized.model, xnnpack=False))
    choice = choose_golden(_truth(run, "val"), logits, judge)
    safe, near = (_frames(run, root, chosen) for chosen in (choice.safe, choice.near))
    return make_golden(safe, near, engines, run.info.preprocess, judge)


def _time(engine: Engine, tensors: npt.NDArray[np.uint8]) -> float:
    """How long one inference takes, the median, in milliseconds."""
    times = []
    for turn in range(TIMED):
        start = time.perf_counter_ns()
        engine.invoke(tensors[turn % len(tensors)])
        times.append((time.perf_counter_ns() - start) / 1e6)
    return statistics.median(times)
