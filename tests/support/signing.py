"""Bundles and signatures to test with: made by hand, byte for byte as `model-signing` does it.

By hand, since a device has no `model-signing`, and since that one writes nothing wrong.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lineside.bundle import Bundle, write_bundle
from lineside.image import Preprocess
from lineside.keys import KeyPair, load_private_key
from lineside.manifest import (
    DecisionSpec,
    Golden,
    InputSpec,
    Label,
    LimitSpec,
    Manifest,
    ModelInput,
    ModelOutput,
    ModelSpec,
    Parity,
)
from lineside.signature import fingerprint

PAYLOAD_TYPE = "application/vnd.in-toto+json"


def small_bundle(path: Path, *, model: bytes = b"no model") -> Bundle:
    """A bundle that opens, but whose model is none: enough for signatures, made in no time."""
    manifest = Manifest(
        name="caps",
        version="1.0.0",
        created="2026-01-01T00:00:00Z",
        task="classify",
        labels=[Label(name="ng", good=False), Label(name="ok", good=True)],
        inputs=[InputSpec(name="image", preprocess=Preprocess(colour="gray"))],
        models=[
            ModelSpec(
                file="model.tflite",
                scheme="static_wi8_ai8",
                inputs=[
                    ModelInput(
                        tensor=0,
                        source="image",
                        shape=(1, 8, 8, 1),
                        dtype="uint8",
                        scale=1.0,
                        zero_point=0,
                    )
                ],
                outputs=[
                    ModelOutput(
                        tensor=0,
                        kind="class_logits",
                        shape=[1, 2],
                        dtype="int8",
                        scale=0.1,
                        zero_point=0,
                    )
                ],
            )
        ],
        decision=DecisionSpec(
            score="p_not_good", temperature=1.0, limits=LimitSpec(review=None, ng=0.5)
        ),
        golden=[Golden(file="golden/000.png", outputs=[[0, 0]], verdict="ng", max_steps=1)],
        parity=Parity(status="unknown"),
        files={},
    )
    files = {
        "model.tflite": model,
        "report.html": b"<html>",
        "golden/000.png": b"picture 0",
        "golden/001.png": b"picture 1",
    }
    return write_bundle(path, manifest, files)


def files_of(folder: Path) -> dict[str, bytes]:
    """Name -> bytes, of every file of a folder but signature.json."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != "signature.json"
    }


def statement(files: Mapping[str, bytes]) -> dict[str, Any]:
    """What is signed."""
    hashes = {name: hashlib.sha256(data) for name, data in sorted(files.items())}
    root = hashlib.sha256(b"".join(found.digest() for found in hashes.values()))
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "caps", "digest": {"sha256": root.hexdigest()}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "resources": [
                {"name": name, "algorithm": "sha256", "digest": found.hexdigest()}
                for name, found in hashes.items()
            ],
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": ["signature.json"],
            },
        },
    }


def pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding, as its text gives it."""
    return f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode() + payload


def envelope(signed: dict[str, Any] | bytes, pair: KeyPair, to_sign: bytes = b"") -> dict[str, Any]:
    """The contents of signature.json.

    Args:
        signed: the statement, or any other payload.
        pair: whose private key signs it.
        to_sign: what is signed instead of the payload's PAE.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256

    payload = signed if isinstance(signed, bytes) else json.dumps(signed).encode()
    key = load_private_key(pair.private)
    sig = key.sign(to_sign or pae(payload), ec.ECDSA(SHA256()))
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "publicKey": {"hint": fingerprint(key.public_key())},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(sig).decode(), "keyid": ""}],
        },
    }


def sign_by_hand(folder: Path, pair: KeyPair) -> None:
    """Write signature.json into a bundle's folder."""
    made = envelope(statement(files_of(folder)), pair)
    (folder / "signature.json").write_text(json.dumps(made))
