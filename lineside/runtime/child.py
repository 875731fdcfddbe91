"""How a child process ended that a model was given to: words for its parent's error."""

from __future__ import annotations

import signal


def last_line(said: str) -> str:
    """The last line of `said` that is no mere note of the engine, at most 300 characters."""
    lines = [line.strip() for line in said.splitlines() if not line.startswith("INFO:")]
    return next((line for line in reversed(lines) if line), "")[:300]


def signal_name(returncode: int) -> str | None:
    """The signal that ended a process, such as `SIGSEGV`; None if it ended by itself.

    Args:
        returncode: as `subprocess` gives it: -N for signal N. 128 + N is what a shell or an
            emulator around the process makes of it.
    """
    number = -returncode if returncode < 0 else returncode - 128
    if number <= 0:
        return None
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
