"""The child process that asks another runtime what a model answers, and its parent's side.

    python -m lineside.runtime.answers MODEL.tflite TENSORS.npy OUT.npy [--runtime NAME]
        [--no-xnnpack] [--threads N]

A model that runs here may be refused elsewhere, kill its process, or answer garbage without a
word. So the same tensors are given to it in the other Python environment, which may be of
another version, another runtime, or under an emulator. The child needs no more than numpy,
msgspec and an engine there.

It prints a line of JSON, `Report`, as soon as it knows more: who it is, that the model is
loaded, that all is answered. The last one counts, and says how far a child came that was killed.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from lineside.errors import EngineError, LinesideError
from lineside.runtime import Engine, installed_engines, open_engine
from lineside.runtime.child import last_line, signal_name
from lineside.runtime.engine import Tensor

ANSWER_SECONDS: Final = 600.0
"""How long the child may take, in seconds: hundreds of images, perhaps under an emulator."""

SAID_BYTES: Final = 1 << 20
"""How much of what the child said is looked at: the end, in bytes."""


class Report(Struct, frozen=True, kw_only=True):
    """What the child knows so far."""

    runtime: str
    """The engine's name, a key of `lineside.runtime.ENGINES`."""
    version: str
    """The engine's."""
    arch: str
    """The processor, such as `x86_64` or `aarch64`."""
    python: str
    """Its version, such as `3.11.2`."""
    xnnpack: bool | None = None
    """Whether XNNPACK runs the model, or part of it; None until the model is loaded."""
    invoke_ms_p50: float | None = None
    """Median time of one inference, in milliseconds; None until all is answered."""
    error: str | None = None
    """Why there is no answer, in one line."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a runtime did with a model.

    Attributes:
        report: which runtime it is, and how far it came; `report.error` says why not further.
        values: float64, n x values: the first output's stored (not dequantized) values for each
            tensor; None where `report.error` says why.
    """

    report: Report
    values: npt.NDArray[np.float64] | None

    @property
    def loads(self) -> bool:
        """Whether the model could be loaded."""
        return self.report.xnnpack is not None


def ask(
    model: bytes,
    tensors: Tensor,
    *,
    command: Sequence[str] | None = None,
    runtime: str | None = None,
    xnnpack: bool = True,
    threads: int = 1,
    timeout: float = ANSWER_SECONDS,
) -> Answers:
    """Ask a runtime what a model answers, in a process of its own.

    Args:
        model: the bytes of a .tflite file.
        tensors: n inputs of the model's dtype and shape; the batch dimension may be left out.
        command: what starts the Python in which lineside is installed, such as
            `["/opt/old/bin/python"]`, perhaps behind an emulator; this Python if None.
        runtime: a name in `lineside.runtime.ENGINES`; the best one installed there if None.
        xnnpack: False runs it as a device does that has no XNNPACK.
        threads: how many CPU threads one inference may use.
        timeout: seconds for everything.

    Returns:
        The answers; where the model was refused, killed the process or hung, why.

    Raises:
        EngineError: nobody could be asked: the command does not start a Python with this version
            of lineside and the runtime.
    """
    with tempfile.TemporaryDirectory(prefix="lineside-answers-") as work:
        folder = Path(work)
        (folder / "model.tflite").write_bytes(model)
        np.save(folder / "tensors.npy", tensors, allow_pickle=False)
        files = [str(folder / name) for name in ("model.tflite", "tensors.npy", "out.npy")]
        asked = [*(command or [sys.executable]), "-m", __name__, *files]
        asked += ["--threads", str(threads)]
        asked += ["--runtime", runtime] if runtime is not None else []
        asked += [] if xnnpack else ["--no-xnnpack"]
        returncode = _run(asked, folder, timeout, own=command is None)
        return _read(asked[0], folder, returncode, timeout, len(tensors))


def _run(command: list[str], folder: Path, timeout: float, *, own: bool) -> int | None:
    """Run the child to its end; None if it had to be ended.

    Raises:
        EngineError: it can't be started.
    """
    # Another Python's modules are not for it; what this one was told holds for its like.
    env = {k: v for k, v in os.environ.items() if own or k not in {"PYTHONPATH", "PYTHONHOME"}}
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=env,
                cwd="/",  # `-m` imports from the current folder, which may hold anyone's numpy.py
                start_new_session=True,
            )
        except OSError as error:
            msg = f"{command[0]} can't be started: {error.strerror}"
            raise EngineError(msg) from error
        try:
            return child.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if child.returncode is None:
                os.killpg(child.pid, signal.SIGKILL)  # with whatever an emulator started
                child.wait()


def _read(
    command: str, folder: Path, returncode: int | None, timeout: float, count: int
) -> Answers:
    """What the child left, and what its end means.

    Raises:
        EngineError: it never said which runtime it is.
    """
    lines = _tail(folder / "stdout").splitlines()
    reports = [report for line in lines if (report := _decode(line)) is not None]
    last = last_line(_tail(folder / "stderr").decode("utf-8", "replace"))
    if not reports or not reports[-1].runtime:
        silent = "it said nothing" if returncode is not None else f"no word within {timeout:g} s"
        said = (reports[-1].error if reports else None) or last or silent
        msg = (
            f"{command} can't be asked for a model's answers: {said}; a Python is expected in "
            "which lineside and a runtime are installed"
        )
        raise EngineError(msg)
    report, values = reports[-1], None
    end = _end(returncode, last, timeout)
    if report.error is None and end is None:
        values = _values(folder / "out.npy", count)
        end = "left no answers that can be read" if values is None else None
    if end is not None:
        report = msgspec.structs.replace(report, error=f"the model {end}")
    return Answers(report, values)


def _end(returncode: int | None, last: str, timeout: float) -> str | None:
    """What the model did to its process; None if that ended well."""
    if returncode == 0:
        return None
    if returncode is None:
        return f"did not answer within {timeout:g} s"
    killed = signal_name(returncode)
    what = f"killed its process ({killed})" if killed else f"ended its process with {returncode}"
    return what + (f": {last}" if last else "")


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - SAID_BYTES))
        return file.read()


def _decode(line: bytes) -> Report | None:
    """A line as a report; None for what the runtime or its surroundings say."""
    try:
        return msgspec.json.decode(line, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _values(path: Path, count: int) -> npt.NDArray[np.float64] | None:
    """The answers in a file of the child; None if these are not `count` rows of numbers."""
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    usable = values.dtype == np.float64 and values.ndim == 2 and len(values) == count
    return values if usable else None


# ---- the child


def _say(report: Report) -> None:
    # The engine's own lines may be on stdout too, without an end.
    sys.stdout.buffer.write(b"\n" + msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


def _introduce(runtime: str | None) -> Report:
    """Who is asked; with an error and no name if the runtime is not installed."""
    usable = [name for name in installed_engines() if runtime in {None, name}]
    name = usable[0] if usable else ""
    return Report(
        runtime=name,
        version=version(name) if name else "",
        arch=platform.machine(),
        python=platform.python_version(),
        error=None if name else f"{runtime or 'no runtime'} is not installed there",
    )


def _answer(engine: Engine, tensors: Tensor) -> tuple[npt.NDArray[np.float64], float]:
    """The first output for each tensor, n x values, and the median milliseconds of one.

    Raises:
        EngineError: the engine fails.
    """
    rows, times = [], []
    for tensor in tensors:
        start = time.perf_counter_ns()
        outputs = engine.invoke(tensor)
        times.append((time.perf_counter_ns() - start) / 1e6)
        rows.append(np.asarray(outputs[0], np.float64).reshape(-1))
    return np.stack(rows), statistics.median(times)


def main() -> None:
    """The child: load the model, ask it, write what it answers."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}")
    parser.add_argument("model", type=Path)
    parser.add_argument("tensors", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runtime")
    parser.add_argument("--no-xnnpack", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected, its dump is not
    report = _introduce(args.runtime)
    _say(report)
    if report.error is not None:
        return
    tensors = np.load(args.tensors, allow_pickle=False)
    try:
        engine = open_engine(
            args.model.read_bytes(),
            threads=args.threads,
            runtime=report.runtime,
            xnnpack=not args.no_xnnpack,
        )
        report = msgspec.structs.replace(report, xnnpack=engine.xnnpack)
        _say(report)
        values, milliseconds = _answer(engine, tensors)
    except LinesideError as error:
        _say(msgspec.structs.replace(report, error=str(error)))
        return
    np.save(args.out, values, allow_pickle=False)
    _say(msgspec.structs.replace(report, invoke_ms_p50=milliseconds))


if __name__ == "__main__":
    main()
