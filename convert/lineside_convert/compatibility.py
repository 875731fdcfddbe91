"""Which runtimes give the answers that a bundle was chosen for: found out by running the model.

Loading proves nothing: models with weights in int8 and activations in float load in
tflite-runtime 2.14 and answer garbage, and others kill their process. So every runtime within
reach is given the same real images, each in a process of its own: this environment's with and
without XNNPACK, and those of other Python environments, since tflite-runtime wants an older
numpy than TensorFlow. What is found is written into the manifest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from lineside.decision import softmax
from lineside.errors import ConvertError, InputError
from lineside.manifest import DecisionSpec, Label, RuntimeRecord
from lineside.outputs import to_logits
from lineside.runtime.answers import ANSWER_SECONDS, Answers, ask
from lineside.runtime.engine import Tensor, TensorInfo
from lineside_convert.parity import allowed_flips, compare
from lineside_convert.tflite.graph import read_graph

PYTHON_VARIABLE: Final = "LINESIDE_TFLITE_RUNTIME"
"""The environment variable that names a Python in which `lineside[tflite-runtime]` is."""

OLD: Final = "tflite-runtime"
INSTEAD: Final = "ai-edge-litert"

WITH_WEIGHTS: Final = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
"""Operators whose second input is the weights."""

SHOWN: Final = 3
"""How many operators an error names."""

FLOOR: Final = 1 / 512
"""Below this a probability is not told from 0: half a step of a quantized softmax."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a runtime is asked.

    Attributes:
        command: what starts the Python there, perhaps behind an emulator; this one if None.
        runtime: which runtime; the one that an agent there would use if None.
        xnnpack: False asks as a device would answer that has no XNNPACK.
    """

    command: tuple[str, ...] | None = None
    runtime: str | None = None
    xnnpack: bool = True


@dataclass(frozen=True, eq=False, kw_only=True)
class Question:
    """What a runtime is asked, and what it must answer.

    Attributes:
        model: the bytes of the .tflite file.
        tensors: real images as the model's input, n x its shape, of its dtype; at least one.
        reference: n x labels, the logits that the bundle's decision was chosen for.
        output: the model's output, which says what its stored values mean.
        kind: of output; see `lineside.outputs`.
        decision: temperature and limits.
        labels: in the order of the columns.
        max_flips: percent of the images that may get another verdict; one always may.
    """

    model: bytes
    tensors: Tensor
    reference: Values
    output: TensorInfo
    kind: str
    decision: DecisionSpec
    labels: Sequence[Label]
    max_flips: float


@dataclass(frozen=True, eq=False)
class Checked:
    """What a runtime answered.

    Attributes:
        record: for the manifest.
        logits: n x labels; None where it did not answer.
        values: n x values, the same as stored.
        invoke_ms_p50: the median of one inference, in milliseconds; None where it did not answer.
    """

    record: RuntimeRecord
    logits: Values | None
    invoke_ms_p50: float | None
    values: Values | None = None


def places(pythons: Sequence[Path] = ()) -> tuple[Place, ...]:
    """Where a model is asked: here with and without XNNPACK, and in other environments.

    Args:
        pythons: the Pythons of other environments in which lineside is installed, as
            `--check-python` names them. The one that LINESIDE_TFLITE_RUNTIME names comes first.

    Raises:
        InputError: a path is no program.
    """
    old = os.environ.get(PYTHON_VARIABLE)
    named: list[tuple[str, Path, str | None]] = [
        *([(PYTHON_VARIABLE, Path(old), OLD)] if old else []),
        *(("--check-python", python, None) for python in pythons),
    ]
    others = []
    for source, python, runtime in named:
        if not (python.is_file() and os.access(python, os.X_OK)):
            msg = (
                f"{source} {python} is refused: it is no program; name the Python of an "
                "environment in which lineside is installed, such as /opt/old/bin/python"
            )
            raise InputError(msg)
        # Not resolved: the link's place is what makes it the environment's Python.
        others.append(Place(command=(str(python.absolute()),), runtime=runtime))
    return Place(), Place(xnnpack=False), *others


def check(
    question: Question,
    where: Sequence[Place],
    *,
    threads: int = 1,
    timeout: float = ANSWER_SECONDS,
) -> list[Checked]:
    """Ask a model's answers wherever there is a runtime.

    A runtime has the same answers if at most `allowed_flips` images get another verdict than the
    reference gives, and the error of its logits is smaller than what they say. The second keeps
    garbage out where nearly every part gets the same verdict.

    Args:
        question: the model, the images, what they must give.
        where: as `places` gives it.
        threads: how many CPU threads one inference may use.
        timeout: seconds for each place.

    Returns:
        One for each place, in their order; a place without XNNPACK is left out where the place
        before it had none either.

    Raises:
        EngineError: nobody can be asked at a place, such as a Python without lineside.
    """
    found: list[Checked] = []
    for place in where:
        answers = ask(
            question.model,
            question.tensors,
            command=place.command,
            runtime=place.runtime,
            xnnpack=place.xnnpack,
            threads=threads,
            timeout=timeout,
        )
        checked = _judge(question, place, answers)
        if found and not place.xnnpack and _same_place(found[-1].record, checked.record):
            continue
        found.append(checked)
    return found


def _same_place(one: RuntimeRecord, other: RuntimeRecord) -> bool:
    """Whether both are the same runtime, without XNNPACK, or both don't even load."""

    def key(record: RuntimeRecord) -> tuple[object, ...]:
        return record.name, record.version, record.arch, record.xnnpack and record.loads

    return key(one) == key(other) and one.loads == other.loads


def _judge(question: Question, place: Place, answers: Answers) -> Checked:
    report = answers.report
    record = RuntimeRecord(
        name=report.runtime,
        version=report.version,
        arch=report.arch,
        xnnpack=place.xnnpack if report.xnnpack is None else report.xnnpack,
        same_answers=False,
        loads=answers.loads,
        note=_reason(report.error) if report.error else "",
    )
    if answers.values is None:
        return Checked(record, None, None)
    logits = to_logits(question.output.dequantize(answers.values), question.kind)
    if logits.shape != question.reference.shape:
        note = (
            f"it gives {logits.shape[1]} values for an image, "
            f"{question.reference.shape[1]} are expected"
        )
        return Checked(msgspec.structs.replace(record, note=note), None, None)
    flips, note = _difference(question, logits)
    record = msgspec.structs.replace(
        record, same_answers=not note, images=len(logits), flips=flips, note=note
    )
    return Checked(record, logits, report.invoke_ms_p50, answers.values)


def _difference(question: Question, logits: Values) -> tuple[int, str]:
    """How many verdicts are others, and what is wrong with that, if anything is."""
    files = [str(number) for number in range(len(logits))]
    parity, flips = compare(files, question.reference, logits, question.decision, question.labels)
    allowed = allowed_flips(len(files), question.max_flips)
    if len(flips) > allowed:
        return len(flips), (
            f"it loads, but gives another verdict for {len(flips)} of {len(files)} images, at "
            f"most {allowed} may; defect scores are up to {parity.worst:.3f} off"
            + _suspects(question.model)
        )
    if is_noise(question.reference, logits, question.decision.temperature):
        note = "it loads, but its answers have nothing to do with the images"
        return len(flips), note + _suspects(question.model)
    return len(flips), ""


def _suspects(model: bytes) -> str:
    """The operators that tflite-runtime is known to get wrong, as the end of a note."""
    try:
        graph = read_graph(model)
    except ConvertError:  # it is odd in yet another way
        return ""
    named = [
        f"{op.op} {op.layer}"
        for op in graph.operators
        if op.op in WITH_WEIGHTS and len(op.inputs) > 1 and min(op.inputs[:2]) >= 0
        if graph.tensors[op.inputs[0]].dtype == "float32"
        if graph.tensors[op.inputs[1]].dtype in {"int8", "uint8", "int4"}
    ]
    return f"; weights in int8 with activations in float: {_shown(named)}" if named else ""


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def is_noise(reference: Values, logits: Values, temperature: float = 1.0) -> bool:
    """Whether answers differ from the reference by more than the reference says itself.

    That is, whether the signal-to-noise ratio is below 1 (0 dB):

        sum((z - mean over the images of z)^2) < sum((z' - z)^2)

    where z and z' are the logarithms of the probabilities, each at least `FLOOR`.

    Args:
        reference: n x labels, logits.
        logits: the same.
        temperature: of the softmax.
    """
    if not np.isfinite(logits).all():
        return True
    z, other = (np.log(np.maximum(softmax(one, temperature), FLOOR)) for one in (reference, logits))
    signal = np.sum((z - z.mean(axis=0)) ** 2)
    # Of one image, or of the same answer to all, there is no signal to compare with.
    return bool(0 < signal < np.sum((other - z) ** 2))


def _reason(error: str) -> str:
    """An engine's complaint, shorter where it is a known one; it names the operator."""
    old = re.search(r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'", error)
    if old:
        return f"it has no operator {old[1]} in version {old[2]}"
    custom = re.search(r"unresolved custom op: ([^.\s]+)", error)
    if custom:
        return f"it has no operator {custom[1]}"
    return error


def require_runtime(
    records: Sequence[RuntimeRecord], name: str, *, per_channel_dense: Sequence[str] = ()
) -> None:
    """Refuse a model that a runtime can't run, or can't everywhere.

    Args:
        records: as `check` found them. For each version and processor the first one of that name
            counts: it is the one that has XNNPACK where the runtime has it.
        name: of the runtime, as `--runtime` gives it.
        per_channel_dense: the model's dense layers whose weights have a scale for each channel.
            tflite-runtime 2.14 runs them on x86-64; on 64-bit arm many kill it (bench/arm64.py).

    Raises:
        ConvertError: it can't; the message names the operator, the layer or the signal.
    """
    firsts: dict[tuple[str, str], RuntimeRecord] = {}
    for record in records:
        if record.name == name:
            firsts.setdefault((record.version, record.arch), record)
    if not firsts:
        msg = f"--runtime {name}: there is none to run the model with{_way_to(name)}"
        raise ConvertError(msg)
    for record in firsts.values():
        if not record.same_answers:
            msg = (
                f"--runtime {name}: {name} {record.version} on {record.arch} can't run this model: "
                f"{record.note}. Choose another scheme or network, or another --runtime"
            )
            raise ConvertError(msg)
    if name == OLD and per_channel_dense:
        msg = (
            f"--runtime {name}: the FULLY_CONNECTED operators {_shown(per_channel_dense)} have "
            f"weights with a scale for each channel, and {name} dies of many such on 64-bit arm. "
            "Convert the model from the Keras file, or choose another --runtime"
        )
        raise ConvertError(msg)


def _way_to(name: str) -> str:
    """How to get a runtime."""
    if name != OLD:
        return f". pip install 'lineside[runtime]' brings {INSTEAD}"
    return (
        ". Make an environment with python3.11 -m venv old && old/bin/pip install "
        f"'lineside[{OLD}]', and name it with --check-python old/bin/python"
    )
