"""What is refused before a package is made, and long before anything is sent."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command import lineside
from tests.support.configuration import CONFIGURATION


@pytest.fixture
def station(tmp_path: Path, bundle_folder: Path) -> Path:
    """A configuration that could be packed."""
    shutil.copytree(bundle_folder, tmp_path / "bundle")
    config = tmp_path / "station.toml"
    config.write_text(CONFIGURATION)
    return config


def pack(config: Path, **env: str) -> str:
    """What the error is; nothing was made."""
    out = config.parent / "out"
    out.mkdir()
    words = ("--config", config, "--target", "rpi-trixie", "--out", out / "package.tar")
    done = lineside("deploy", "pack", *words, ok=False, env=env)
    assert not list(out.iterdir())
    assert done.stderr.count("\n") == 1
    return done.stderr


def change(old: str, new: str) -> Callable[[Path], None]:
    def changed(config: Path) -> None:
        text = config.read_text()
        assert old in text
        config.write_text(text.replace(old, new))

    return changed


def damage(config: Path) -> None:
    with (config.parent / "bundle/model.tflite").open("ab") as file:
        file.write(b"x")


def trust(config: Path) -> None:
    lineside("keys", "new", "plant", "--out", config.parent / "keys")
    change('bundle = "bundle"', 'bundle = "bundle"\ntrust = "keys/plant.pub.pem"')(config)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (change("site", "sit"), "station.toml: unknown key 'sit' in station, did you mean 'site'?"),
        (change('"bundle"', '"gone"'), "gone is no bundle: a folder or a .zip written by 'lin"),
        (damage, "bundle is refused: model.tflite: "),
        (trust, "bundle is refused: it is not signed, signature.json is expected since a key is"),
        (change("[[camera]]", "x = 1\n[[camera]]"), "station.toml: unknown key 'x' in model[0]"),
    ],
)
def test_what_a_station_would_refuse(
    station: Path, spoil: Callable[[Path], None], why: str
) -> None:
    spoil(station)
    assert why in pack(station)


def test_a_workstation_that_reaches_no_package_index(station: Path) -> None:
    said = pack(station, PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="0")
    assert said.startswith("error: pip download failed: ")
    assert "is a package index within reach?" in said
