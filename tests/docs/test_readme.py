"""What README.md says can be typed, can be typed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lineside.messages import Result
from lineside.settings import parse_settings
from tests.support.broker import Mosquitto, wait_for
from tests.support.command import lineside
from tests.support.replaying import ReplayStation

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def test_the_configuration_is_accepted() -> None:
    settings = parse_settings(block("toml"), folder=ROOT)
    assert settings.stream[0].model == "caps"


def test_the_python_example_is_ten_lines_that_compile_and_import() -> None:
    code = block("python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    compile(code, "README.md", "exec")
    imports = "\n".join(line for line in code.splitlines() if line.startswith("from "))
    exec(imports, {})  # noqa: S102 - our own README


@pytest.mark.broker
def test_the_python_example_prints_what_is_not_ok_and_what_is_lost(tmp_path: Path) -> None:
    with (
        Mosquitto(tmp_path / "broker") as broker,
        ReplayStation(broker.url, tmp_path / "station") as station,
        subprocess.Popen(
            [sys.executable, "-u", "-c", block("python").replace("mqtt://localhost", broker.url)],
            stdout=subprocess.PIPE,
            text=True,
        ) as example,
    ):
        assert example.stdout is not None
        wait_for(lambda: "Sending SUBACK to lineside-" in broker.log, 20)
        station.put(1, verdict="ng", label="crack")
        assert example.stdout.readline() == "press4 001.png ng crack 0.125\n"
        station.put(2, passes=lambda _: False)
        station.keep_only(1)
        station.say()
        lost = f"missed: ulm/press4/top 2 of boot {station.boot}, not kept any more\n"
        assert example.stdout.readline() == lost
        example.kill()


def test_the_fields_of_the_message_are_those_of_a_result() -> None:
    shown = set(re.findall(r'"(\w+)":', block("json")))
    known = set(Result.__struct_fields__) | {"n", "id"}
    assert shown <= known


@pytest.mark.parametrize(
    "command",
    sorted(set(re.findall(r"lineside (agent \w+|deploy \w+|[a-z]+)", README)) - {"takes"}),
)
def test_every_command_that_is_named_exists(command: str) -> None:
    lineside(*command.split(), "--help")


def test_the_files_that_are_linked_are_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []
