"""Bundles: what is written is what is opened."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path

import msgspec
import pytest

from lineside.bundle import Bundle, check_bundle, open_bundle, write_bundle, zip_bundle
from lineside.errors import BundleError, StorageError
from tests.support.disk import tiny_disk


def parts(bundle: Bundle) -> dict[str, bytes]:
    """What `write_bundle` is given."""
    return {name: data for name, data in bundle.files.items() if name != "manifest.json"}


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
