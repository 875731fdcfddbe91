"""Which wheels a system needs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from lineside_deploy.package.wheels import PINNED, own_wheel, pinned_for, put_together
from lineside_deploy.targets import TARGETS


@pytest.mark.parametrize(
    ("target", "numpy", "tomli"),
    [
        ("jetson-jp6", "numpy==2.2", True),
        ("rpi-bookworm", "numpy==2.4", False),
        ("rpi-trixie", "numpy==2.5", False),
    ],
)
def test_conditions_are_judged_for_the_device(target: str, numpy: str, *, tomli: bool) -> None:
    lines = pinned_for(TARGETS[target], PINNED.read_text())
    (found,) = [line for line in lines if line.startswith("numpy==")]
    assert found.startswith(numpy)
    assert ";" not in found
    assert any(line.startswith("tomli==") for line in lines) is tomli
    assert not any(line.startswith("colorama") for line in lines)
    assert all(" --hash=sha256:" in line for line in lines)
    assert any(line.startswith("pip==") for line in lines)


def test_wheels_for_an_older_c_library_run_too() -> None:
    tags = list(TARGETS["rpi-bookworm"].platforms())
    assert tags[0] == "manylinux_2_36_aarch64"
    assert "manylinux_2_28_aarch64" in tags
    assert tags[-1] == "manylinux2014_aarch64"


def test_an_installed_wheel_can_be_put_together_again(tmp_path: Path) -> None:
    wheel, site, again = own_wheel(tmp_path), tmp_path / "site", tmp_path / "again"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(wheel)], check=True)
    (info,) = site.glob("lineside-*.dist-info")
    again.mkdir()
    made = again / wheel.name
    put_together(Distribution.at(info), made)
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(made) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())
        assert "lineside_device/main.py" in one.namelist()
        assert "lineside_deploy/requirements.txt" in one.namelist()
        records = {name for name in one.namelist() if name.endswith("/RECORD")}
        assert all(one.read(name) == other.read(name) for name in {*one.namelist()} - records)
    subprocess.run([*pip, "--target", str(tmp_path / "other"), str(made)], check=True)
