"""Virtual environments of other Pythons, for the tests that prove an installation."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build"


def say(text: str) -> None:
    """A line on stderr, at once."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - a script talks


def find_python(wanted: str) -> str | None:
    """The interpreter for a path or a version such as `3.10`; None if there is none."""
    if "/" in wanted:
        return str(ROOT / wanted)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for found in sorted(pyenv.glob(f"{wanted}.*/bin/python")):
        return str(found)
    return shutil.which(f"python{wanted}")


def make(name: str, python: str, *requirements: str) -> Path:
    """An empty environment under build/ with pinned packages in it; returns its python."""
    folder = BUILD / name
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    inside = folder / "bin" / "python"
    for file in requirements:
        pip(inside, "--require-hashes", "-r", str(ROOT / "requirements" / file))
    return inside


def pip(python: Path, *args: str) -> None:
    """`pip install ARGS` inside an environment."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *args]
    subprocess.run(command, check=True)


def build_wheel() -> Path:
    """lineside's own wheel, built from this checkout."""
    out = BUILD / f"wheel-{os.getpid()}"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    command += ["--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(ROOT)]
    subprocess.run(command, check=True)
    return next(out.glob("lineside-*.whl"))


def material() -> dict[str, str]:
    """Cells, a run and a bundle made on this workstation, named in variables for tests/conftest."""
    from tests.support.cells import lay_out_cells
    from tests.support.command import lineside

    folder = BUILD / "material"
    cells, run, bundle = folder / "cells", folder / "run", folder / "bundle"
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "material.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two proofs go side by side
        if not bundle.is_dir():
            shutil.rmtree(folder, ignore_errors=True)
            start = time.monotonic()
            lay_out_cells(cells, each=120)
            lineside("train", cells, "--out", run, "--image-size", 64, "--epochs", 6, "--seed", 0)
            lineside("convert", run, "--out", bundle)
            say(f"made a bundle to test with in {time.monotonic() - start:.0f} s")
    return {
        "LINESIDE_TEST_CELLS": str(cells),
        "LINESIDE_TEST_RUN": str(run),
        "LINESIDE_TEST_BUNDLE": str(bundle),
    }
