"""Two verifiers, one answer: `model-signing` and `lineside.signature` on the same folders.

What `model-signing` refuses, `lineside` refuses. Where only `lineside` refuses, the row says so.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lineside.bundle import open_bundle, write_bundle, zip_bundle
from lineside.errors import BundleError, ConvertError, InputError, StorageError
from lineside.keys import KeyPair, new_key_pair
from lineside.signature import fingerprint
from tests.support.command import lineside
from tests.support.signing import (
    envelope,
    files_of,
    pae,
    sign_by_hand,
    small_bundle,
    statement,
)

pytest.importorskip("OpenSSL", reason="model-signing needs pyOpenSSL (extra convert)")
model_signing = pytest.importorskip("model_signing", reason="signing needs the extra convert")
signing = pytest.importorskip("lineside_convert.signing")

PASSWORD = b"correct horse battery staple"


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


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[KeyPair, KeyPair]:
    folder = tmp_path_factory.mktemp("keys")
    return new_key_pair("plant", folder), new_key_pair("stranger", folder)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, pairs: tuple[KeyPair, KeyPair]) -> Path:
    folder = tmp_path_factory.mktemp("signed") / "caps"
    small_bundle(folder)
    signing.sign_folder(folder, pairs[0].private)
    return folder


@pytest.fixture
def case(signed: Path, pairs: tuple[KeyPair, KeyPair], tmp_path: Path) -> Case:
    return Case(Path(shutil.copytree(signed, tmp_path / "caps")), *pairs)


def accepted_by_model_signing(folder: Path, public: Path) -> bool:
    from model_signing import verifying

    config = verifying.Config().use_elliptic_key_verifier(public_key=public)
    try:
        config.verify(folder, folder / "signature.json")
    except Exception:  # noqa: BLE001 - it refuses by many kinds, KeyError among them
        return False
    return True


# ---- how a signed bundle is spoiled


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


Spoil = Callable[[Case], object]

BOTH_ACCEPT: dict[str, Spoil] = {
    "intact": lambda _: None,
    "signed by hand": lambda c: sign_by_hand(c.folder, c.key),
    "signed by model-signing's command": sign_by_command,
    "signed again": lambda c: signing.sign_folder(c.folder, c.key.private),
    "an empty folder": lambda c: (c.folder / "empty").mkdir(),
    "the JSON in several lines": lambda c: c.signature.write_text(
        json.dumps(json.loads(c.signature.read_text()), indent=2)
    ),
    "an unknown field in what is signed": signed_as(lambda s: s["predicate"].update(later=[1])),
    "a name of the subject": signed_as(lambda s: s["subject"][0].update(name="press 4 / caps")),
    "no keyid": edited(lambda s: s["dsseEnvelope"]["signatures"][0].pop("keyid")),
}

# what -> (how, what lineside says)
BOTH_REFUSE: dict[str, tuple[Spoil, str]] = {
    "a changed byte": (
        in_place("model.tflite", flip),
        r"model.tflite was changed: sha256 \w{64} was signed, found \w{64}$",
    ),
    "an emptied file": (in_place("report.html", lambda _: b""), r"report.html was changed"),
    "a missing file": (
        lambda c: (c.folder / "golden" / "001.png").unlink(),
        r"'golden/001.png' is missing, it was signed$",
    ),
    "an extra file": (
        lambda c: (c.folder / "golden" / "002.png").write_bytes(b"picture 2"),
        r"golden/002.png is not signed, 5 other files are$",
    ),
    "a renamed file": (
        lambda c: (c.folder / "report.html").rename(c.folder / "other.html"),
        r"other.html is not signed",
    ),
    "two swapped files": (swap, r"golden/000.png was changed"),
    "a changed manifest": (change_manifest_alone, r"manifest.json was changed"),
    "another model and its manifest": (change_model_and_manifest, r"manifest.json was changed"),
    "a link in place of a file": (link("model.tflite"), r"model.tflite is a symbolic link"),
    "a link in place of a folder": (link("golden"), r"golden is a symbolic link"),
    "a link in place of the signature": (
        link("signature.json"),
        r"signature.json is a symbolic link",
    ),
    "no signature": (lambda c: c.signature.unlink(), r"it is not signed, signature.json is exp"),
    "a wrong key": (sign_by_other, r"it was signed by the key '\w{64}', trusted is '\w{64}'$"),
    "a wrong key that says it is the right one": (
        claim_the_trusted_key,
        r"holds no valid signature of the trusted key \w{64}: it was changed, or signed by anoth",
    ),
    "an empty signature": (in_place("signature.json", lambda _: b""), r"is no signature of OpenS"),
    "a truncated file": (in_place("signature.json", lambda d: d[:-10]), r"is no signature of"),
    "a truncated signature": (edit_sig(lambda s: s[:-1]), r"holds no valid signature"),
    "a signature of no bytes": (edit_sig(lambda _: b""), r"holds no valid signature"),
    "a flipped bit in the signature": (edit_sig(flip), r"holds no valid signature"),
    "no signatures": (
        edited(lambda s: s["dsseEnvelope"].update(signatures=[])),
        r"one signature is expected, found 0$",
    ),
    "another bundle's signature": (sign_another_bundle, r"was changed: sha256"),
    "a flipped byte in the payload": (
        edit_payload(b'"golden/000.png"', b'"golden/100.png"'),
        r"holds no valid signature",
    ),
    "a second signature before the right one": (
        add_signature(first=True),
        r"one signature is expected, found 2$",
    ),
    "a subset is signed": (sign_a_subset, r"model.tflite is not signed, 4 other files are$"),
    "an unknown predicate": (
        signed_as(lambda s: s.update(predicateType="https://model_signing/signature/v9.0")),
        r"a predicate of type .*/v1.0' is expected, got .*/v9.0'$",
    ),
    "an unknown statement": (
        signed_as(lambda s: s.update(_type="https://in-toto.io/Statement/v0.1")),
        r"a statement of type .*/v1' is expected, got .*/v0.1'$",
    ),
    "another payload type": (
        edited(lambda s: s["dsseEnvelope"].update(payloadType="text/plain")),
        r"payloadType 'application/vnd.in-toto\+json' is expected, got 'text/plain'$",
    ),
    "another version of the envelope": (
        edited(
            lambda s: s.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.2")
        ),
        r"mediaType .* is expected, got .*version=0.2'$",
    ),
    "an unknown field in the envelope": (
        edited(lambda s: s["dsseEnvelope"].update(more=1)),
        r"is no signature of .*unknown field `more`",
    ),
    "an unknown field of several lines, in red": (
        edited(lambda s: s.update({"a\nb\x1b[31m": 1})),
        r"unknown field `a\\nb\\x1b\[31m`$",
    ),
    "an envelope of another kind": (
        edited(lambda s: s.update(messageSignature=s.pop("dsseEnvelope"))),
        r"is no signature of .*unknown field `messageSignature`",
    ),
    "a certificate instead of a key": (
        edited(lambda s: s["verificationMaterial"].update(certificate={"rawBytes": ""})),
        r"is no signature of .*unknown field `certificate`",
    ),
    "a subject that does not fit": (
        signed_as(lambda s: s["subject"][0]["digest"].update(sha256="0" * 64)),
        r"its files hash to \w{64}, its subject says 0{64}$",
    ),
    "two subjects": (
        signed_as(lambda s: s["subject"].append(s["subject"][0])),
        r"is no statement about files: .*length <= 1 - at `\$.subject`",
    ),
    "no subject": (signed_as(lambda s: s.pop("subject")), r"missing required field `subject`"),
    "a wrong hash is signed": (
        signed_as(lambda s: resource(s, "report.html").update(digest="0" * 64)),
        r"its files hash to",
    ),
    "links were allowed and there is one": (
        lambda c: (
            c.sign(lambda s: s["predicate"]["serialization"].update(allow_symlinks=True)),
            link("model.tflite")(c),
        ),
        r"model.tflite is a symbolic link",
    ),
    "not said whether links are allowed": (
        signed_as(lambda s: s["predicate"]["serialization"].pop("allow_symlinks")),
        r"missing required field `allow_symlinks`",
    ),
    "an unknown serialization": (
        signed_as(lambda s: s["predicate"]["serialization"].update(method="tensors")),
        r"Invalid enum value 'tensors'",
    ),
    "the predicate of before 1.0": (
        signed_as(as_before_1_0),
        r"length <= 1 - at `\$.subject`$",
    ),
    "another hash": (
        sign_otherwise("use_file_serialization", hashing_algorithm="blake2"),
        # Which of the two is looked at first, the order of keys in the statement says.
        r"Invalid enum value 'blake2|what was signed is no statement about files: .*digest",
    ),
    "hashes of shards": (
        sign_otherwise("use_shard_serialization"),
        r"Invalid enum value '.*shard",
    ),
    "an unknown hash": (
        signed_as(lambda s: resource(s, "report.html").update(algorithm="md5")),
        r"Invalid enum value 'md5'",
    ),
    "the signature not left out": (
        sign_without_leaving_itself_out,
        r"signature.json is to be left out of what is signed, found \['.git'",
    ),
    "a payload that is no JSON": (payload_is(b"caps"), r"is no statement about files: Expecting"),
    "a payload that is a list": (payload_is(b"[]"), r"Expected `object`, got `array`"),
    "a payload 100,000 deep": (
        payload_is(b"[" * 100_000 + b"]" * 100_000),
        r"is no statement about files: .*recursion",
    ),
    "a payload that is no text": (payload_is(b'{"_type": "\xff"}'), r"can't decode byte 0xff"),
    "an envelope 100,000 deep": (deep, r"Expected `str`, got `array` - at `\$.mediaType`"),
    "a signature that is a list": (in_place("signature.json", lambda _: b"[]"), r"got `array`"),
    "a signature that is no text": (
        in_place("signature.json", lambda d: d.replace(b'"keyid":""', b'"keyid":"\xff"')),
        r"can't decode byte 0xff",
    ),
}

# Here model-signing is more lenient.
ONLY_LINESIDE_REFUSES: dict[str, tuple[Spoil, str]] = {
    "a second signature after the right one": (
        add_signature(first=False),
        r"one signature is expected, found 2$",
    ),
    "a folder left out": (
        leave_out("golden"),
        r"the signature leaves out 'golden', every file but signature.json is expected$",
    ),
    "a file left out, and changed": (
        leave_out("model.tflite", then=in_place("model.tflite", flip)),
        r"the signature leaves out 'model.tflite'",
    ),
    "a path left out that is not there": (leave_out("nothing.json"), r"leaves out 'nothing.json'"),
    "a file signed twice": (signed_as(twice), r"a file is signed twice$"),
    "a name in another form": (
        signed_as(lambda s: resource(s, "report.html").update(name="./report.html")),
        r"report.html is not signed",
    ),
    "no hint of the key": (
        edited(lambda s: s["verificationMaterial"]["publicKey"].pop("hint")),
        r"missing required field `hint`",
    ),
    "the encoding of before 1.0": (pae_of_before_1_0, r"holds no valid signature"),
    "base64 with a space in it": (
        edited(
            lambda s: s["dsseEnvelope"].update(payload=" " + s["dsseEnvelope"]["payload"]),
        ),
        r"Invalid base64 encoded string - at `\$.dsseEnvelope.payload`",
    ),
    "a hash in capitals": (
        signed_as(
            lambda s: [r.update(digest=r["digest"].upper()) for r in s["predicate"]["resources"]]
        ),
        r"is no statement about files: .*matching regex",
    ),
}


@pytest.mark.parametrize("what", BOTH_ACCEPT)
def test_both_accept(case: Case, what: str) -> None:
    BOTH_ACCEPT[what](case)
    public = case.key.public
    assert accepted_by_model_signing(case.folder, public)
    assert open_bundle(case.folder, trust=public.read_bytes()).signed_by == case.key.fingerprint


@pytest.mark.parametrize("what", BOTH_REFUSE)
def test_both_refuse(case: Case, what: str) -> None:
    spoil, message = BOTH_REFUSE[what]
    spoil(case)
    assert not accepted_by_model_signing(case.folder, case.key.public)
    refused(case, message)


@pytest.mark.parametrize("what", ONLY_LINESIDE_REFUSES)
def test_only_lineside_refuses(case: Case, what: str) -> None:
    spoil, message = ONLY_LINESIDE_REFUSES[what]
    spoil(case)
    assert accepted_by_model_signing(case.folder, case.key.public)
    refused(case, message)


def refused(case: Case, message: str) -> None:
    """As a folder, and as a zip file where one can hold it."""
    zipped = case.folder.parent / "caps.zip"
    paths = [case.folder]
    if not any(file.is_symlink() for file in case.folder.rglob("*")):
        with zipfile.ZipFile(zipped, "w") as archive:
            for file in case.folder.rglob("*"):
                if file.is_file():
                    archive.write(file, file.relative_to(case.folder))
        paths.append(zipped)
    for path in paths:
        with pytest.raises(BundleError, match=message) as caught:
            open_bundle(path, trust=case.key.public.read_bytes())
        assert str(caught.value).startswith(f"{path} is refused: ")
        assert "\n" not in str(caught.value)


def test_a_key_of_another_curve_is_not_trusted(case: Case) -> None:
    for curve, name in (("P-384", "secp384r1"), ("P-521", "secp521r1")):
        private, public = case.folder.parent / f"{name}.pem", case.folder.parent / f"{name}.pub"
        make = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}"]
        subprocess.run([*make, "-out", private], check=True)
        private.chmod(0o600)
        subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
        with pytest.raises(InputError, match=f"the curve P-256 is expected, got {name}"):
            signing.check_private_key(private)
        from model_signing import hashing
        from model_signing import signing as theirs

        covered = hashing.Config().set_ignored_paths(paths=["signature.json"])
        config = theirs.Config().set_hashing_config(covered)
        config.use_elliptic_key_signer(private_key=private).sign(case.folder, case.signature)
        assert accepted_by_model_signing(case.folder, public)
        with pytest.raises(InputError, match=f"the curve P-256 is expected, got {name}"):
            open_bundle(case.folder, trust=public.read_bytes())


def test_a_link_to_the_bundle_is_the_bundle(case: Case) -> None:
    """So stations switch. model-signing wants the path itself to be no link; inside both do."""
    current = case.folder.parent / "current"
    current.symlink_to(case.folder.name)
    assert open_bundle(current, trust=case.key.public.read_bytes()).signed_by
    assert not accepted_by_model_signing(current, case.key.public)
    assert accepted_by_model_signing(current.resolve(), case.key.public)


def test_no_mutated_signature_passes_that_model_signing_refuses(case: Case) -> None:
    """Flips, cuts and doubled pieces of signature.json and of the files, from a fixed seed."""
    chance = random.Random(0)  # noqa: S311 - no secret
    trust = case.key.public.read_bytes()
    names = ["signature.json"] * 7 + ["manifest.json", "model.tflite", "golden/000.png"]
    accepted = {True: 0, False: 0}
    for _ in range(2000):
        file = case.folder / chance.choice(names)
        kept = file.read_bytes()
        data, at = bytearray(kept), chance.randrange(len(kept))
        kind = chance.randrange(3)
        if kind == 0:
            data[at] = chance.randrange(256)
        elif kind == 1:
            del data[at : at + chance.randrange(1, 9)]
        else:
            data[at:at] = data[at : at + chance.randrange(1, 99)]
        file.write_bytes(data)
        try:
            ours = open_bundle(case.folder, trust=trust).signed_by is not None
        except BundleError:
            ours = False
        theirs = accepted_by_model_signing(case.folder, case.key.public)
        assert theirs or not ours, (file, at, bytes(data))
        assert not ours or data == kept or file == case.signature
        accepted[ours] += 1
        file.write_bytes(kept)
    assert accepted[False] > 1950, accepted


# ---- signing


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
    with pytest.raises(InputError, match=r"large.pem is larger than 65536 bytes, that is no key$"):
        signing.check_private_key(tmp_path / "large.pem")
