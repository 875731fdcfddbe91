"""What is slow to make, made once for all processes that run the tests at the same time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def common_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder of this session that its workers share."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def once(factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """The path of that name in the folder that is shared: made by whoever is first, others wait.

        with once(tmp_path_factory, "cells") as path:
            if not path.exists():
                …  # at its end, path is there, and whole

    Args:
        factory: of the session.
        name: of what is made; one for each thing.
    """
    path = common_folder(factory) / name
    with path.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path
