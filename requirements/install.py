"""Makes a virtual environment with pinned packages and this checkout in it.

    python3 requirements/install.py .venv requirements/development.txt

Needs nothing but Python. Where Debian keeps `venv` in a package of its own, it is installed if
that is allowed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path


def need_venv() -> None:
    """Install Debian's venv package if Python lacks it and we may."""
    if importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv"):
        return
    package = f"python3.{sys.version_info.minor}-venv"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(f"this Python has no venv: sudo apt-get install {package}, then run it again")
    subprocess.run(["apt-get", "update", "-qq"], check=True)  # noqa: S607 - the system's own
    subprocess.run(["apt-get", "install", "-y", "-qq", package], check=True)  # noqa: S607


def main() -> None:
    """Make it, or bring it up to date."""
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        found = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"Python 3.10 to 3.13 is needed, this is {found}: make PYTHON=python3.12 …")
    folder, requirements = Path(sys.argv[1]), sys.argv[2]
    python = folder / "bin" / "python"
    if not python.exists():
        need_venv()
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    print(
        f"installing {requirements} into {folder}; the first time takes a few minutes", flush=True
    )
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--require-hashes", "-r", requirements], check=True)
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--editable", "."], check=True)


if __name__ == "__main__":
    main()
