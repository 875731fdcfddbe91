"""The last good bundles: on disk whole or not at all, and no reason not to start."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lineside.bundle import open_bundle
from lineside.errors import StorageError
from lineside.keys import new_key_pair
from lineside_agent.models.store import KEPT, REFUSED, Choice, Record, Store
from tests.support import models
from tests.support.disk import tiny_disk
from tests.support.signing import sign_by_hand, small_bundle


def test_a_copy_is_the_bundle_with_its_signature(bundle_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle_folder, tmp_path / "cells"))
    pair = new_key_pair("plant", tmp_path)
    sign_by_hand(folder, pair)
    bundle = open_bundle(folder)
    store = Store(tmp_path / "state" / "models" / "cells")
    path = store.keep(bundle)
    assert store.find(bundle.digest) == path
    copy = open_bundle(path, trust=pair.public.read_bytes())
    assert (copy.digest, copy.files) == (bundle.digest, bundle.files)
    assert store.find("sha256:" + "0" * 64) is None


def test_a_damaged_copy_is_written_again(tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "caps")
    store = Store(tmp_path / "store")
    path = store.keep(bundle)
    before = (path / "report.html").stat().st_ino
    store.keep(bundle)
    assert (path / "report.html").stat().st_ino == before  # it was whole: not written again
    (path / "report.html").write_bytes(b"cut")
    store.keep(bundle)
    assert open_bundle(path).digest == bundle.digest


def test_at_most_a_few_are_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    bundles = [small_bundle(tmp_path / str(n), model=b"%d" % n) for n in range(6)]
    store.keep(bundles[0])
    store.note(Record(good=bundles[0].digest))
    (tmp_path / "store" / ".cut-off.partial-1").mkdir()  # a power cut left it
    for n, bundle in enumerate(bundles[1:], 1):
        path = store.keep(bundle)
        os.utime(path, (n, n))
    left = [bundle for bundle in bundles if store.find(bundle.digest)]
    assert left == [bundles[0], *bundles[-KEPT + 1 :]]
    names = {path.name for path in (tmp_path / "store").iterdir()}
    assert names == {"choice.json", *(b.digest.removeprefix("sha256:") for b in left)}


def test_the_record_comes_back(tmp_path: Path) -> None:
    digests = [f"sha256:{n:064x}" for n in range(20)]
    record = Record(chosen=Choice(digest=digests[0], by="ann", over=None), good=digests[1])
    Store(tmp_path).note(record)
    assert Store(tmp_path).record == record
    refused: list[str] = []
    for digest in [*digests, digests[15]]:
        refused = Record(refused=refused).refuse(digest)
    assert len(refused) == REFUSED
    assert refused[-2:] == [digests[19], digests[15]]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"null",
        b'{"good": "../../etc"}',
        b'{"schema": "lineside.choice/2"}',
        b'{"good": "sha256:' + b"g" * 64 + b'"}',
        b"[" * 30_000,
        b"\xff" * 100,
        b" " * 100_000,
    ],
)
def test_a_damaged_record_is_an_empty_one(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "choice.json").write_bytes(damage)
    assert Store(tmp_path).record == Record()
    assert "choice.json is not used" in caplog.text or "choice.json is refused" in caplog.text


def test_a_record_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "choice.json").mkdir()
    assert Store(tmp_path).record == Record()


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    small = small_bundle(tmp_path / "small")
    large = small_bundle(tmp_path / "large", model=os.urandom(300_000))
    with tiny_disk(tmp_path / "disk", kib=200) as disk:
        store = Store(disk / "cells")
        store.keep(small)
        store.note(Record(good=small.digest))
        with pytest.raises(StorageError, match="the disk is full"):
            store.keep(large)
        assert store.find(large.digest) is None
        path = store.find(small.digest)
        assert path is not None
        assert open_bundle(path).digest == small.digest
        assert Store(disk / "cells").record.good == small.digest


def test_a_store_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    store = Store(tmp_path / "store")
    with pytest.raises(StorageError):
        store.keep(models.plain(tmp_path / "plain"))
    with pytest.raises(StorageError):
        store.note(Record(starts=1))
    assert store.record.starts == 1


def test_what_can_not_be_committed_is_not_remembered(tmp_path: Path) -> None:
    store = Store(tmp_path)
    before = Record(refused=["sha256:" + "1" * 64])
    store.note(before)
    (tmp_path / "choice.json").unlink()
    (tmp_path / "choice.json").mkdir()
    with pytest.raises(StorageError):
        store.commit(Record(good="sha256:" + "2" * 64))
    assert store.record == before
    (tmp_path / "choice.json").rmdir()
    assert store.commit(before)  # what is there is not known any more, so it is written again
    assert Store(tmp_path).record == before
