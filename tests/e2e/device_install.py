"""Proves the device install: an empty environment, `lineside[agent]`, and the agent's tests in it.

    python tests/e2e/device_install.py --python 3.11

No TensorFlow, no Keras, less than 400 MB, and the tests of the agent pass.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.e2e.environments import ROOT, build_wheel, find_python, make, material, pip, say

LIMIT_MB = 400
FORBIDDEN = ("tensorflow", "keras", "jax", "torch", "sklearn", "matplotlib")
TESTS = (
    "tests/edge_agent",
    "tests/lineside/runtime",
    "tests/lineside/mqtt",
    "tests/lineside/test_signature.py",
    "tests/lineside/test_verify.py",
)


def main() -> None:
    """Make the environment, measure it, run the tests."""
    parser = argparse.ArgumentParser(description="the agent as a device installs it")
    parser.add_argument("--python", required=True, help="a version such as 3.10, or a path")
    wanted = parser.parse_args().python
    python = find_python(wanted)
    if python is None:
        sys.exit(f"Python {wanted} was not found: install it, or name one with --python")
    inside = make(f"device-{wanted.replace('/', '_')}", python)
    before = size_mb(inside.parent.parent)
    pip(inside, "--require-hashes", "-r", str(ROOT / "requirements" / "device.txt"))
    # Nothing more may be asked for than what is pinned: no index here.
    pip(inside, "--no-index", f"{build_wheel()}[agent]")
    taken = size_mb(inside.parent.parent) - before
    check_modules(inside)
    say(f"{python}: lineside[agent] takes {taken:.0f} MB, without TensorFlow and Keras")
    if taken > LIMIT_MB:
        sys.exit(f"lineside[agent] takes {taken:.0f} MB, more than {LIMIT_MB}")
    pip(inside, "--require-hashes", "-r", str(ROOT / "requirements" / "test.txt"))
    done = subprocess.run(
        [str(inside), "-m", "pytest", "-q", "-n", "3", "-p", "no:cacheprovider", *TESTS],
        cwd=ROOT,
        env=os.environ | material(),
        check=False,
    )
    sys.exit(done.returncode)


def check_modules(python: Path) -> None:
    """No package of the workstation is there."""
    code = (
        "import importlib.util, sys; "
        f"sys.exit(' '.join(m for m in {FORBIDDEN!r} if importlib.util.find_spec(m)) or 0)"
    )
    subprocess.run([str(python), "-c", code], check=True)


def size_mb(folder: Path) -> float:
    """What a folder takes, in 1,000,000 bytes."""
    files = (file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    return sum(file.stat().st_size for file in files) / 1e6


if __name__ == "__main__":
    main()
