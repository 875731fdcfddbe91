"""How long does it take to convert the demo's model with static_wi8_ai8?

    python bench/convert_time.py RUN

RUN is what `make demo` left, such as lineside-demo/run. The bundle is thrown away.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.page import write_section

REPEATS: Final = 5


def seconds(run: Path, out: Path) -> float:
    """How long the whole command takes, in seconds: start, conversion, checks, report, trial."""
    began = time.monotonic()
    command = [sys.executable, "-m", "lineside", "convert", run, "--out", out]
    subprocess.run([*command, "--scheme", "static_wi8_ai8"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def main() -> None:
    """Measure, and write the section."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    run = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        took = [seconds(run, Path(folder) / str(number)) for number in range(REPEATS)]
    body = (
        f"{statistics.median(took):.1f} s in the middle of {REPEATS}, {min(took):.1f} to "
        f"{max(took):.1f} s: the whole command, from its start to the bundle that was tried."
    )
    title = "Converting the demo's model with `static_wi8_ai8`"
    write_section("convert-time", title, "python bench/convert_time.py RUN", body)


if __name__ == "__main__":
    main()
