"""A training in a process of its own, to be killed, stopped or frozen in its middle."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lineside_train.fitting.checkpoint import FILE
from lineside_train.unfinished import unfinished_folder


@contextmanager
def training(
    cells: Path,
    out: Path,
    options: Mapping[str, object],
    *words: object,
    state: str = FILE,
    within_s: float = 90.0,
) -> Iterator[subprocess.Popen[str]]:
    """Run `lineside train` until it has kept its state once; it is killed at the end.

    Args:
        cells: the photos.
        out: the run folder.
        options: names, as `TrainOptions` has them, and values.
        words: more of the command line.
        state: which file is waited for, below the folder of what is unfinished.
        within_s: seconds that this may take.
    """
    command = [sys.executable, "-m", "lineside", "train", cells, "--out", out, *words]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", value]
    with subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            deadline = time.monotonic() + within_s
            while not (unfinished_folder(out) / state).exists():
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield process
        finally:
            process.kill()
