"""The child process that tries a bundle before anything else loads it.

A wrong model can kill the process that loads it, hang it, or silently compute something else.
So a child does it first: it opens the bundle, loads the model, runs the golden images and
prints one line of JSON. Whatever happens to it, the parent lives and says what it was.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from lineside.bundle import open_bundle
from lineside.errors import EngineError, LinesideError
from lineside.inspector import Inspector
from lineside.runtime.child import last_line, signal_name
from lineside.runtime.golden import run_golden

TRIAL_SECONDS: Final = 120.0
"""How long a trial may take, in seconds. A first start on a small device takes some of them."""


class Trial(Struct, frozen=True, kw_only=True):
    """What a bundle did when it was tried on this machine, in a child process."""

    digest: str
    """Of the bundle that was tried."""
    runtime: str
    version: str
    """The runtime's."""
    arch: str
    xnnpack: bool
    """Whether XNNPACK runs the model, or part of it."""
    golden: int
    """How many golden images were run, all with the answer that is expected."""
    worst_steps: float
    """The largest difference of an output among the golden PNGs."""
    invoke_ms_p50: float


class _Report(Struct, kw_only=True):
    """The line that the child prints."""

    trial: Trial | None = None
    error: str | None = None


def try_bundle(
    path: Path,
    *,
    threads: int = 1,
    runtime: str | None = None,
    timeout: float = TRIAL_SECONDS,
    trust: bytes | None = None,
) -> Trial:
    """Load a bundle in a child process and run its golden images.

    Args:
        path: the bundle, a folder or a zip file. Compare `Trial.digest` with the digest of what
            is used afterwards.
        threads: how many CPU threads one inference may use.
        runtime: which engine; the best one that is installed if None.
        timeout: seconds.
        trust: the PEM of a public key, which the child checks the signature with, too.

    Raises:
        EngineError: the child crashed, hung, or said what is wrong with the bundle: refused, not
            loaded, another verdict than expected, or outputs too many steps off.
    """
    command = [sys.executable, "-m", __name__, str(path.absolute()), "--threads", str(threads)]
    if runtime is not None:
        command += ["--runtime", runtime]
    if trust is not None:
        command += ["--trust"]
    try:
        done = subprocess.run(
            command,
            input=trust,
            capture_output=True,
            timeout=timeout,
            check=False,
            cwd="/",  # `-m` imports from the current folder, which may hold anyone's numpy.py
        )
    except subprocess.TimeoutExpired as error:
        msg = f"{path} is refused: its model did not answer within {timeout:g} s"
        raise EngineError(msg) from error
    last, killed = last_line(done.stderr.decode(errors="replace")), signal_name(done.returncode)
    if killed is not None:
        said = f": {last}" if last else ""
        msg = f"{path} is refused: its model killed the process that tried it ({killed}){said}"
        raise EngineError(msg)
    try:
        report = msgspec.json.decode(done.stdout.strip().rpartition(b"\n")[2], type=_Report)
    except msgspec.DecodeError as error:
        msg = f"{path} can't be tried: the child process ended with {done.returncode}: {last}"
        raise EngineError(msg) from error
    if report.trial is None:
        raise EngineError(report.error)
    return report.trial


def load_bundle(
    path: Path, *, threads: int = 1, runtime: str | None = None, trust: bytes | None = None
) -> Inspector:
    """Open a bundle for use: check it, try it in a child process, load it.

    Args:
        path: a folder or a zip file.
        threads: how many CPU threads one inference may use.
        runtime: which engine; the best one that is installed if None.
        trust: the PEM of a public key: a bundle that it did not sign is refused.

    Raises:
        BundleError: the bundle is refused.
        InputError: `trust` is no key that can be used.
        MissingExtraError: no engine is installed, or `cryptography` where a key is trusted.
        EngineError: its model can't be used on this machine.
    """
    bundle = open_bundle(path, trust=trust)
    trial = try_bundle(path, threads=threads, runtime=runtime, trust=trust)
    if trial.digest != bundle.digest:
        msg = f"{path} was replaced while it was tried: {bundle.digest} became {trial.digest}"
        raise EngineError(msg)
    return Inspector(bundle, threads=threads, runtime=runtime)


def _try(path: Path, threads: int, runtime: str | None, trust: bytes | None) -> Trial:
    """What the child does.

    Raises:
        LinesideError: whatever is wrong with the bundle.
    """
    inspector = Inspector(open_bundle(path, trust=trust), threads=threads, runtime=runtime)
    results = run_golden(inspector)
    failed = [result for result in results if not result.passed]
    if failed:
        engine = inspector.engine
        with_what = f"{engine.name} {engine.version}, {'with' if engine.xnnpack else 'no'} XNNPACK"
        msg = (
            f"{path} is refused: {len(failed)} of {len(results)} golden images fail "
            f"({with_what}). {failed[0]}"
        )
        raise EngineError(msg)
    return Trial(
        digest=inspector.bundle.digest,
        runtime=inspector.engine.name,
        version=inspector.engine.version,
        arch=platform.machine(),
        xnnpack=inspector.engine.xnnpack,
        golden=len(results),
        worst_steps=max((r.steps for r in results if r.file.endswith(".png")), default=0.0),
        invoke_ms_p50=statistics.median(r.invoke_ms for r in results),
    )


def main() -> None:
    """The child: try the bundle, print one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m lineside.runtime.trial")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runtime")
    parser.add_argument("--trust", action="store_true", help="the PEM of a key comes on stdin")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected, its dump is not
    try:
        trust = sys.stdin.buffer.read() if args.trust else None
        report = _Report(trial=_try(args.bundle, args.threads, args.runtime, trust))
    except LinesideError as error:
        text, path = str(error), str(args.bundle)
        report = _Report(error=text if path in text else f"{path} is refused: {text}")
    # The engine's own lines may be on stdout too: the report is the last one.
    sys.stdout.buffer.write(b"\n" + msgspec.json.encode(report) + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
