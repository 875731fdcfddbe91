"""Where a bundle and the state of models are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support import models
from tests.support.roster import GREY, MEASURED, Station


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A station's folder with a small bundle, version 1.0.0."""
    models.plain(tmp_path / "cells", measured=MEASURED)
    (tmp_path / "bundles").mkdir()
    return tmp_path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after a first run of the agent: its bundle is the last good one."""
    folder = tmp_path_factory.mktemp("home") / "station"
    models.plain(folder / "cells", measured=MEASURED)
    (folder / "bundles").mkdir()
    with Station(folder, GREY) as station:
        station.proven()
    return folder


@pytest.fixture
def again(home: Path, tmp_path: Path) -> Path:
    """A copy of that, to be started again."""
    return Path(shutil.copytree(home, tmp_path / "station"))
