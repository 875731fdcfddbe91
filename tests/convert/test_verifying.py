"""Two verifiers, one answer: `model-signing` and `lineside.signature` on the same folders.

What `model-signing` refuses, `lineside` refuses. Where only `lineside` refuses, the row says so.
"""

from __future__ import annotations

import json
import random
import subprocess
import zipfile

import pytest

from lineside.bundle import open_bundle
from lineside.errors import BundleError, InputError
from tests.support.signers import signing
from tests.support.signing import (
    sign_by_hand,
)
from tests.support.spoiling import (
    Case,
    Spoil,
    accepted_by_model_signing,
    add_signature,
    as_before_1_0,
    change_manifest_alone,
    change_model_and_manifest,
    claim_the_trusted_key,
    deep,
    edit_payload,
    edit_sig,
    edited,
    flip,
    in_place,
    leave_out,
    link,
    pae_of_before_1_0,
    payload_is,
    resource,
    sign_a_subset,
    sign_another_bundle,
    sign_by_command,
    sign_by_other,
    sign_otherwise,
    sign_without_leaving_itself_out,
    signed_as,
    swap,
    twice,
)

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
