"""Bundles: what is written is what is opened, and everything else is refused by name."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lineside import bundle as module
from lineside.bundle import Bundle, check_bundle, open_bundle, write_bundle, zip_bundle
from lineside.errors import BundleError, StorageError
from tests.support.bundles import edit_manifest, listed
from tests.support.disk import tiny_disk


@pytest.fixture
def folder(bundle_folder: Path, tmp_path: Path) -> Path:
    """A copy, to spoil."""
    return Path(shutil.copytree(bundle_folder, tmp_path / "cells"))


def parts(bundle: Bundle) -> dict[str, bytes]:
    """What `write_bundle` is given."""
    return {name: data for name, data in bundle.files.items() if name != "manifest.json"}


# ---- what is right


def test_a_folder_opens(folder: Path) -> None:
    bundle = open_bundle(folder)
    assert set(bundle.files) == {"manifest.json", *bundle.manifest.files}
    assert bundle.model == (folder / "model.tflite").read_bytes()
    found = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    assert bundle.digest == f"sha256:{found}"


def test_a_zip_is_the_same_bundle(folder: Path, tmp_path: Path) -> None:
    zip_bundle(folder, tmp_path / "cells.zip")
    zipped, plain = open_bundle(tmp_path / "cells.zip"), open_bundle(folder)
    assert zipped.digest == plain.digest
    assert dict(zipped.files) == dict(plain.files)


def test_a_zip_made_by_others_opens(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "cells.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.rglob("*"):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    assert open_bundle(tmp_path / "cells.zip").digest == open_bundle(folder).digest


def test_the_same_bundle_gives_the_same_zip(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zip_bundle(folder, tmp_path / "one.zip")
    os.utime(folder / "model.tflite", (1, 1))
    zip_bundle(folder, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    zip_bundle(folder, tmp_path / "dated.zip")
    with zipfile.ZipFile(tmp_path / "dated.zip") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(2001, 9, 9, 1, 46, 40)}


def test_what_is_written_is_what_is_opened(folder: Path, tmp_path: Path) -> None:
    given = open_bundle(folder)
    written = write_bundle(tmp_path / "again", given.manifest, parts(given))
    opened = open_bundle(tmp_path / "again")
    assert opened.digest == written.digest
    assert dict(opened.files) == dict(written.files)
    assert opened.manifest == given.manifest


def test_a_signature_need_not_be_listed(folder: Path) -> None:
    (folder / "signature.json").write_text("{}")
    assert "signature.json" in open_bundle(folder).files


def test_a_file_that_changes_after_opening_changes_nothing(folder: Path) -> None:
    bundle = open_bundle(folder)
    kept = bundle.model
    (folder / "model.tflite").write_bytes(b"another")
    assert bundle.model == kept
    with pytest.raises(TypeError):
        bundle.files["model.tflite"] = b"another"  # type: ignore[index]


# ---- what is wrong with a folder


def change_a_byte(folder: Path) -> None:
    data = bytearray((folder / "model.tflite").read_bytes())
    data[1000] ^= 1
    (folder / "model.tflite").write_bytes(data)


def shorten(folder: Path) -> None:
    data = (folder / "model.tflite").read_bytes()
    (folder / "model.tflite").write_bytes(data[:-1])


def wrong_hash(folder: Path) -> None:
    edit_manifest(folder, lambda m: m["files"]["model.tflite"].update(sha256="0" * 64))


def link(folder: Path) -> None:
    (folder / "model.tflite").rename(folder.parent / "model.tflite")
    (folder / "model.tflite").symlink_to("../model.tflite")


def link_golden(folder: Path) -> None:
    (folder / "golden").rename(folder.parent / "golden")
    (folder / "golden").symlink_to("../golden")


def deep_json(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"schema": ' + "[" * 10_000 + "]" * 10_000 + "}")


def deep_unknown_field(folder: Path) -> None:
    text = (folder / "manifest.json").read_text().rstrip()
    deep = "[" * 10_000 + "]" * 10_000
    (folder / "manifest.json").write_text(text[:-1] + f', "x": {deep}}}')


def too_many(folder: Path) -> None:
    for number in range(module.MAX_FILES):
        (folder / "golden" / f"extra{number}.png").write_bytes(b"")


def drop(folder: Path, key: str) -> None:
    edit_manifest(folder, lambda manifest: manifest.pop(key))


BAD_FOLDERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a changed byte": (
        change_a_byte,
        r"model.tflite was changed: sha256 \w{64} is expected, found \w{64}",
    ),
    "a file that is too short": (shorten, r"model.tflite: \d+ bytes are expected, found \d+"),
    "a wrong hash": (wrong_hash, r"model.tflite was changed: sha256 0{64} is expected, found"),
    "a missing file": (
        lambda f: (f / "golden" / "000.png").unlink(),
        r"golden/000.png is missing, \d+ bytes are expected",
    ),
    "an extra file": (
        lambda f: (f / "notes.json").write_text("{}"),
        r"notes.json is not listed in manifest.json",
    ),
    "no manifest": (
        lambda f: (f / "manifest.json").unlink(),
        r"manifest.json is missing from its top level",
    ),
    "a link": (link, r"model.tflite is a symbolic link, a plain file is expected"),
    "a linked folder": (link_golden, r"golden is a symbolic link, a plain file is expected"),
    "a pipe": (lambda f: os.mkfifo(f / "pipe.json"), r"pipe.json is no plain file"),
    "a folder too deep": (
        lambda f: (f / "golden" / "more").mkdir(),
        r"golden/more is no plain file in the first two levels",
    ),
    "a strange name": (
        lambda f: (f / "Model copy.tflite").write_bytes(b""),
        r"the file name 'Model copy.tflite' is not allowed",
    ),
    "a listed strange name": (
        lambda f: listed(f, "run.sh", b"#!/bin/sh"),
        r"the file name 'run.sh' is not allowed",
    ),
    "too many files": (too_many, rf"at most {module.MAX_FILES} are allowed|more than"),
    "a newer schema": (
        lambda f: edit_manifest(f, lambda m: m.update(schema="lineside.bundle/2")),
        r"schema 'lineside.bundle/1' is expected, got 'lineside.bundle/2'; update lineside",
    ),
    "no schema": (lambda f: drop(f, "schema"), r"missing required field `schema`"),
    "no decision": (lambda f: drop(f, "decision"), r"missing required field `decision`"),
    "no JSON": (
        lambda f: (f / "manifest.json").write_text("{'schema'"),
        r"manifest.json is refused: JSON is malformed",
    ),
    "an empty manifest": (
        lambda f: (f / "manifest.json").write_bytes(b""),
        r"manifest.json is refused: Input data was truncated",
    ),
    "no text": (
        lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe" * 100),
        r"manifest.json is refused",
    ),
    "a text that is no UTF-8": (
        lambda f: (f / "manifest.json").write_bytes(
            (f / "manifest.json").read_bytes().replace(b"functional", b"funct\xefonal")
        ),
        r"manifest.json is refused: 'utf-8' codec can't decode byte 0xef",
    ),
    "JSON 10,000 deep": (deep_json, r"manifest.json is refused"),
    "an unknown field 10,000 deep": (deep_unknown_field, r"manifest.json is refused"),
    "a manifest that lists itself": (
        lambda f: edit_manifest(
            f,
            lambda m: m["files"].update({"manifest.json": {"sha256": "0" * 64, "size": 1}}),
        ),
        r"manifest.json lists manifest.json, which can't be listed",
    ),
}


@pytest.mark.parametrize("what", BAD_FOLDERS)
def test_a_bad_folder_is_refused(folder: Path, what: str) -> None:
    spoil, message = BAD_FOLDERS[what]
    spoil(folder)
    with pytest.raises(BundleError, match=message) as caught:
        open_bundle(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_too_large_is_refused_unread(folder: Path) -> None:
    with (folder / "model.tflite").open("wb") as file:
        file.truncate(module.MAX_FILE_BYTES + 1)
    with pytest.raises(BundleError, match=rf"at most {module.MAX_FILE_BYTES} are allowed"):
        open_bundle(folder)
    with (folder / "manifest.json").open("wb") as file:
        file.truncate(module.MAX_MANIFEST_BYTES + 1)
    (folder / "model.tflite").unlink()
    with pytest.raises(BundleError, match=rf"manifest.json has .*{module.MAX_MANIFEST_BYTES}"):
        open_bundle(folder)


def test_too_much_in_all_is_refused_unread(folder: Path) -> None:
    for name in ("a.npy", "b.npy"):
        with (folder / name).open("wb") as file:
            file.truncate(module.MAX_FILE_BYTES)
    with pytest.raises(BundleError, match=rf"in all, at most {module.MAX_BUNDLE_BYTES}"):
        open_bundle(folder)


def test_nothing_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nothing is no bundle: a folder or a \.zip"):
        open_bundle(tmp_path / "nothing")


# ---- what is wrong with a zip file


def entries(folder: Path) -> list[tuple[zipfile.ZipInfo, bytes]]:
    bundle = open_bundle(folder)
    return [(zipfile.ZipInfo(name), data) for name, data in sorted(bundle.files.items())]


def pack(content: list[tuple[zipfile.ZipInfo, bytes]], comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a name that comes twice
        with zipfile.ZipFile(buffer, "w") as archive:
            for entry, data in content:
                archive.writestr(entry, data)
            archive.comment = comment
    return buffer.getvalue()


def plus(name: str, data: bytes = b"x", **fields: int) -> Callable[[Path], bytes]:
    """The bundle with one entry more."""

    def make(folder: Path) -> bytes:
        entry = zipfile.ZipInfo(name)
        for field, value in fields.items():
            setattr(entry, field, value)
        return pack([*entries(folder), (entry, data)])

    return make


def encrypted(folder: Path) -> bytes:
    # Bit 0 of the flags, in the local header and in the list of entries, which the zip's end
    # says the place of: the model holds a list of its own.
    data = bytearray(pack(entries(folder)))
    data[6] |= 1
    data[int.from_bytes(data[-6:-2], "little") + 8] |= 1
    return bytes(data)


def renamed(old: bytes, new: bytes) -> Callable[[Path], bytes]:
    """The bundle with bytes exchanged in its names."""
    return lambda folder: pack(entries(folder)).replace(old, new)


def bomb(folder: Path) -> bytes:
    entry = zipfile.ZipInfo("zeros.npy")
    entry.compress_type = zipfile.ZIP_DEFLATED
    return pack([(entry, bytes(100_000_000)), *entries(folder)[:1]])


def lying_bomb(folder: Path) -> bytes:
    """Says that its 100 MB are 10 bytes."""
    data = bomb(folder)
    return data.replace(struct.pack("<L", 100_000_000), struct.pack("<L", 10))


def many(folder: Path) -> bytes:
    extra = [(zipfile.ZipInfo(f"golden/e{n}.png"), b"") for n in range(module.MAX_FILES)]
    return pack(entries(folder) + extra)


def changed(folder: Path) -> bytes:
    content = entries(folder)
    return pack([(e, d + b"!" if e.filename == "model.tflite" else d) for e, d in content])


def inside_a_folder(folder: Path) -> bytes:
    return pack(
        [
            (zipfile.ZipInfo("cells/" + entry.filename), data)
            for entry, data in entries(folder)
            if "/" not in entry.filename
        ]
    )


BAD_ZIPS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "a path that leads out": (plus("../model.tflite"), r"'../model.tflite' is not allowed"),
    "a path that leads out inside": (plus("a/../b.json"), r"'a/../b.json' is not allowed"),
    "an absolute path": (plus("/etc/passwd"), r"'/etc/passwd' is not allowed"),
    "a path of Windows": (renamed(b"golden/000.png", b"golden\\000.png"), r"not allowed|missing"),
    "a name with a zero in it": (
        renamed(b"model.tflite", b"model.json\0x"),
        r"'model.json\\x00x' has a strange name",
    ),
    "an entry twice": (plus("model.tflite"), r"'model.tflite' comes twice"),
    "a link": (
        plus("x.json", b"/etc/passwd", external_attr=(stat.S_IFLNK | 0o777) << 16),
        r"'x.json' is no plain file",
    ),
    "a folder": (plus("golden/", b""), r"'golden/' is a folder entry; zip the files alone"),
    "encryption": (encrypted, r"is encrypted"),
    "another compression": (
        plus("x.json", compress_type=zipfile.ZIP_BZIP2),
        r"is compressed by method 12, 0 or 8 is expected",
    ),
    "a bomb": (bomb, r"bytes of zip would become 1\d+, at most 100 times as many"),
    "a bomb that lies": (lying_bomb, r"a damaged zip file"),
    "too many entries": (many, rf"a zip file of at most {module.MAX_FILES} entries"),
    "a comment": (
        lambda f: pack(entries(f), comment=b"PK\x05\x06"),
        r"a complete zip file without a comment is expected",
    ),
    "a cut": (lambda f: pack(entries(f))[:-30], r"a complete zip file without a comment"),
    "no zip": (lambda _: b"hello", r"a complete zip file without a comment"),
    "only an end": (
        lambda _: b"PK\x05\x06" + bytes(18),
        r"manifest.json is missing from its top level",
    ),
    "a list that is not there": (
        lambda _: b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 1, 1, 46, 99, 0),
        r"a damaged zip file",
    ),
    "a list at another place": (
        lambda f: pack(entries(f))[:-6] + b"\xff\xff\xff\x7f\0\0",
        r"a damaged zip file",
    ),
    "a changed file": (changed, r"model.tflite: \d+ bytes are expected, found \d+"),
    "a damaged file": (
        lambda f: pack(entries(f)).replace(b"TFL3", b"TFL4"),
        r"a damaged zip file \(Bad CRC-32",
    ),
    "the folder itself, zipped": (inside_a_folder, r"manifest.json is missing from its top level"),
}


@pytest.mark.parametrize("what", BAD_ZIPS)
def test_a_bad_zip_is_refused(folder: Path, tmp_path: Path, what: str) -> None:
    make, message = BAD_ZIPS[what]
    path = tmp_path / "bad.zip"
    path.write_bytes(make(folder))
    with pytest.raises(BundleError, match=message) as caught:
        open_bundle(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.zip", "cells"]


def test_a_zip_that_is_too_large_is_refused_unparsed(tmp_path: Path) -> None:
    with (tmp_path / "big.zip").open("wb") as file:
        file.truncate(module.MAX_BUNDLE_BYTES + 1)
    with pytest.raises(BundleError, match=rf"larger than {module.MAX_BUNDLE_BYTES} bytes"):
        open_bundle(tmp_path / "big.zip")


# ---- writing


def test_nothing_is_overwritten(folder: Path) -> None:
    bundle = open_bundle(folder)
    with pytest.raises(StorageError, match="is there already: choose another name"):
        write_bundle(folder, bundle.manifest, parts(bundle))


def test_what_would_be_refused_is_not_written(folder: Path, tmp_path: Path) -> None:
    bundle = open_bundle(folder)
    files = parts(bundle)
    del files["model.tflite"]
    with pytest.raises(BundleError, match=r"'model\.tflite' is not listed under files"):
        write_bundle(tmp_path / "out", bundle.manifest, files)
    wrong = msgspec.structs.replace(bundle.manifest, version="1.0")
    with pytest.raises(BundleError, match=r"version|pattern"):
        write_bundle(tmp_path / "out", wrong, parts(bundle))
    assert not (tmp_path / "out").exists()


def test_a_full_disk(folder: Path, tmp_path: Path) -> None:
    bundle, full = open_bundle(folder), "the disk is full; free some space and run it again"
    with tiny_disk(tmp_path / "disk", kib=64) as disk:
        with pytest.raises(StorageError, match=full):
            write_bundle(disk / "cells", bundle.manifest, parts(bundle))
        with pytest.raises(StorageError, match=full):
            zip_bundle(folder, disk / "cells.zip")
        assert list(disk.iterdir()) == []


def test_checking_needs_no_disk(folder: Path) -> None:
    files = dict(open_bundle(folder).files)
    assert check_bundle(Path("anything"), files).manifest == open_bundle(folder).manifest
    files["golden/000.png"] = b""
    with pytest.raises(BundleError, match=r"golden/000.png: \d+ bytes are expected, found 0"):
        check_bundle(Path("anything"), files)


def test_the_manifest_is_json_that_a_person_can_read(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    assert json.loads(text)["schema"] == "lineside.bundle/1"
    assert text.startswith('{\n "schema"')
    assert text.endswith("}\n")
