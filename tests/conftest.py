"""Fixtures that several rooms share: real cells, a real run, a real bundle, made once a session.

LINESIDE_TEST_CELLS, LINESIDE_TEST_RUN and LINESIDE_TEST_BUNDLE name folders that are there
already: a device has no TensorFlow to make them (see `make test-device`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.files import new_folder
from tests.support.broker import Mosquitto
from tests.support.cells import lay_out_cells
from tests.support.command import lineside
from tests.support.once import common_folder, once

LONG_FIRST = ("e2e", "train", "faults", "convert", "deploy")
"""Folders whose files take longest: whoever runs several files at once waits for none of them in
the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put them first."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(here).parts[0]
        return LONG_FIRST.index(folder) if folder in LONG_FIRST else len(LONG_FIRST)

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Decoded photos and JAX's compiled steps are kept for the session, and not at home.

    JAX compiles for a few steps of small networks: once for all, and quickly rather than well.
    """
    common = common_folder(tmp_path_factory)
    os.environ["LINESIDE_CACHE"] = str(common / "cache")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(common / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 solar cells, 120 for each label, as a folder for each label."""
    given = os.environ.get("LINESIDE_TEST_CELLS")
    if given:
        return Path(given)
    with once(tmp_path_factory, "cells") as folder:
        if not folder.exists():
            with new_folder(folder) as partial:
                lay_out_cells(partial, each=120)
    return folder


@pytest.fixture(scope="session")
def run_folder(cells: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CNN, trained on the cells."""
    given = os.environ.get("LINESIDE_TEST_RUN")
    if given:
        return Path(given)
    with once(tmp_path_factory, "run") as out:
        if not out.exists():
            lineside("train", cells, "--out", out, "--image-size", 64, "--epochs", 6, "--seed", 0)
    return out


@pytest.fixture(scope="session")
def bundle_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle made of that run."""
    given = os.environ.get("LINESIDE_TEST_BUNDLE")
    if given:
        return Path(given)
    with once(tmp_path_factory, "bundle") as out:
        if not out.exists():
            lineside("convert", request.getfixturevalue("run_folder"), "--out", out)
    return out


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that queues any number of messages for a slow subscriber."""
    with Mosquitto(tmp_path / "broker", "max_queued_messages 0") as mosquitto:
        yield mosquitto
