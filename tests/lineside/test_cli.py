from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import lineside

COMMANDS = (
    *("demo", "train", "evaluate", "convert", "keys", "verify", "inspect"),
    *("bench", "agent", "watch", "deploy"),
)


def test_help_lists_every_command_in_the_order_of_the_walk() -> None:
    said = lineside("--help").stdout
    places = [said.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "command", [(c,) for c in COMMANDS] + [("agent", "run"), ("agent", "check"), ("keys", "new")]
)
def test_every_command_has_help_with_an_example(command: tuple[str, ...]) -> None:
    said = lineside(*command, "--help").stdout
    if command in {("agent",), ("deploy",), ("keys",)}:  # groups: their commands have the examples
        assert "Commands:" in said
    else:
        assert f"lineside {' '.join(command)} " in said.partition("Example")[2]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['lineside', '--help']; import lineside.cli\n"
        "try: lineside.cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'cv2', 'tensorflow', 'keras', 'sklearn', 'matplotlib', 'paho', 'apsw'}\n"
        "heavy |= {'cryptography'}\n"
        "sys.exit(' '.join(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == "\n"


def test_a_wrong_option_exits_with_2_and_says_which() -> None:
    done = lineside("train", "photos", "--out", "x", "--epoch", 3, ok=False)
    assert done.returncode == 2
    assert "--epoch" in done.stderr


def test_a_command_that_found_something_wrong_does_not_exit_with_0(tmp_path: Path) -> None:
    config = tmp_path / "station.toml"
    (tmp_path / "line").mkdir()
    config.write_text(
        """
[station]
site = "ulm"
name = "press4"
[mqtt]
url = "mqtt://127.0.0.1:1"
[[model]]
name = "cells"
bundle = "not-there"
[[camera]]
name = "top"
source = "images:line"
"""
    )
    done = lineside("agent", "check", config, "--no-broker", ok=False)
    assert done.returncode == 1
    assert "WRONG" in done.stdout


def test_a_missing_extra_is_one_line_with_the_pip_command() -> None:
    code = (
        "import sys; sys.modules['elpv_dataset'] = None\n"
        "sys.argv = ['lineside', 'demo']; import lineside.cli; lineside.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'lineside[demo]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
