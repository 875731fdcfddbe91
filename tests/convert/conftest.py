"""What the converter's tests share: one TensorFlow that is started once, and networks for it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lineside.bundle import Bundle, open_bundle
from lineside.files import new_folder
from lineside.keys import KeyPair, new_key_pair
from lineside_convert.convert import convert
from lineside_convert.options import Options
from lineside_convert.source import open_source
from lineside_convert.workshop import Workshop
from tests.support.once import once

if TYPE_CHECKING:
    from tests.support.spoiling import Case

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Whoever prepares a model in it ends what was there before: so no test relies on that."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("tensorflow comes with the extra 'convert'")
    with Workshop(tmp_path_factory.mktemp("workshop")) as one:
        yield one


@pytest.fixture(scope="session")
def networks(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of Keras, made of the run's: see `tests.support.networks`."""
    with once(tmp_path_factory, "networks") as out:
        if not out.exists():
            with new_folder(out) as partial:
                words = ["-m", "tests.support.networks", str(run_folder), str(partial)]
                command = [sys.executable, *words]
                subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    return out


@pytest.fixture(scope="session")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cells' labels, in the order of the networks' outputs."""
    path = tmp_path_factory.mktemp("labels") / "labels.txt"
    path.write_text("defective\nfunctional\n")
    return path


@pytest.fixture(scope="session")
def chosen(
    run_folder: Path, workshop: Workshop, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, Path]:
    """The bundle that `auto` chose for the run, and the folder with all its candidates."""
    with once(tmp_path_factory, "chosen") as best:
        candidates = best.with_name("candidates")
        if not best.exists():
            options = Options(candidates=candidates, name="cells")
            convert(open_source(run_folder, options), best, options, workshop=workshop)
    return open_bundle(best), candidates


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[KeyPair, KeyPair]:
    folder = tmp_path_factory.mktemp("keys")
    return new_key_pair("plant", folder), new_key_pair("stranger", folder)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, pairs: tuple[KeyPair, KeyPair]) -> Path:
    from lineside_convert.signing import sign_folder
    from tests.support.signing import small_bundle

    folder = tmp_path_factory.mktemp("signed") / "caps"
    small_bundle(folder)
    sign_folder(folder, pairs[0].private)
    return folder


@pytest.fixture
def case(signed: Path, pairs: tuple[KeyPair, KeyPair], tmp_path: Path) -> Case:
    from tests.support.spoiling import Case

    return Case(Path(shutil.copytree(signed, tmp_path / "caps")), *pairs)
