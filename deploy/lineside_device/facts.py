"""What a machine is. Stands alone: a workstation sends this file to a device before anything else.

Python 3.7 reads it, so that what is too old for all the rest can be refused by name.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

HOME = "/opt/lineside"
TEGRA = "/etc/nv_tegra_release"
POWER = "/var/lib/nvpmodel/status"


def facts(home: str = HOME) -> dict[str, Any]:
    """What is asked before a package is installed.

    Args:
        home: where releases go.

    Returns:
        Values that JSON can say.
    """
    library, version = platform.libc_ver()
    folder = Path(home)
    while not folder.is_dir():
        folder = folder.parent
    return {
        "root": os.geteuid() == 0,
        "machine": platform.machine(),
        "bits": 8 * struct.calcsize("P"),
        "python": ".".join(map(str, sys.version_info[:2])),
        "glibc": int(f"{version}.0".split(".")[1] or 0) if library == "glibc" else 0,
        "systemd": Path("/run/systemd/system").is_dir(),
        "home": home,
        "station": _station(home),
        "writable": not os.statvfs(folder).f_flag & os.ST_RDONLY,
        "free": shutil.disk_usage(folder).free,
        # Of a Jetson: the major version of its Linux for Tegra (36 is JetPack 6), and nvpmodel's.
        "l4t": number_in(TEGRA, r"# R(\d+)"),
        "power_mode": number_in(POWER, r"pmode:(\d+)"),
    }


def _station(home: str) -> str | None:
    """Which station this is already: `SITE/STATION`."""
    try:
        told = json.loads(Path(home, "current", "package.json").read_text())
        return f"{told['site']}/{told['station']}"
    except (OSError, ValueError, LookupError):
        return None


def number_in(path: str, pattern: str) -> int | None:
    """The number that a pattern finds in a file; None: no such file, or not in it."""
    try:
        found = re.search(pattern, Path(path).read_text())
    except OSError:
        return None
    return int(found.group(1)) if found else None


if __name__ == "__main__":
    sys.stdout.write(json.dumps(facts()) + "\n")
