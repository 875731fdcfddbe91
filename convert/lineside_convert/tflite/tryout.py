"""The process that looks at .tflite files which nobody here made; see `examine`.

    python -m lineside_convert.tflite.tryout

It reads requests from stdin and answers each on stdout, a line of JSON each. For every file it
forks: the fork reads the graph, refuses what lineside can't use, runs what is left, says what it
found, and ends as any process ends, so that a heap it has damaged is noticed.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final, cast

import msgspec
import numpy as np
import numpy.typing as npt

from lineside.errors import ConvertError, EngineError, LinesideError
from lineside.extras import require
from lineside.runtime.child import signal_name
from lineside.runtime.engine import Engine, TensorInfo
from lineside.runtime.litert import LiteRtEngine
from lineside_convert.tflite.check import channels_of, check_graph, kind_of, layout_of
from lineside_convert.tflite.examine import (
    Dtype,
    Examined,
    Outcome,
    Request,
    Stage,
    TensorFacts,
)
from lineside_convert.tflite.graph import Graph, GraphTensor, fingerprint, read_graph
from lineside_convert.tflite.metadata import FileMetadata, read_metadata

MAX_MEMORY: Final = 6 << 30
"""Bytes of address space of a fork: Python and the engine take about two thirds of a GiB."""

MAX_FLOAT_GAP: Final = 1e-3
"""How far float answers may be off without XNNPACK before a note says so."""

_SPEECHLESS: Final = (": RuntimeError", ": MemoryError", "bad_alloc")
"""What the engine says where memory can't be had."""

_ANSWER: Final = msgspec.json.Decoder(Outcome)

Floats = npt.NDArray[np.float64]


def look(path: Path, images: Path | None) -> Outcome:
    """Look at one file. May never return: the file may kill the process, or hang it."""
    stage: Stage = "graph"
    try:
        model = path.read_bytes()
        graph = read_graph(model)
        check_graph(graph)
        metadata, notes = _metadata(model)
        stage = "engine"
        tensors = patterns(graph.inputs[0], metadata)
        real = None if images is None else np.load(images, allow_pickle=False)
        engine, worst = run(model, graph, tensors, real)
    except LinesideError as error:
        reason = _one_line(error)
        if reason.endswith(_SPEECHLESS):
            reason += f" (a tensor of impossible size, or more than {MAX_MEMORY >> 30} GiB)"
        return Outcome(stage=stage, reason=reason)
    except (OSError, MemoryError, ValueError) as error:
        text = f"{type(error).__name__}: {error}"
        return Outcome(stage=stage, reason=f"it can't be run ({_one_line(text)})")
    source, output = graph.inputs[0], graph.outputs[0]
    channels = channels_of(source.shape)
    return Outcome(
        stage="accepted",
        examined=Examined(
            sha256=hashlib.sha256(model).hexdigest(),
            input=_facts(source),
            output=_facts(output),
            layout=layout_of(source.shape),
            colour="gray" if channels == 1 else "rgb",
            kind=kind_of(graph),
            graph=fingerprint(graph),
            metadata=metadata,
            per_channel_dense=graph.per_channel_dense,
            runtime=f"{engine.name} {engine.version}",
            xnnpack=engine.xnnpack,
            plain_worst=worst,
            notes=(*_graph_notes(graph), *notes, *_gap_notes(output, worst)),
        ),
    )


def _facts(tensor: GraphTensor) -> TensorFacts:
    return TensorFacts(
        name=tensor.name[:200],
        shape=tensor.shape,
        dtype=cast("Dtype", tensor.dtype),
        scale=tensor.scale,
        zero_point=tensor.zero_point,
    )


def _metadata(model: bytes) -> tuple[FileMetadata, list[str]]:
    """The file's metadata; damaged ones are left out, with a note: the model may be good."""
    try:
        found = read_metadata(model)
    except ConvertError as error:
        return FileMetadata(), [f"What the file says of itself is not used: {error}."]
    if found.labels is None and found.labels_from is not None:
        return found, ["The labels that it lists are not in it: its end may be cut off."]
    return found, []


def _graph_notes(graph: Graph) -> Iterator[str]:
    if graph.inputs[0].signature[0] == -1:
        yield "Its batch size is open, and is taken as 1."
    last = graph.last_operator
    if last is not None and last.op == "LOGISTIC" and kind_of(graph) == "class_probabilities":
        yield "It gives each label a probability of its own; they need not sum to 1."


def _gap_notes(output: GraphTensor, worst: float) -> Iterator[str]:
    if output.scale and worst > 1.5 * output.scale:
        steps = worst / output.scale
        yield f"Without XNNPACK a value of its output is up to {steps:.0f} steps off."
    elif not output.scale and worst > MAX_FLOAT_GAP:
        yield f"Without XNNPACK a value of its output is up to {worst:.3g} off."


def patterns(source: GraphTensor, metadata: FileMetadata) -> Iterator[npt.NDArray[Any]]:
    """Pictures that are the same every time: plain ones, ramps, a chessboard, noise.

    Yields:
        Each as the input takes it, of its shape with the batch of 1.
    """
    mean, std = metadata.mean or (127.5,), metadata.std or (127.5,)
    if {len(mean), len(std)} - {1, channels_of(source.shape)}:
        mean, std = (127.5,), (127.5,)
    form = (-1, 1, 1) if layout_of(source.shape) == "nchw" else (-1,)
    for pixels in _pixels(source.shape):
        if source.dtype == "uint8":
            yield pixels
        elif source.dtype == "int8":
            yield (pixels ^ 0x80).view(np.int8)
        else:
            scaled = (pixels - np.reshape(mean, form)) / np.reshape(std, form)
            yield np.asarray(scaled, np.float32)


def _pixels(shape: tuple[int, ...]) -> Iterator[npt.NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    for level in (0, 128, 255):
        yield np.full(shape, level, np.uint8)
    axes = np.ogrid[tuple(slice(0, side) for side in shape)]
    for axis in np.argsort(shape)[-2:]:  # of all sides the channels are the shortest
        ramp = (axes[axis] * 255 // (shape[axis] - 1)).astype(np.uint8)
        yield np.ascontiguousarray(np.broadcast_to(ramp, shape))
        yield np.ascontiguousarray(np.broadcast_to(255 - ramp, shape))
    squares = sum(axis // 8 for axis in axes) % 2
    yield np.asarray(squares * 255, np.uint8)
    for _ in range(3):
        yield rng.integers(0, 256, shape, np.uint8)


def run(
    model: bytes,
    graph: Graph,
    tensors: Iterable[npt.NDArray[Any]],
    real: npt.NDArray[Any] | None,
) -> tuple[Engine, float]:
    """Run a model with XNNPACK and without it.

    Args:
        model: the file.
        graph: of it; what the engine says must agree.
        tensors: the test patterns, each of the input's shape.
        real: real images, or None.

    Returns:
        The engine with XNNPACK, and the largest difference of a value without it.

    Raises:
        EngineError: it does not load or run, or answers NaN, or always the same.
    """
    engine = LiteRtEngine(model, xnnpack=True)
    plain = LiteRtEngine(model, xnnpack=False)
    for tensor, info in (
        (graph.inputs[0], engine.inputs[0]),
        (graph.outputs[0], engine.outputs[0]),
    ):
        if (tensor.dtype, tensor.shape) != (info.dtype, info.shape):
            msg = (
                f"{engine.name} reads a tensor as {info.dtype} {list(info.shape)} that its graph "
                f"gives as {tensor.dtype} {list(tensor.shape)}"
            )
            raise EngineError(msg)
    worst = 0.0
    batches: list[tuple[bool, Iterable[npt.NDArray[Any]]]] = [(False, tensors)]
    if real is not None:
        batches.append((True, real))
    for are_real, batch in batches:
        pairs = [(_answer(engine, tensor), _answer(plain, tensor)) for tensor in batch]
        for answers in (np.stack(rows) for rows in zip(*pairs, strict=True)):
            _check_answers(answers, engine.outputs[0], are_real=are_real)
        worst = max([worst, *(float(np.abs(one - other).max()) for one, other in pairs)])
    return engine, worst


def _answer(engine: Engine, tensor: npt.NDArray[Any]) -> Floats:
    return engine.outputs[0].dequantize(engine.invoke(tensor)[0]).reshape(-1)


def _check_answers(answers: Floats, output: TensorInfo, *, are_real: bool) -> None:
    what = "image" if are_real else "test pattern"
    if not np.isfinite(answers).all():
        bad = int(np.flatnonzero(~np.isfinite(answers).all(axis=1))[0])
        msg = f"its output is not finite (NaN or infinite) for {what} {bad}"
        raise EngineError(msg)
    if len(answers) < 2 or not (answers == answers[0]).all():
        return
    if are_real or not _saturated(answers[0], output):
        said = ", ".join(f"{value:.4g}" for value in answers[0][:4])
        msg = f"it gives the same answer for each of {len(answers)} {what}s: {said}"
        raise EngineError(msg)


def _saturated(answer: Floats, output: TensorInfo) -> bool:
    """Whether an answer is as sure as it can be: patterns that look like nothing may all get it."""
    least, most = (0.0, 1.0)
    if output.scale:
        limits = np.iinfo(output.dtype)
        least, most = output.dequantize(np.array([limits.min, limits.max], output.dtype))
    sure = np.isclose(answer, least, atol=1e-6) | np.isclose(answer, most, atol=1e-6)
    return bool(sure.all() and len(answer) > 1)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:400]


def _fork(request: Request) -> Outcome | None:
    """Look at a file in a fork; None in the fork, which has answered and has to end."""
    read_end, write_end = os.pipe()
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            os.close(read_end)
            _limit(request.seconds, said)
            answer = look(Path(request.path), None if not request.images else Path(request.images))
            with os.fdopen(write_end, "wb") as pipe:
                pipe.write(msgspec.json.encode(answer))
            if answer.stage == "graph":
                os._exit(
                    0
                )  # no engine has run: nothing can show in an orderly end, which takes long
            return None
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            found = pipe.read()
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return _outcome(found, status, _last_words(said.read()), request.seconds)


def _limit(seconds: float, said: IO[bytes]) -> None:
    os.dup2(said.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected, its dump is not
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    signal.setitimer(signal.ITIMER_REAL, seconds)  # ends the process in native code too


def _outcome(found: bytes, status: int, said: str, seconds: float) -> Outcome:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGALRM:
            return Outcome(stage="hung", reason=f"it did not answer within {seconds:g} s")
        why = f": {said}" if said else ""
        name = signal_name(-number)
        # Also where it had answered: then it has damaged memory that was freed at the end.
        reason = f"it kills the process that runs it ({name}){why}"
        return Outcome(stage="killed", reason=reason)
    with contextlib.suppress(msgspec.DecodeError):
        return _ANSWER.decode(found)
    why = f": {said}" if said else ""
    reason = f"the process that ran it ended with {os.waitstatus_to_exitcode(status)}{why}"
    return Outcome(stage="killed", reason=reason)


def _last_words(said: bytes) -> str:
    """The last line that is no mere note of the engine."""
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines()]
    telling = [line for line in lines if line and not line.startswith(("INFO:", "WARNING:"))]
    return telling[-1][:200] if telling else ""


def main() -> None:
    """Answer until stdin ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # the engine's own lines may come on stdout
    _warm_up()
    gc.freeze()  # what is shared with the forks is left alone
    for line in iter(sys.stdin.buffer.readline, b""):
        outcome = _fork(msgspec.json.decode(line, type=Request))
        if outcome is None:
            return
        out.write(msgspec.json.encode(outcome) + b"\n")
        out.flush()


def _warm_up() -> None:
    """Load what every file needs, once."""
    for module in (
        "flatbuffers",
        "ai_edge_litert.interpreter",
        "ai_edge_litert.schema_py_generated",
    ):
        require(module, extra="convert")


if __name__ == "__main__":
    main()
