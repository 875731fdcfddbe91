"""The generated pages are in step with the code, and say what the code does."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest

from lineside import messages, topics
from lineside.settings import read_settings

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_in_step_with_the_code(generate: ModuleType) -> None:
    stale = [
        name
        for name, text in generate.pages().items()
        if not (DOCS / name).is_file() or (DOCS / name).read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run: make docs"


def test_every_setting_is_explained(generate: ModuleType) -> None:
    docs = generate.field_docs("lineside.settings.tables")
    schema = generate.schema_of(__import__("lineside.settings").settings.Settings)
    missing = [
        f"{name}.{key}"
        for name, part in schema["$defs"].items()
        if name != "Settings"
        for key in part["properties"]
        if not docs[name].get(key)
    ]
    assert missing == []


def test_every_topic_that_a_station_has_is_in_the_table(generate: ModuleType) -> None:
    rows = generate.topic_rows()
    made = [name for name, part in vars(topics.Topics).items() if callable(part) and name[0] != "_"]
    assert list(rows) == made
    for kind, row in rows.items():
        assert topics.parse_topic(re.sub(r"[<>]", "", row.topic), "prefix").kind == kind
    assert topics.__doc__ is not None
    spelled = re.findall(r"^<prefix>\S+", topics.__doc__, re.MULTILINE)
    assert [row.topic for row in rows.values()] == spelled
    page = (DOCS / "messages" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(<prefix>\S+)` \|", page, re.MULTILINE) == spelled
    channels = json.loads((DOCS / "messages" / "asyncapi.json").read_text())["channels"]
    assert [re.sub(r"{(\w+)}", r"<\1>", c["address"]) for c in channels.values()] == spelled


def test_the_example_configuration_is_accepted() -> None:
    settings = read_settings(DOCS / "station.example.toml")
    assert settings.stream[0].camera == "top"


def test_a_real_message_is_what_its_schema_says() -> None:
    status = messages.Status(
        site="ulm",
        station="press4",
        boot="0198f1c2-0000-4000-8000-000000000000",
        state="online",
        version="0.1.0",
        ledger=[messages.Ledger(boot="b", stream="top", first=1, last=3, published_through=2)],
    )
    schema = json.loads((DOCS / "messages" / "status.schema.json").read_text())
    jsonschema.validate(json.loads(messages.encode(status)), schema)
    with pytest.raises(jsonschema.ValidationError, match="'pensive' is not one of"):
        jsonschema.validate(json.loads(messages.encode(status)) | {"state": "pensive"}, schema)
