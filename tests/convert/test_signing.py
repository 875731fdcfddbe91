"""Signing a bundle, and the key that signs it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lineside.bundle import open_bundle, write_bundle, zip_bundle
from lineside.errors import ConvertError, InputError, StorageError
from lineside.keys import KeyPair, new_key_pair
from lineside.signature import fingerprint
from tests.support.command import lineside
from tests.support.signers import signing
from tests.support.signing import (
    files_of,
    pae,
    statement,
)
from tests.support.spoiling import Case, accepted_by_model_signing, link

PASSWORD = b"correct horse battery staple"


def test_a_real_bundle_from_key_to_verdict(bundle_folder: Path, tmp_path: Path) -> None:
    lineside("keys", "new", "plant", "--out", tmp_path)
    private, public = tmp_path / "plant.pem", tmp_path / "plant.pub.pem"
    folder = Path(shutil.copytree(bundle_folder, tmp_path / "cells"))
    found = signing.sign_folder(folder, private, signing.check_private_key(private))
    assert found in lineside("verify", folder, "--trust", public).stdout
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder)]
    command += ["--public_key", str(public), "--signature", str(folder / "signature.json")]
    subprocess.run(command, check=True, capture_output=True)
    image = folder / "golden" / "000.png"
    said = lineside("inspect", folder, image, "--trust", public, "--json").stdout
    golden = open_bundle(folder).manifest.golden[0]
    assert (golden.file, json.loads(said)["verdict"]) == ("golden/000.png", golden.verdict)


def test_a_bundle_is_written_signed_or_not_at_all(case: Case, tmp_path: Path) -> None:
    bundle = open_bundle(case.folder)
    files = {n: d for n, d in bundle.files.items() if n not in {"manifest.json", "signature.json"}}
    seen: list[set[str]] = []

    def sign(folder: Path) -> None:
        seen.append({file.name for file in folder.iterdir()})
        assert not (tmp_path / "new").exists()
        signing.sign_folder(folder, case.key.private)

    written = write_bundle(tmp_path / "new", bundle.manifest, files, sign=sign)
    assert seen == [{"manifest.json", "model.tflite", "report.html", "golden"}]
    opened = open_bundle(tmp_path / "new", trust=case.key.public.read_bytes())
    assert dict(written.files) == dict(opened.files)
    payload = json.loads((tmp_path / "new" / "signature.json").read_text())["dsseEnvelope"]
    subject = json.loads(base64.b64decode(payload["payload"]))["subject"][0]
    assert subject["name"] == "new"
    zip_bundle(tmp_path / "new", tmp_path / "new.zip")
    zipped = open_bundle(tmp_path / "new.zip", trust=case.key.public.read_bytes())
    assert dict(zipped.files) == dict(opened.files)

    case.key.private.with_name("gone.pem").unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"gone.pem can't be read: No such file"):
        write_bundle(
            tmp_path / "never",
            bundle.manifest,
            files,
            sign=lambda folder: signing.sign_folder(folder, case.key.private.with_name("gone.pem")),
        )
    with pytest.raises(StorageError, match=r"never: No such file"):
        write_bundle(tmp_path / "never", bundle.manifest, files, sign=lambda _: None)
    assert [path.name for path in tmp_path.iterdir() if "never" in path.name] == []


def test_a_folder_with_a_link_is_not_signed(case: Case) -> None:
    link("model.tflite")(case)
    with pytest.raises(ConvertError, match=r"caps can't be signed: .*symlink"):
        signing.sign_folder(case.folder, case.key.private)


def test_it_is_signed_over_the_encoding_of_the_text(case: Case) -> None:
    """What this test's own encoding gives is what model-signing signed."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256

    from lineside.keys import load_private_key

    found = json.loads(case.signature.read_text())["dsseEnvelope"]
    payload = base64.b64decode(found["payload"])
    key = load_private_key(case.key.private).public_key()
    assert fingerprint(key) == case.key.fingerprint
    key.verify(base64.b64decode(found["signatures"][0]["sig"]), pae(payload), ec.ECDSA(SHA256()))
    assert json.loads(payload)["predicate"] == statement(files_of(case.folder))["predicate"]


# ---- the key, before the long work


@pytest.fixture
def locked(tmp_path: Path) -> KeyPair:
    return new_key_pair("locked", tmp_path, PASSWORD)


def test_a_key_without_a_password(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    assert signing.check_private_key(case.key.private) is None
    monkeypatch.setenv("LINESIDE_KEY_PASSWORD", "meant for another key")
    assert signing.check_private_key(case.key.private) is None
    assert signing.sign_folder(case.folder, case.key.private) == case.key.fingerprint


def test_a_key_with_a_password(
    case: Case, locked: KeyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"locked.pem is encrypted: .* LINESIDE_KEY_PASSWORD$"):
        signing.check_private_key(locked.private)
    with pytest.raises(InputError, match=r"locked.pem is encrypted: .* LINESIDE_KEY_PASSWORD$"):
        signing.sign_folder(case.folder, locked.private)
    monkeypatch.setenv("LINESIDE_KEY_PASSWORD", "wrong")
    with pytest.raises(InputError, match=r"locked.pem can't be used: the password is wrong$"):
        signing.check_private_key(locked.private)
    (tmp_path / "password").write_bytes(PASSWORD + b"\n")
    found = signing.check_private_key(locked.private, password_file=tmp_path / "password")
    assert found == PASSWORD
    monkeypatch.setenv("LINESIDE_KEY_PASSWORD", PASSWORD.decode())
    assert signing.check_private_key(locked.private) == PASSWORD
    assert signing.sign_folder(case.folder, locked.private, PASSWORD) == locked.fingerprint
    assert accepted_by_model_signing(case.folder, locked.public)
    assert open_bundle(case.folder, trust=locked.public.read_bytes()).signed_by


def test_keys_that_can_not_sign(case: Case, locked: KeyPair, tmp_path: Path) -> None:
    locked.private.chmod(0o640)
    with pytest.raises(InputError, match=r"others can read this private key \(mode 640\): chmod 6"):
        signing.check_private_key(locked.private)
    with pytest.raises(InputError, match=r"nothing.pem can't be read: No such file"):
        signing.check_private_key(tmp_path / "nothing.pem")
    for name, data in (
        ("empty", b""),
        ("cut", case.key.private.read_bytes()[:100]),
        ("bytes", bytes(range(256))),
    ):
        path = tmp_path / f"{name}.pem"
        path.write_bytes(data)
        path.chmod(0o600)
        with pytest.raises(InputError, match=rf"{name}.pem can't be used: no private key in PEM$"):
            signing.check_private_key(path)
    with pytest.raises(InputError, match=r"is a public key: to sign with, the private one is exp"):
        signing.check_private_key(case.key.public)
    (tmp_path / "large.pem").write_bytes(b"x" * 100_000)
    with pytest.raises(InputError, match=r"large.pem is refused: it has more than 65,536 bytes$"):
        signing.check_private_key(tmp_path / "large.pem")
