"""`lineside verify`, as a user types it, on a real bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lineside.bundle import open_bundle, zip_bundle
from lineside.errors import BundleError, EngineError
from lineside.keys import KeyPair, new_key_pair
from lineside.runtime.trial import load_bundle, try_bundle
from tests.support.command import lineside
from tests.support.signing import sign_by_hand


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return new_key_pair("plant", tmp_path_factory.mktemp("keys"))


@pytest.fixture
def folder(bundle_folder: Path, key: KeyPair, tmp_path: Path) -> Path:
    """A copy of the real bundle, signed."""
    folder = Path(shutil.copytree(bundle_folder, tmp_path / "cells"))
    sign_by_hand(folder, key)
    return folder


def spoil(folder: Path) -> None:
    data = bytearray((folder / "model.tflite").read_bytes())
    data[1000] ^= 1
    (folder / "model.tflite").write_bytes(data)


def test_a_signed_bundle(folder: Path, key: KeyPair, tmp_path: Path) -> None:
    done = lineside("verify", folder, "--trust", key.public)
    (line,) = done.stdout.splitlines()
    bundle = open_bundle(folder)
    what = f"{bundle.manifest.name} {bundle.manifest.version}, {len(bundle.files)} files"
    assert line == f"ok: {folder} ({what}) is signed by {key.fingerprint}"
    zip_bundle(folder, tmp_path / "cells.zip")
    said = lineside("verify", tmp_path / "cells.zip", "--trust", key.public, "--json").stdout
    assert json.loads(said) == {
        "bundle": str(tmp_path / "cells.zip"),
        "ok": True,
        "error": None,
        "signed_by": key.fingerprint,
        "name": bundle.manifest.name,
        "version": bundle.manifest.version,
        "digest": bundle.digest,
        "files": len(bundle.files),
    }


def test_a_changed_bundle(folder: Path, key: KeyPair) -> None:
    spoil(folder)
    done = lineside("verify", folder, "--trust", key.public, ok=False)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {folder} is refused: model.tflite was changed: sha256 ")
    done = lineside("verify", folder, "--trust", key.public, "--json", ok=False)
    said = json.loads(done.stdout)
    assert done.returncode == 1
    assert done.stderr == ""
    assert (said["ok"], said["signed_by"]) == (False, None)
    assert said["error"] == line.removeprefix("error: ")


def test_an_unsigned_bundle_and_no_key(bundle_folder: Path, key: KeyPair, tmp_path: Path) -> None:
    done = lineside("verify", bundle_folder, "--trust", key.public, ok=False)
    assert "it is not signed, signature.json is expected since a key is trusted" in done.stderr
    done = lineside("verify", bundle_folder, "--trust", tmp_path / "none.pem", ok=False)
    assert f"error: {tmp_path}/none.pem can't be read: No such file" in done.stderr
    assert lineside("verify", bundle_folder, ok=False).returncode == 2


def test_inspect_trusts(folder: Path, key: KeyPair) -> None:
    image = folder / "golden" / "000.png"
    said = lineside("inspect", folder, image, "--json", "--trust", key.public).stdout
    assert json.loads(said)["verdict"] in {"ok", "ng", "review"}
    (folder / "signature.json").unlink()
    done = lineside("inspect", folder, image, "--trust", key.public, ok=False)
    assert "it is not signed" in done.stderr


def test_the_child_checks_too(folder: Path, key: KeyPair) -> None:
    trust = key.public.read_bytes()
    trial = try_bundle(folder, trust=trust)
    inspector = load_bundle(folder, trust=trust)
    assert inspector.bundle.signed_by == key.fingerprint
    assert inspector.bundle.digest == trial.digest
    (folder / "signature.json").unlink()
    assert try_bundle(folder).digest == trial.digest
    with pytest.raises(EngineError, match=r"cells is refused: it is not signed"):
        try_bundle(folder, trust=trust)
    with pytest.raises(BundleError, match=r"cells is refused: it is not signed"):
        load_bundle(folder, trust=trust)
