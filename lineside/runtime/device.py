"""What this machine is, for people."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def device_name() -> str:
    """The machine in words, such as `Raspberry Pi 5 Model B Rev 1.0, aarch64, 4 cores`."""
    model = _board() or _processor() or "unknown"
    return f"{model}, {platform.machine()}, {os.cpu_count() or 1} cores"


def _board() -> str:
    """What a single-board computer calls itself; empty on a PC."""
    try:
        return Path("/proc/device-tree/model").read_text(encoding="utf-8").strip("\0 \n")
    except (OSError, UnicodeDecodeError):
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return " ".join(next(names, "").split())
