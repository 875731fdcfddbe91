"""Running the `lineside` command as a user would: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def lineside(
    *args: str | Path | float,
    ok: bool = True,
    env: dict[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run `lineside ARGS`.

    Args:
        args: the command line.
        ok: whether it must exit with 0; otherwise it must not, and without a traceback.
        env: variables to add.
        timeout: seconds.
    """
    done = subprocess.run(
        [sys.executable, "-m", "lineside", *map(str, args)],
        capture_output=True,
        text=True,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "160"} | (env or {}),
        timeout=timeout,
        check=False,
    )
    said = f"{done.args}\n{done.stdout}\n{done.stderr}"
    assert (done.returncode == 0) is ok, said
    assert ok or "Traceback" not in done.stderr, said
    return done
