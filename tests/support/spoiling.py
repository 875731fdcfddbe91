"""A signed bundle, and the ways to spoil it or to sign it otherwise."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineside.bundle import open_bundle
from lineside.keys import KeyPair
from tests.support.signers import signing
from tests.support.signing import (
    envelope,
    files_of,
    small_bundle,
    statement,
)

Spoil = Callable[["Case"], object]
"""What is done to a case."""


@dataclass
class Case:
    """A signed bundle, to spoil, and two key pairs, of which the first signed it."""

    folder: Path
    key: KeyPair
    other: KeyPair

    @property
    def signature(self) -> Path:
        return self.folder / "signature.json"

    def edit(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change signature.json; the signature in it stays as it was."""
        made = json.loads(self.signature.read_text())
        change(made)
        self.signature.write_text(json.dumps(made))

    def sign(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Sign a changed statement with the right key."""
        signed = statement(files_of(self.folder))
        change(signed)
        self.signature.write_text(json.dumps(envelope(signed, self.key)))


def in_place(name: str, change: Callable[[bytes], bytes]) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        file = case.folder / name
        file.write_bytes(change(file.read_bytes()))

    return spoil


def flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def link(name: str) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        outside = case.folder.parent / "outside"
        (case.folder / name).rename(outside)
        (case.folder / name).symlink_to(outside)

    return spoil


def swap(case: Case) -> None:
    one, two = case.folder / "golden" / "000.png", case.folder / "golden" / "001.png"
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)


def change_manifest_alone(case: Case) -> None:
    """A limit is moved. The manifest can't hold its own hash, so only the signature tells."""
    file = case.folder / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["decision"]["limits"]["ng"] = 0.99
    file.write_text(json.dumps(manifest))
    assert open_bundle(case.folder).manifest.decision.limits.ng == 0.99


def change_model_and_manifest(case: Case) -> None:
    shutil.rmtree(case.folder / "golden")
    kept = case.signature.read_bytes()
    shutil.rmtree(case.folder)
    small_bundle(case.folder, model=b"a model of somebody else")
    case.signature.write_bytes(kept)


def sign_by_other(case: Case) -> None:
    signing.sign_folder(case.folder, case.other.private)


def claim_the_trusted_key(case: Case) -> None:
    sign_by_other(case)
    case.edit(lambda s: s["verificationMaterial"]["publicKey"].update(hint=case.key.fingerprint))


def sign_another_bundle(case: Case) -> None:
    another = case.folder.parent / "another"
    small_bundle(another, model=b"another model")
    signing.sign_folder(another, case.key.private)
    shutil.copy(another / "signature.json", case.signature)


def edit_payload(old: bytes, new: bytes) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        def change(made: dict[str, Any]) -> None:
            payload = base64.b64decode(made["dsseEnvelope"]["payload"])
            assert old in payload
            edited = payload.replace(old, new, 1)
            made["dsseEnvelope"]["payload"] = base64.b64encode(edited).decode()

        case.edit(change)

    return spoil


def edit_sig(change: Callable[[bytes], bytes]) -> Callable[[Case], None]:
    def edit(made: dict[str, Any]) -> None:
        only = made["dsseEnvelope"]["signatures"][0]
        only["sig"] = base64.b64encode(change(base64.b64decode(only["sig"]))).decode()

    return lambda case: case.edit(edit)


def add_signature(*, first: bool) -> Callable[[Case], None]:
    """A second signature, of another key over the same."""

    def spoil(case: Case) -> None:
        extra = envelope(statement(files_of(case.folder)), case.other)["dsseEnvelope"]["signatures"]
        case.edit(
            lambda s: s["dsseEnvelope"]["signatures"].insert(0 if first else 1, extra[0]),
        )

    return spoil


def signed_as(change: Callable[[dict[str, Any]], object]) -> Callable[[Case], None]:
    return lambda case: case.sign(change)


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Case], None]:
    return lambda case: case.edit(change)


def resource(signed: dict[str, Any], name: str) -> dict[str, Any]:
    found = signed["predicate"]["resources"]
    return next(entry for entry in found if entry["name"] == name)


def sign_a_subset(case: Case) -> None:
    files = files_of(case.folder)
    del files["model.tflite"]
    case.signature.write_text(json.dumps(envelope(statement(files), case.key)))


def leave_out(*names: str, then: Callable[[Case], None] | None = None) -> Callable[[Case], None]:
    """Sign with model-signing, told to leave something out."""

    def spoil(case: Case) -> None:
        from model_signing import hashing
        from model_signing import signing as theirs

        covered = hashing.Config().set_ignored_paths(paths=["signature.json", *names])
        config = theirs.Config().set_hashing_config(covered)
        config.use_elliptic_key_signer(private_key=case.key.private)
        config.sign(case.folder, case.signature)
        if then is not None:
            then(case)

    return spoil


def sign_otherwise(how: str, **options: str) -> Callable[[Case], None]:
    """Sign with model-signing by another hash, or by shards."""

    def spoil(case: Case) -> None:
        from model_signing import hashing
        from model_signing import signing as theirs

        covered = hashing.Config().set_ignored_paths(paths=["signature.json"])
        getattr(covered, how)(**options)
        config = theirs.Config().set_hashing_config(covered)
        config.use_elliptic_key_signer(private_key=case.key.private)
        config.sign(case.folder, case.signature)

    return spoil


def sign_without_leaving_itself_out(case: Case) -> None:
    case.signature.unlink()
    from model_signing import signing as theirs

    config = theirs.Config().use_elliptic_key_signer(private_key=case.key.private)
    config.sign(case.folder, case.signature)


def sign_by_command(case: Case) -> None:
    case.signature.unlink()
    command = [sys.executable, "-m", "model_signing", "sign", "key", str(case.folder)]
    command += ["--private_key", str(case.key.private), "--signature", str(case.signature)]
    subprocess.run(command, check=True, capture_output=True)


def as_before_1_0(signed: dict[str, Any]) -> None:
    signed["predicateType"] = "https://model_signing/Digests/v0.1"
    signed["subject"] = [
        {"name": entry["name"], "digest": {"sha256": entry["digest"]}}
        for entry in signed["predicate"]["resources"]
    ]


def pae_of_before_1_0(case: Case) -> None:
    payload = json.dumps(statement(files_of(case.folder))).encode()
    to_sign = f"DSSEV1 28 {'application/vnd.in-toto+json'} {len(payload)} {payload!r}".encode()
    case.signature.write_text(json.dumps(envelope(payload, case.key, to_sign)))


def twice(signed: dict[str, Any]) -> None:
    found = signed["predicate"]["resources"]
    found.append(dict(found[0]))
    digests = b"".join(bytes.fromhex(entry["digest"]) for entry in found)
    signed["subject"][0]["digest"]["sha256"] = hashlib.sha256(digests).hexdigest()


def payload_is(payload: bytes) -> Callable[[Case], None]:
    return lambda case: case.signature.write_text(json.dumps(envelope(payload, case.key)))


def deep(case: Case) -> None:
    case.signature.write_text('{"mediaType": ' + "[" * 100_000 + "]" * 100_000 + "}")


def accepted_by_model_signing(folder: Path, public: Path) -> bool:
    """What the other verifier says."""
    from model_signing import verifying

    config = verifying.Config().use_elliptic_key_verifier(public_key=public)
    try:
        config.verify(folder, folder / "signature.json")
    except Exception:  # noqa: BLE001 - it refuses by many kinds, KeyError among them
        return False
    return True
