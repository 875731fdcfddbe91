"""Runs the tests that need tflite-runtime, which gets an environment of its own.

    python tests/e2e/old_runtime.py

tflite-runtime is frozen since 2023: it wants numpy below 2 and Python up to 3.11. So the engines'
tests run in that environment, and those of what the converter finds out about other runtimes run
in this one, told where the other is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.e2e.environments import ROOT, build_wheel, find_python, make, material, pip, say

INSIDE = ("tests/lineside/runtime",)
ABOUT = ("tests/convert/test_compatibility.py",)


def main() -> None:
    """Make the environment and run the tests."""
    python = find_python("3.11") or find_python("3.10")
    if python is None:
        say("skipped: tflite-runtime needs Python 3.10 or 3.11, and none was found")
        return
    inside = make("tflite-runtime", python, "tflite-runtime.txt", "test.txt")
    pip(inside, "--no-deps", "--no-index", str(build_wheel()))
    env = os.environ | material() | {"LINESIDE_TFLITE_RUNTIME": str(inside)}
    for interpreter, tests in ((str(inside), INSIDE), (sys.executable, ABOUT)):
        command = [interpreter, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
        done = subprocess.run(command, cwd=ROOT, env=env, check=False)
        if done.returncode:
            sys.exit(done.returncode)


if __name__ == "__main__":
    main()
