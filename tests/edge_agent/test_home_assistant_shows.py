"""What Home Assistant makes of our description and of our messages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lineside.messages import Health, Status, StreamHealth, encode
from lineside.settings import parse_settings
from lineside_agent.home_assistant import description, discovery_topic
from tests.support.examples import result
from tests.support.home import CONFIG, ON, components, settings

# The documented schema, of what we use: device, origin, availability and components at the root,
# a platform for each component, and of a component only what its platform knows.
TEXT = {"type": "string", "minLength": 1}
NO_WILDCARD = {"type": "string", "pattern": "^[^#+]+$"}
ENTITY = {
    "platform": TEXT,
    "name": TEXT,
    "unique_id": TEXT,
    "state_topic": NO_WILDCARD,
    "value_template": TEXT,
    "entity_category": {"const": "diagnostic"},
}
SENSOR = {
    **ENTITY,
    "platform": {"const": "sensor"},
    "device_class": {"enum": ["enum", "temperature"]},
    "state_class": {"enum": ["measurement", "total_increasing"]},
    "unit_of_measurement": {"const": "°C"},
    "options": {"type": "array", "items": TEXT, "minItems": 1, "uniqueItems": True},
    "json_attributes_topic": NO_WILDCARD,
    "json_attributes_template": TEXT,
}
BINARY_SENSOR = {
    **ENTITY,
    "platform": {"const": "binary_sensor"},
    "device_class": {"const": "problem"},
}
NEEDED = ["platform", "name", "unique_id", "state_topic", "value_template"]
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["device", "origin", "components"],
    "properties": {
        "device": {
            "type": "object",
            "additionalProperties": False,
            "required": ["identifiers"],
            "properties": {
                "identifiers": {"type": "array", "items": TEXT, "minItems": 1},
                **dict.fromkeys(("name", "manufacturer", "model", "sw_version"), TEXT),
            },
        },
        "origin": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name"],
            "properties": {"name": TEXT, "sw_version": TEXT},
        },
        "availability": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["topic"],
                "properties": {"topic": NO_WILDCARD, "value_template": TEXT},
            },
        },
        "qos": {"enum": [0, 1, 2]},
        "components": {
            "type": "object",
            "propertyNames": {"pattern": "^[A-Za-z0-9_-]+$"},
            "additionalProperties": {
                "oneOf": [
                    {
                        "additionalProperties": False,
                        "required": ["platform"],
                        "properties": {"platform": {"enum": ["sensor", "binary_sensor"]}},
                    },
                    {
                        "additionalProperties": False,
                        "required": NEEDED,
                        "properties": SENSOR,
                        # An enum has options, and neither unit nor statistics.
                        "if": {
                            "required": ["device_class"],
                            "properties": {"device_class": {"const": "enum"}},
                        },
                        "then": {
                            "required": ["options"],
                            "not": {
                                "anyOf": [
                                    {"required": ["state_class"]},
                                    {"required": ["unit_of_measurement"]},
                                ]
                            },
                        },
                        "else": {"not": {"required": ["options"]}},
                    },
                    {
                        "additionalProperties": False,
                        "required": NEEDED,
                        "properties": BINARY_SENSOR,
                    },
                ]
            },
        },
    },
}


def test_the_description_is_what_is_documented(tmp_path: Path) -> None:
    wanted = settings(tmp_path)
    gone = {"verdict_old": "sensor", "camera_old": "binary_sensor", "state": "sensor"}
    for payload in (description(wanted), description(wanted, gone)):
        jsonschema.validate(json.loads(payload), SCHEMA)
        found = [c["unique_id"] for c in components(payload).values() if "unique_id" in c]
        assert len(set(found)) == len(found) == 11
    # An entity that is there again is not one that has gone.
    assert components(description(wanted, gone))["state"]["name"] == "State"
    # Home Assistant's own pattern of a topic of discovery, below its prefix.
    matcher = (
        r"(?P<component>\w+)/(?:(?P<node_id>[a-zA-Z0-9_-]+)/)?(?P<object_id>[a-zA-Z0-9_-]+)/config"
    )
    match = re.fullmatch(matcher, discovery_topic(wanted).removeprefix("homeassistant/"))
    assert match is not None
    assert match.groupdict() == {"component": "device", "node_id": "ulm", "object_id": "press4"}


@pytest.fixture
def render(tmp_path: Path) -> Callable[[str, msgspec.Struct], str]:
    """What an entity shows after a message, by the template that is announced for it."""
    message = json.loads(description(settings(tmp_path)))
    # Home Assistant renders in this environment; `tojson` is its own there.
    environment = ImmutableSandboxedEnvironment()

    def show(entity: str, sent: Any, template: str = "value_template") -> str:  # noqa: ANN401
        source = message["availability"][0] if not entity else message["components"][entity]
        return environment.from_string(source[template]).render(value_json=json.loads(encode(sent)))

    return show


def status(state: str, *reasons: str) -> Status:
    return Status(
        site="ulm",
        station="press4",
        boot="b",
        state=state,  # type: ignore[arg-type]
        reasons=list(reasons),
        version="1",
    )


def test_status_is_shown(render: Callable[..., str]) -> None:
    degraded = status("degraded", "outbox:the disk is full", "camera_lost:cam-top")
    assert render("state", degraded) == "degraded"
    attributes = json.loads(render("state", degraded, "json_attributes_template"))
    assert attributes == {"reasons": degraded.reasons}
    assert render("camera_cam-top", degraded) == "ON"
    assert render("camera_cam-side", degraded) == "OFF"
    assert render("camera_cam-top", status("degraded", "stream_failed:cam-top")) == "OFF"
    assert render("camera_cam-top", status("online")) == "OFF"
    shown = [render("", status(state)) for state in ("online", "degraded", "offline")]
    assert shown == ["online", "online", "offline"]


@pytest.mark.parametrize(
    ("reason", "problems"),
    [
        ("camera_fault:top:black", ["top"]),
        ("camera_lost:top", ["top"]),
        ("camera_fault:laptop:black", ["laptop"]),
        ("camera_lost:laptop", ["laptop"]),
        ("camera_fault:black:moved", ["black"]),
        ("camera_fault:moved:top", ["moved"]),
        ("stream_failed:top", []),
        ("model:top:black", []),
        ("camera_lost", []),
    ],
)
def test_a_problem_is_its_own_cameras(reason: str, problems: list[str], tmp_path: Path) -> None:
    names = ("top", "laptop", "black", "moved")
    cameras = "".join(f'[[camera]]\nname = "{name}"\nsource = "rtsp://c"\n' for name in names)
    streams = "".join(
        f'[[stream]]\nname = "s-{name}"\ncamera = "{name}"\nmodel = "cells"\n' for name in names
    )
    text = CONFIG.format(name="press4", url="mqtt://localhost", mqtt=ON) + cameras + streams
    known = json.loads(description(parse_settings(text, folder=tmp_path)))["components"]
    said = json.loads(encode(status("degraded", "outbox:disk full", reason)))
    environment = ImmutableSandboxedEnvironment()
    shown = {
        name: environment.from_string(known[f"camera_{name}"]["value_template"]).render(
            value_json=said
        )
        for name in names
    }
    assert shown == {name: "ON" if name in problems else "OFF" for name in names}


def test_health_is_shown(render: Callable[..., str]) -> None:
    streams = [
        StreamHealth(stream=name, results=n, dropped_frames=n + 1, rate_hz=1.0, camera="ok")
        for name, n in (("top", 40), ("side", 70))
    ]
    health = Health(
        site="ulm",
        station="press4",
        boot="b",
        uptime_s=1.0,
        streams=streams,
        outbox_pending=3,
        disk_free_mb=1.0,
        cpu_temperature_c=51.5,
        clock_synced=True,
        xnnpack={},
    )
    shown = ("results_top", "dropped_top", "results_side", "dropped_side", "pending", "temperature")
    assert [render(name, health) for name in shown] == ["40", "41", "70", "71", "3", "51.5"]
    # Home Assistant takes `None` for unknown.
    unknown = msgspec.structs.replace(health, cpu_temperature_c=None)
    assert render("temperature", unknown) == "None"


def test_verdicts_are_shown(render: Callable[..., str]) -> None:
    assert render("verdict_top", result(boot="b")) == result(boot="b").verdict
