"""Zip files that are no bundle are refused, saying why."""

from __future__ import annotations

import io
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lineside import bundle as module
from lineside.bundle import open_bundle
from lineside.errors import BundleError


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
