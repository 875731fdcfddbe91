from __future__ import annotations

import os

import pytest

from lineside.errors import MissingExtraError
from lineside.extras import quiet_native, require


def test_what_native_code_writes_is_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_native():
        os.write(2, b"hello from a library\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_only_the_notes_are_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_native(drop=b"INFO:"):
        os.write(2, b"INFO: Created a delegate.\nERROR: no memory\n")
    assert capfd.readouterr().err == "ERROR: no memory\n"


def fail_loudly() -> None:
    os.write(2, b"cannot find libx\n")
    raise ImportError


def test_it_is_shown_if_something_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImportError), quiet_native():
        fail_loudly()
    assert capfd.readouterr().err == "cannot find libx\n"


def test_a_module_that_is_there_is_given() -> None:
    assert require("os", extra="train") is os


def test_a_missing_extra_names_the_command_that_installs_it() -> None:
    with pytest.raises(MissingExtraError) as missing:
        require("no_such_engine", extra="runtime")
    assert str(missing.value) == (
        "no_such_engine is not installed: pip install 'lineside[runtime]' "
        "(No module named 'no_such_engine')"
    )
    assert isinstance(missing.value, ImportError)
