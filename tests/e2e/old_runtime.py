"""Runs the conformance test of the engines with tflite-runtime, in an environment of its own.

    python tests/e2e/old_runtime.py

tflite-runtime is frozen since 2023: it wants numpy below 2 and Python up to 3.11.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.e2e.environments import ROOT, build_wheel, find_python, make, material, pip, say

TESTS = ("tests/lineside/runtime",)


def main() -> None:
    """Make the environment and run the tests."""
    python = find_python("3.11") or find_python("3.10")
    if python is None:
        say("skipped: tflite-runtime needs Python 3.10 or 3.11, and none was found")
        return
    inside = make("tflite-runtime", python, "tflite-runtime.txt", "test.txt")
    pip(inside, "--no-deps", "--no-index", str(build_wheel()))
    done = subprocess.run(
        [str(inside), "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS],
        cwd=ROOT,
        env=os.environ | material(),
        check=False,
    )
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
