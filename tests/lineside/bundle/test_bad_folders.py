"""Folders that are no bundle are refused, saying why."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lineside import bundle as module
from lineside.bundle import open_bundle
from lineside.errors import BundleError
from tests.support.bundles import edit_manifest, listed


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
