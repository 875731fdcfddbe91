"""Programs of the system that some tests need."""

from __future__ import annotations

import shutil

import pytest


def program(name: str, package: str) -> str:
    """The path of a program; the test is skipped where it is not installed.

    Args:
        name: of the program.
        package: Debian's package that holds it.
    """
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed: apt-get install {package}")
    return path
