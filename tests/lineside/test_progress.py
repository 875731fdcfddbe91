from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from lineside.progress import track

CODE = """
from lineside.progress import track
print(sum(track(iter(range(5)), total=5, what="Reading the images")))
"""


def on_a_terminal(code: str) -> tuple[str, str]:
    """What a program writes to stdout, and what to stderr where that is a terminal."""
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=theirs,
            env=os.environ | {"TERM": "xterm"},
            text=True,
            check=True,
        )
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    return done.stdout, shown


def test_a_terminal_shows_a_bar() -> None:
    stdout, shown = on_a_terminal(CODE)
    assert stdout == "10\n"
    assert "Reading the images" in shown
    assert "100%" in shown


def test_anything_else_shows_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert list(track("abc", what="Reading the images")) == ["a", "b", "c"]
    assert capfd.readouterr() == ("", "")


def test_an_error_in_the_work_is_passed_on() -> None:
    def work() -> object:
        yield 1
        msg = "broken"
        raise ValueError(msg)

    with pytest.raises(ValueError, match="broken"):
        list(track(work(), total=2, what="Working"))
