"""docs/benchmarks.md: each benchmark writes its own section and leaves the others."""

from __future__ import annotations

import os
import platform
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "benchmarks.md"
HEAD: Final = """\
# Benchmarks

Measured, each with the command that measures it again. The scripts in `bench/` write this page.
"""


def machine() -> str:
    """This machine in a line."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    model = re.search(r"model name\s*:\s*(.+)", text)
    name = model.group(1).strip() if model else platform.machine()
    return f"{os.cpu_count()} cores ({name}), Python {platform.python_version()}"


def write_section(key: str, title: str, command: str, body: str) -> None:
    """Put a section onto the page, in place of the one with the same key."""
    start, end = f"<!-- {key} -->\n", f"<!-- end of {key} -->\n"
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    section = f"{start}## {title}\n\n`{command}`, {when}, {machine()}.\n\n{body.rstrip()}\n{end}"
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else HEAD
    if start in page:
        before, _, rest = page.partition(start)
        page = before + section + rest.partition(end)[2]
    else:
        page = page.rstrip() + "\n\n" + section
    PAGE.write_text(page, encoding="utf-8")
