"""A package, as it arrived: every file is checked before anything is believed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lineside_device.errors import RefusedError

FILE = "package.json"
SCHEMA = "lineside.package/1"
CREATED = "%Y-%m-%dT%H:%M:%SZ"
"""How `created` is written: UTC."""


@dataclass(frozen=True)
class Package:
    """A package that is whole.

    Attributes:
        folder: where it was unpacked.
        info: its package.json.
    """

    folder: Path
    info: dict[str, Any]

    @property
    def release(self) -> str:
        """The name of the release that it becomes."""
        return str(self.info["release"])

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(int(one["size"]) for one in self.info["files"].values())


def created(info: dict[str, Any]) -> datetime:
    """When a package was made, UTC.

    Args:
        info: its package.json.

    Raises:
        ValueError: it says no time.
    """
    return datetime.strptime(f"{info['created']}+0000", f"{CREATED}%z")


def open_package(folder: Path) -> Package:
    """Read a package that was unpacked, and compare each file with its hash.

    Raises:
        RefusedError: a file is missing, or is another one; or it is no package.
    """
    try:
        info = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{folder} is no package of lineside: {FILE} can't be read ({error})"
        raise RefusedError(msg) from error
    if not isinstance(info, dict) or info.get("schema") != SCHEMA:
        found = info.get("schema") if isinstance(info, dict) else type(info).__name__
        msg = f"{folder / FILE} has the schema {found!r}, {SCHEMA} is expected"
        raise RefusedError(msg)
    for name, record in info["files"].items():
        _check(folder, name, record)
    return Package(folder, info)


def _check(folder: Path, name: str, record: dict[str, Any]) -> None:
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        msg = f"{folder / FILE} lists {name!r}, which lies outside of it"
        raise RefusedError(msg)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        msg = f"the package is not whole: {name}: {error.strerror}; send it again"
        raise RefusedError(msg) from error
    if digest.hexdigest() != record["sha256"]:
        msg = f"the package is damaged: {name} has another hash than {FILE} says; send it again"
        raise RefusedError(msg)
