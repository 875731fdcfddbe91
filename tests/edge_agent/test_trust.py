"""`trust` in a station's configuration: only what that key signed is run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lineside.keys import KeyPair, new_key_pair
from lineside.settings import read_settings
from lineside_agent.commands import Audit
from lineside_agent.models import Roster
from tests.support.bundles import edit_manifest
from tests.support.command import lineside
from tests.support.examples import BOOT
from tests.support.signing import sign_by_hand
from tests.support.station import write_config


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return new_key_pair("plant", tmp_path_factory.mktemp("keys"))


@pytest.fixture
def folder(bundle_folder: Path, key: KeyPair, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(bundle_folder, tmp_path / "cells"))
    sign_by_hand(folder, key)
    return folder


def station(tmp_path: Path, bundle: Path, trust: str | None) -> Path:
    """A station.toml, whose camera is the bundle's own golden images."""
    source = f"images:{bundle / 'golden'}"
    config = write_config(tmp_path, url="mqtt://127.0.0.1:1", bundle=bundle, source=source)
    if trust is not None:
        text = config.read_text()
        config.write_text(text.replace("[[camera]]", f'trust = "{trust}"\n[[camera]]'))
    return config


def test_check_says_by_whom_it_is_signed(folder: Path, key: KeyPair, tmp_path: Path) -> None:
    shutil.copy(key.public, tmp_path / "plant.pub.pem")
    for trust, expected in (
        ("plant.pub.pem", f"golden images pass, signed by {key.fingerprint}"),  # beside the file
        (None, "golden images pass, not checked who signed it: no trust is set"),
    ):
        config = station(tmp_path, folder, trust)
        done = lineside("agent", "check", config, "--no-broker")
        assert done.stdout.splitlines()[1].endswith(expected)
    (folder / "signature.json").unlink()
    done = lineside("agent", "check", config, "--no-broker")
    assert done.stdout.splitlines()[1].endswith("golden images pass, not signed")


def unsign(folder: Path) -> None:
    (folder / "signature.json").unlink()


def move_a_limit(folder: Path) -> None:
    edit_manifest(folder, lambda manifest: manifest["decision"]["limits"].update(ng=1.0))


def sign_by_a_stranger(folder: Path) -> None:
    sign_by_hand(folder, new_key_pair("stranger", folder.parent))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (unsign, "it is not signed, signature.json is expected since a key is trusted"),
        (move_a_limit, "manifest.json was changed: sha256"),
        (sign_by_a_stranger, "it was signed by the key"),
    ],
)
def test_the_agent_does_not_use_it(
    folder: Path, key: KeyPair, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(folder)
    config = station(tmp_path, folder, str(key.public))
    roster = Roster(read_settings(config), BOOT, lambda *_, **__: None, Audit(tmp_path / "a", BOOT))
    roster.begin()
    assert roster.reasons == ["no_model:cells"]
    assert [slot.vacant for slot in roster.slots.values()] == [True]
    done = lineside("agent", "check", config, "--no-broker", ok=False)
    assert message in next(line for line in done.stdout.splitlines() if "WRONG" in line)


def test_a_key_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    done = lineside("agent", "run", station(tmp_path, folder, "gone.pub.pem"), ok=False)
    assert f"error: {tmp_path}/gone.pub.pem can't be read: No such file" in done.stderr


def test_a_key_that_is_no_text_but_a_number(folder: Path, tmp_path: Path) -> None:
    config = station(tmp_path, folder, "x")
    config.write_text(config.read_text().replace('trust = "x"', "trust = 1"))
    done = lineside("agent", "run", config, ok=False)
    assert "model[0].trust: a text is expected, got 1" in done.stderr
