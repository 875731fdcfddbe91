"""A package, and the machine that it arrives on: refused before anything is changed."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from pathlib import Path
from typing import Any

import pytest

from lineside_device.errors import RefusedError
from lineside_device.host import check_host
from lineside_device.package import open_package

HERE: dict[str, Any] = {
    "machine": platform.machine(),
    "python": ".".join(map(str, sys.version_info[:2])),
    "glibc": 17,
}


def test_this_machine_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    check_host(HERE, tmp_path / "opt", 1000, booted=False)


@pytest.mark.parametrize(
    ("info", "size", "message"),
    [
        ({"machine": "armv7l"}, 1, "the package is for armv7l: pack for another --target"),
        ({"python": "3.7"}, 1, "the package is for 3.7: pack for another --target"),
        ({"glibc": 99}, 1, "the package needs glibc 2.99: use a newer system"),
        ({}, 10**15, "MB are needed: make room, or use a larger card"),
    ],
)
def test_another_machine_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    info: dict[str, Any],
    size: int,
    message: str,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(RefusedError) as refused:
        check_host(HERE | info, tmp_path, size, booted=False)
    assert str(refused.value).endswith(message)


def test_a_disk_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    (tmp_path / "file").touch()
    with pytest.raises(RefusedError, match="can't be written: Not a directory; mount it"):
        check_host(HERE, tmp_path / "file" / "opt", 1, booted=False)


def test_only_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(RefusedError, match="only root can install a station"):
        check_host(HERE, tmp_path, 1, booted=False)


def package(folder: Path, **changes: object) -> Path:
    (folder / "wheels").mkdir()
    (folder / "wheels" / "a.whl").write_bytes(b"wheel")
    record = {"sha256": hashlib.sha256(b"wheel").hexdigest(), "size": 5}
    info = {"schema": "lineside.package/1", "release": "r", "files": {"wheels/a.whl": record}}
    (folder / "package.json").write_text(json.dumps(info | changes))
    return folder


def test_a_package_that_is_whole(tmp_path: Path) -> None:
    found = open_package(package(tmp_path))
    assert (found.release, found.size) == ("r", 5)


def test_a_package_that_is_not(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"is no package of lineside: package\.json can't"):
        open_package(tmp_path)
    folder = package(tmp_path)
    (folder / "wheels" / "a.whl").write_bytes(b"other")
    with pytest.raises(RefusedError, match=r"damaged: wheels/a\.whl has another hash"):
        open_package(folder)
    (folder / "wheels" / "a.whl").unlink()
    with pytest.raises(RefusedError, match=r"is not whole: wheels/a\.whl: No such file"):
        open_package(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": "lineside.package/2"}, "has the schema 'lineside.package/2', lineside.pack"),
        ({"files": {"../x": {"sha256": "", "size": 0}}}, "'../x', which lies outside of it"),
        ({"files": {"/etc/passwd": {"sha256": "", "size": 0}}}, "which lies outside of it"),
    ],
)
def test_a_package_that_cannot_be_meant(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        open_package(package(tmp_path, **changes))
    assert message in str(refused.value)
