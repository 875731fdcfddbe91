"""Signed bundles: OpenSSF Model Signing v1 with a P-256 key, verified by `cryptography` alone.

`signature.json` is what `model-signing` 1.x writes (method `key`): a sigstore bundle v0.3 around
a DSSE envelope, whose payload is an in-toto statement that lists each file with its sha256. It
covers every file but itself.

Nothing is parsed before it is verified, with the one exception that no format of its kind
escapes: the envelope, which holds the payload and the signature of it. Its size is bounded, it is
decoded into structs that know no field but the expected ones, so that it nests no deeper than
they do, and the payload is opaque bytes until the key has confirmed them. manifest.json is parsed
by whoever calls this, afterwards.

What `model-signing` refuses is refused here; this is stricter where it lets something pass: a
second signature beside the first, the formats of before 1.0, keys of other curves, shards and
other hashes, paths of the bundle that the signer chose to leave out, names not in their plain
form, and a signature without the hint that says by which key.

Sources: https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md (DSSE and its PAE),
https://docs.sigstore.dev/about/bundle/, https://in-toto.io/Statement/v1,
https://model_signing/signature/v1.0 (the predicate).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from lineside.errors import BundleError, InputError
from lineside.extras import require

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

SIGNATURE: Final = "signature.json"
"""The file of a bundle that holds its signature."""

MAX_SIGNATURE_BYTES: Final = 1024 * 1024
"""How large it may be, in bytes: 1,024 files take less than half of it."""

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"

# What model-signing may be told to leave out: nothing else can, since no bundle holds the others.
_IGNORED: Final = frozenset({SIGNATURE, ".git", ".gitattributes", ".github", ".gitignore"})

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]


# ---- the envelope: read before it is verified


class _PublicKey(Struct, forbid_unknown_fields=True):
    hint: str
    """The fingerprint of the key."""


class _Material(Struct, forbid_unknown_fields=True, rename="camel"):
    public_key: _PublicKey
    tlog_entries: Annotated[list[None], Meta(max_length=0)] = []


class _Signed(Struct, forbid_unknown_fields=True):
    sig: bytes
    """ECDSA over SHA-256, in DER."""
    keyid: str = ""


class _Envelope(Struct, forbid_unknown_fields=True, rename="camel"):
    payload: bytes
    payload_type: str
    signatures: list[_Signed]


class _SigstoreBundle(Struct, forbid_unknown_fields=True, rename="camel"):
    media_type: str
    verification_material: _Material
    dsse_envelope: _Envelope


# ---- the payload: read once the key has confirmed it. As the predicate's text asks for, fields
# that are not known are ignored.


class _Digest(Struct):
    sha256: Sha256


class _Subject(Struct):
    name: str
    digest: _Digest


class _Resource(Struct):
    name: str
    digest: Sha256
    algorithm: Literal["sha256"]


class _Serialization(Struct):
    method: Literal["files"]
    hash_type: Literal["sha256"]
    allow_symlinks: bool
    ignore_paths: list[str] = []


class _Predicate(Struct):
    serialization: _Serialization
    resources: list[_Resource]


class _Statement(Struct, rename={"type_": "_type", "predicate_type": "predicateType"}):
    type_: str
    predicate_type: str
    subject: Annotated[list[_Subject], Meta(min_length=1, max_length=1)]
    predicate: _Predicate


_ENVELOPE_DECODER: Final = msgspec.json.Decoder(_SigstoreBundle)


def verify_files(files: Mapping[str, bytes], signature: bytes, public_key_pem: bytes) -> str:
    """Check that a key signed exactly these files.

    Args:
        files: name -> bytes, of every file of the bundle; `signature.json` among them is passed
            over, since it can't hold its own hash.
        signature: the bytes of signature.json.
        public_key_pem: the key that is trusted: P-256, in PEM.

    Returns:
        The key's fingerprint.

    Raises:
        BundleError: the signature is not of this key, or not over these files; the message says
            what was expected and what was found.
        InputError: the key can't be used.
        MissingExtraError: `cryptography` is not installed.
    """
    key = load_public_key(public_key_pem)
    trusted = fingerprint(key)
    payload = _verified_payload(signature, key, trusted)
    signed = _signed_hashes(payload)
    for problem in _differences(signed, files):
        raise BundleError(problem)
    return trusted


def load_public_key(pem: bytes) -> EllipticCurvePublicKey:
    """Read a P-256 public key.

    Raises:
        InputError: it is no PEM of a public key, or one of another kind.
        MissingExtraError: `cryptography` is not installed.
    """
    serialization = require("cryptography.hazmat.primitives.serialization", extra="signing")
    unsupported = require("cryptography.exceptions", extra="signing").UnsupportedAlgorithm
    if b"PRIVATE KEY-----" in pem:
        msg = "a private key was given to trust: give its .pub.pem, and keep this one to yourself"
        raise InputError(msg)
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, unsupported) as error:
        msg = "no public key in PEM ('-----BEGIN PUBLIC KEY-----'): see 'lineside keys new'"
        raise InputError(msg) from error
    found = key_kind(key)
    if found != "P-256":
        msg = f"an EC key on the curve P-256 is expected, got {found}: see 'lineside keys new'"
        raise InputError(msg)
    public: EllipticCurvePublicKey = key
    return public


def key_kind(key: object) -> str:
    """What kind of key it is, public or private: `P-256`, or another curve's or class's name."""
    curve = getattr(key, "curve", None)
    if curve is None:
        return type(key).__name__
    return "P-256" if curve.name == "secp256r1" else str(curve.name)


def fingerprint(key: EllipticCurvePublicKey) -> str:
    """The sha256 of a public key's PEM, in hexadecimal.

    `sha256sum` of the file that `lineside keys new` writes gives the same, and so does the `hint`
    in signature.json.
    """
    serialization = require("cryptography.hazmat.primitives.serialization", extra="signing")
    pem: bytes = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(pem).hexdigest()


def _verified_payload(signature: bytes, key: EllipticCurvePublicKey, trusted: str) -> bytes:
    """The bytes that `key` signed.

    Raises:
        BundleError: there are none.
    """
    envelope = _read_envelope(signature, trusted)
    if len(envelope.signatures) != 1:
        msg = f"{SIGNATURE}: one signature is expected, found {len(envelope.signatures)}"
        raise BundleError(msg)
    ec = require("cryptography.hazmat.primitives.asymmetric.ec", extra="signing")
    hashes = require("cryptography.hazmat.primitives.hashes", extra="signing")
    invalid = require("cryptography.exceptions", extra="signing").InvalidSignature
    try:
        key.verify(envelope.signatures[0].sig, _pae(envelope.payload), ec.ECDSA(hashes.SHA256()))
    except invalid as error:
        msg = (
            f"{SIGNATURE} holds no valid signature of the trusted key {trusted}: "
            "it was changed, or signed by another"
        )
        raise BundleError(msg) from error
    return envelope.payload


def _read_envelope(signature: bytes, trusted: str) -> _Envelope:
    """The envelope, of the right types, that says it was signed by the key `trusted`."""
    if len(signature) > MAX_SIGNATURE_BYTES:
        msg = f"{SIGNATURE} has {len(signature)} bytes, at most {MAX_SIGNATURE_BYTES} are allowed"
        raise BundleError(msg)
    try:
        bundle = _ENVELOPE_DECODER.decode(signature)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{SIGNATURE} is no signature of OpenSSF Model Signing by a key: {_plain(error)}"
        raise BundleError(msg) from error
    envelope = bundle.dsse_envelope
    for what, expected, found in (
        ("mediaType", MEDIA_TYPE, bundle.media_type),
        ("payloadType", PAYLOAD_TYPE, envelope.payload_type),
    ):
        if found != expected:
            msg = f"{SIGNATURE}: {what} {expected!r} is expected, got {found[:100]!r}"
            raise BundleError(msg)
    hint = bundle.verification_material.public_key.hint
    if hint != trusted:
        msg = f"it was signed by the key {hint[:64]!r}, trusted is {trusted!r}"
        raise BundleError(msg)
    return envelope


def _plain(error: Exception) -> str:
    """A parser's complaint in one line: it may quote what it found, control characters and all."""
    return str(error)[:200].encode("unicode_escape").decode()


def _pae(payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding of a payload and its type."""
    return b"DSSEv1 %d %s %d %s" % (
        len(PAYLOAD_TYPE),
        PAYLOAD_TYPE.encode(),
        len(payload),
        payload,
    )


def _signed_hashes(payload: bytes) -> dict[str, str]:
    """Name -> sha256, of all files that a verified payload lists.

    Raises:
        BundleError: it is no statement of OpenSSF Model Signing v1 over every file, or it
            contradicts itself.
    """
    try:
        # The standard library's parser, which model-signing uses: both read the same or nothing.
        statement = msgspec.convert(json.loads(payload), _Statement)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        msg = f"{SIGNATURE}: what was signed is no statement about files: {_plain(error)}"
        raise BundleError(msg) from error
    for problem in _contradictions(statement):
        msg = f"{SIGNATURE}: {problem}"
        raise BundleError(msg)
    return {resource.name: resource.digest for resource in statement.predicate.resources}


def _contradictions(statement: _Statement) -> Iterator[str]:
    """What is not as in a statement that covers a whole bundle."""
    if statement.type_ != STATEMENT_TYPE:
        yield f"a statement of type {STATEMENT_TYPE!r} is expected, got {statement.type_[:100]!r}"
    if statement.predicate_type != PREDICATE_TYPE:
        found = statement.predicate_type[:100]
        yield f"a predicate of type {PREDICATE_TYPE!r} is expected, got {found!r}"
    predicate = statement.predicate
    ignored = set(predicate.serialization.ignore_paths)
    if SIGNATURE not in ignored:
        yield f"{SIGNATURE} is to be left out of what is signed, found {sorted(ignored)[:10]}"
    for name in sorted(ignored - _IGNORED):
        yield f"the signature leaves out {name[:100]!r}, every file but {SIGNATURE} is expected"
    names = [resource.name for resource in predicate.resources]
    if len(set(names)) != len(names):
        yield "a file is signed twice"
    if SIGNATURE in names:
        yield f"{SIGNATURE} is signed, which can't hold its own hash"
    root = hashlib.sha256()
    for resource in predicate.resources:
        root.update(bytes.fromhex(resource.digest))
    expected = statement.subject[0].digest.sha256
    if root.hexdigest() != expected:
        yield f"its files hash to {root.hexdigest()}, its subject says {expected}"


def _differences(signed: Mapping[str, str], files: Mapping[str, bytes]) -> Iterator[str]:
    """What is not as it was when it was signed."""
    for name in sorted(files.keys() - signed.keys() - {SIGNATURE}):
        yield f"{name} is not signed, {len(signed)} other files are"
    for name, expected in signed.items():
        if name not in files:
            yield f"{name[:100]!r} is missing, it was signed"
            continue
        found = hashlib.sha256(files[name]).hexdigest()
        if found != expected:
            yield f"{name} was changed: sha256 {expected} was signed, found {found}"
