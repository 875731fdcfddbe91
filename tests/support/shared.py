"""The read-only companions of the checkout: photos and models that are no part of the repository.

They are looked for in `../shared` beside the repository, or where LINESIDE_SHARED says.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).parents[3] / "shared"


def shared(path: str) -> Path:
    """A file or a folder of them; the test is skipped, with the reason, where it is absent.

    Args:
        path: such as `models/works`.
    """
    found = Path(os.environ.get("LINESIDE_SHARED", _BESIDE)) / path
    if not found.exists():
        pytest.skip(f"{found} is not here; LINESIDE_SHARED names the folder that holds {path}")
    return found
