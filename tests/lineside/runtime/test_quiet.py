"""The engines' notes are dropped, everything else is said."""

from __future__ import annotations

import os

import pytest

from lineside.runtime.quiet import quiet


def test_notes_are_dropped_and_the_rest_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        os.write(2, b"INFO: Created a delegate.\nERROR: no memory\n")
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "ERROR: no memory\nafterwards\n"


def test_what_was_said_before_an_error_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with quiet():
            os.write(2, b"the reason\n")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert capfd.readouterr().err == "the reason\n"
