"""What must be the same on all machines that share a training."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any, Final

import lineside

PACKAGES: Final = ("jax", "jaxlib", "keras", "numpy", "opencv-python-headless")

MAX_SHOWN: Final = 60
"""Characters of a value in a message."""


def installed() -> dict[str, str]:
    """The versions of what decides what is computed; nothing is loaded for it."""
    python = {"python": platform.python_version(), "lineside": lineside.__version__}
    return python | {package: _version(package) for package in PACKAGES}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def difference(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], us: str, them: str
) -> str | None:
    """What two machines don't have in common, as a line for people; None: they do.

    Args:
        ours: the first machine's facts.
        theirs: another one's.
        us: its name.
        them: the other one's.
    """
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            return (
                f"{key} is {_shown(theirs.get(key))} on {them} and {_shown(ours.get(key))} on "
                f"{us}: give all hosts the same photos, options and versions"
            )
    return None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
