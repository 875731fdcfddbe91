"""What README.md says can be typed, can be typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lineside.messages import Result
from lineside.settings import parse_settings
from tests.support.command import lineside

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
