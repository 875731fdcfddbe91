"""Verification on the device: what is parsed when, and that nothing but a refusal comes out.

That it agrees with `model-signing` is in tests/convert/test_signing.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lineside.bundle import open_bundle
from lineside.errors import BundleError, InputError
from lineside.keys import KeyPair, new_key_pair
from lineside.signature import MAX_SIGNATURE_BYTES, load_public_key, verify_files
from tests.support.program import program
from tests.support.signing import envelope, files_of, sign_by_hand, small_bundle, statement


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return new_key_pair("plant", tmp_path_factory.mktemp("keys"))


@pytest.fixture
def folder(key: KeyPair, tmp_path: Path) -> Path:
    folder = tmp_path / "caps"
    small_bundle(folder)
    sign_by_hand(folder, key)
    return folder


FILES = {"a.json": b"a", "golden/b.png": b"b"}


def signed(key: KeyPair) -> bytes:
    return json.dumps(envelope(statement(FILES), key)).encode()


def test_the_files_are_all_that_is_looked_at(key: KeyPair) -> None:
    pem, signature = key.public.read_bytes(), signed(key)
    assert verify_files(FILES, signature, pem) == key.fingerprint
    assert verify_files(FILES | {"signature.json": signature}, signature, pem) == key.fingerprint
    with pytest.raises(BundleError, match=r"^c.json is not signed, 2 other files are$"):
        verify_files(FILES | {"c.json": b""}, signature, pem)


def test_without_trust_a_signature_is_not_looked_at(folder: Path) -> None:
    (folder / "signature.json").write_text("anything")
    assert open_bundle(folder).signed_by is None


def test_the_manifest_is_not_parsed_before_the_signature_holds(folder: Path, key: KeyPair) -> None:
    pem = key.public.read_bytes()
    (folder / "manifest.json").write_text("no JSON")
    with pytest.raises(BundleError, match=r"manifest.json was changed: sha256 \w{64} was signed"):
        open_bundle(folder, trust=pem)
    sign_by_hand(folder, key)
    with pytest.raises(BundleError, match=r"manifest.json is refused: JSON is malformed"):
        open_bundle(folder, trust=pem)
    (folder / "manifest.json").unlink()
    sign_by_hand(folder, key)
    with pytest.raises(BundleError, match=r"manifest.json is missing from its top level"):
        open_bundle(folder, trust=pem)


def test_every_truncation_is_refused(key: KeyPair) -> None:
    pem, signature = key.public.read_bytes(), signed(key)
    for length in range(len(signature)):
        with pytest.raises(BundleError, match=r"^signature.json is no signature of OpenSSF"):
            verify_files(FILES, signature[:length], pem)


def test_a_signature_that_is_too_large_is_not_parsed(key: KeyPair) -> None:
    large = signed(key) + b" " * MAX_SIGNATURE_BYTES
    with pytest.raises(BundleError, match=rf"bytes, at most {MAX_SIGNATURE_BYTES} are allowed$"):
        verify_files(FILES, large, key.public.read_bytes())


def test_as_many_files_as_a_bundle_may_hold_can_be_signed(key: KeyPair) -> None:
    names = [f"golden/{number:093}.png"[-100:] for number in range(1024)]
    files = {name: name.encode() for name in names}
    payload = json.dumps(statement(files), indent=4).encode()
    made = json.dumps(envelope(payload, key)).encode()
    assert len(made) < MAX_SIGNATURE_BYTES
    assert verify_files(files, made, key.public.read_bytes()) == key.fingerprint


@pytest.mark.parametrize(
    ("pem", "message"),
    [
        (b"", r"no public key in PEM"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", r"no public key in PEM"),
        (bytes(range(256)), r"no public key in PEM"),
        (b"-----BEGIN EC PRIVATE KEY-----\n", r"a private key was given to trust: give its .pub"),
    ],
)
def test_what_is_no_public_key_is_not_trusted(pem: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_public_key(pem)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (("-algorithm", "ED25519"), "Ed25519PublicKey"),
        (("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"), "RSAPublicKey"),
        (("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"), "secp256k1"),
    ],
)
def test_keys_of_other_kinds_are_not_trusted(
    make: tuple[str, ...], found: str, tmp_path: Path
) -> None:
    openssl = program("openssl", "openssl")
    private = tmp_path / "key.pem"
    subprocess.run([openssl, "genpkey", *make, "-out", private], check=True, capture_output=True)
    command = [openssl, "pkey", "-in", private, "-pubout"]
    pem = subprocess.run(command, check=True, capture_output=True).stdout
    with pytest.raises(InputError, match=f"P-256 is expected, got {found}"):
        load_public_key(pem)


def test_without_cryptography_it_says_what_to_install(folder: Path, key: KeyPair) -> None:
    code = (
        "import sys; sys.modules['cryptography.hazmat.primitives.serialization'] = None\n"
        "import lineside.cli; lineside.cli.main()"
    )
    command = [sys.executable, "-c", code, "verify", folder, "--trust", key.public]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 1
    assert "pip install 'lineside[signing]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_opening_without_trust_imports_no_cryptography(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from lineside.bundle import open_bundle\n"
        f"open_bundle(Path({str(folder)!r})); sys.exit('cryptography' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_files_of_a_folder_are_what_a_bundle_holds(folder: Path) -> None:
    opened = dict(open_bundle(folder).files)
    del opened["signature.json"]
    assert files_of(folder) == opened
