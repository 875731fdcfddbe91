"""A package, and the machine that it arrives on: refused before anything is changed."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lineside_device.errors import RefusedError
from lineside_device.facts import facts, number_in
from lineside_device.host import check_host
from lineside_device.package import open_package

FACTS = Path(str(sys.modules[facts.__module__].__file__))
FOUND: dict[str, Any] = {
    "root": True,
    "machine": "aarch64",
    "bits": 64,
    "python": "3.11",
    "glibc": 36,
    "systemd": True,
    "home": "/opt/lineside",
    "writable": True,
    "free": 10**9,
    "station": None,
}
INFO: dict[str, Any] = {
    "machine": "aarch64",
    "python": "3.11",
    "glibc": 36,
    "site": "ulm",
    "station": "press4",
}


@pytest.mark.parametrize(
    ("said", "l4t", "why"),
    [
        (None, None, "this is no Jetson, the package is for L4T 36: flash it with NVIDIA"),
        ("# R35 (release), REVISION: 5.0, GCID: 3", 35, "this is a Jetson with L4T 35, the pack"),
        ("# R36 (release), REVISION: 4.3, GCID: 3", 36, ""),
    ],
)
def test_a_jetson_says_what_it_is(
    tmp_path: Path, said: str | None, l4t: int | None, why: str
) -> None:
    path = tmp_path / "nv_tegra_release"
    if said is not None:
        path.write_text(said)
    assert number_in(str(path), r"# R(\d+)") == l4t
    found, info = FOUND | {"l4t": l4t}, INFO | {"l4t": 36}
    if not why:
        check_host(found, info, 1000, booted=True)
        return
    with pytest.raises(RefusedError) as refused:
        check_host(found, info, 1000, booted=True)
    assert str(refused.value).startswith(why)
    check_host(found, INFO, 1000, booted=True)  # a package for another system does not ask


def test_this_machine_is_one() -> None:
    found = facts()
    info = {"machine": platform.machine(), "python": found["python"], "glibc": 17}
    check_host(found, INFO | info, 1000, booted=False)
    assert found["home"] == "/opt/lineside"
    assert found["root"] is (os.geteuid() == 0)
    alone = subprocess.run(
        [sys.executable, "-IB", "-"], input=FACTS.read_bytes(), capture_output=True, check=True
    )
    assert json.loads(alone.stdout) | {"free": 0} == found | {"free": 0}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"bits": 32, "machine": "armv7l"}, "this is a 32-bit system (armv7l): lineside needs a"),
        ({"machine": "x86_64"}, "this machine is x86_64, the package is for aarch64: pack for"),
        ({"python": "3.8"}, "this system has Python 3.8, the package is for 3.11: pack for"),
        ({"glibc": 31}, "this system has glibc 2.31, the package needs glibc 2.36: use a newer"),
        ({"glibc": 0}, "this system has no glibc, the package needs glibc 2.36"),
        ({"systemd": False}, "systemd does not run here"),
        (
            {"station": "ulm/press5"},
            "this device is ulm/press5, the package is of ulm/press4: name",
        ),
        ({"writable": False}, "/opt/lineside is on a disk that is read-only: mount it read-write"),
        ({"free": 10**8}, "/opt/lineside has 100 MB free, 340 MB are needed: make room"),
    ],
)
def test_what_is_no_device_for_it_is_refused(found: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check_host(FOUND | found, INFO, 85_000_000, booted=True)
    assert str(refused.value).startswith(message)
    check_host(FOUND | {"systemd": False}, INFO, 85_000_000, booted=False)


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
