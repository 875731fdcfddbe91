"""Fixtures that several rooms share: real cells, a real run, a real bundle, made once a session.

LINESIDE_TEST_CELLS, LINESIDE_TEST_RUN and LINESIDE_TEST_BUNDLE name folders that are there
already: a device has no TensorFlow to make them (see `make test-device`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker import Mosquitto
from tests.support.cells import lay_out_cells
from tests.support.command import lineside


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Decoded photos are kept for the session, and not in the home of who runs the tests."""
    os.environ["LINESIDE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 solar cells, 120 for each label, as a folder for each label."""
    given = os.environ.get("LINESIDE_TEST_CELLS")
    if given:
        return Path(given)
    return lay_out_cells(tmp_path_factory.mktemp("cells") / "cells", each=120)


@pytest.fixture(scope="session")
def run_folder(cells: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CNN, trained on the cells."""
    given = os.environ.get("LINESIDE_TEST_RUN")
    if given:
        return Path(given)
    out = tmp_path_factory.mktemp("run") / "run"
    lineside("train", cells, "--out", out, "--image-size", 64, "--epochs", 6, "--seed", 0)
    return out


@pytest.fixture(scope="session")
def bundle_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle made of that run."""
    given = os.environ.get("LINESIDE_TEST_BUNDLE")
    if given:
        return Path(given)
    run_folder: Path = request.getfixturevalue("run_folder")
    out = tmp_path_factory.mktemp("bundle") / "bundle"
    lineside("convert", run_folder, "--out", out)
    return out


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that queues any number of messages for a slow subscriber."""
    with Mosquitto(tmp_path / "broker", "max_queued_messages 0") as mosquitto:
        yield mosquitto
