"""What Home Assistant finds at a real broker, and what it makes of our messages."""

from __future__ import annotations

import json
import queue
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lineside.errors import SettingsError
from lineside.messages import Health, Status, StreamHealth, encode
from lineside.mqtt import Hooks, Incoming, MqttClient, Outgoing
from lineside.settings import MqttSettings, Settings, parse_settings
from lineside_agent.home_assistant import FILE, HomeAssistant, description, discovery_topic
from tests.support.broker import Mosquitto, wait_for
from tests.support.examples import result

CONFIG = """
[station]
site = "ulm"
name = "{name}"
[mqtt]
url = "{url}"
{mqtt}
[[model]]
name = "cells"
bundle = "bundle"
"""
STREAM = """
[[camera]]
name = "cam-{name}"
source = "v4l2:/dev/video0"
[[stream]]
name = "{name}"
camera = "cam-{name}"
model = "cells"
"""
ON = "home_assistant = true"
TOPIC = "homeassistant/device/ulm/press4/config"


def settings(
    folder: Path,
    url: str = "mqtt://localhost",
    mqtt: str = ON,
    *,
    name: str = "press4",
    streams: tuple[str, ...] = ("top", "side"),
) -> Settings:
    text = CONFIG.format(name=name, url=url, mqtt=mqtt)
    return parse_settings(text + "".join(STREAM.format(name=s) for s in streams), folder=folder)


class Station:
    """The client and the announcer, as the agent puts them together."""

    def __init__(self, wanted: Settings) -> None:
        self.client = MqttClient(wanted.mqtt, "station", backoff_s=(0.02, 0.1))
        self.announcer = HomeAssistant(wanted, self.client.address, self.client.publish)

    def __enter__(self) -> Station:  # noqa: PYI034
        self.announcer.start()
        self.client.start(Hooks(on_connect=self.announcer.greet))
        assert self.client.wait_connected(5), self.client.error
        return self

    def settle(self) -> None:
        """Wait until all is sent and answered, and noted."""

        def settled() -> bool:
            idle = self.client.idle
            self.announcer.tick()
            return idle

        wait_for(settled, what="an idle client")

    def __exit__(self, *_exc: object) -> None:
        self.settle()
        self.client.stop()
        self.announcer.tick()


def retained(url: str) -> dict[str, bytes]:
    """What the broker holds for Home Assistant, as one that comes later hears it."""
    heard: queue.SimpleQueue[Incoming] = queue.SimpleQueue()
    end = f"end/{uuid.uuid4()}"
    client = MqttClient(MqttSettings(url=url), f"ha-{uuid.uuid4()}", subscriptions=("#",))
    marker = Outgoing(end, b"")
    hooks = Hooks(on_message=heard.put, on_subscribed=lambda _: client.publish(marker))
    client.start(hooks)
    found = {}
    while (message := heard.get(timeout=10)).topic != end:
        assert message.retained
        found[message.topic] = message.payload
    client.stop()
    return {topic: payload for topic, payload in found.items() if "/device/" in topic}


def components(payload: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(payload)["components"]
    return found


@pytest.mark.broker
def test_it_is_announced_and_kept_by_the_broker(tmp_path: Path, broker: Mosquitto) -> None:
    with Station(settings(tmp_path, broker.url)):
        pass
    found = retained(broker.url)
    assert list(found) == [TOPIC]
    names = set(components(found[TOPIC]))
    assert names == {
        *("state", "temperature", "pending"),
        *("verdict_top", "results_top", "dropped_top", "camera_cam-top"),
        *("verdict_side", "results_side", "dropped_side", "camera_cam-side"),
    }


@pytest.mark.broker
def test_turned_off_while_the_agent_was_down_it_is_removed(
    tmp_path: Path, broker: Mosquitto
) -> None:
    with Station(settings(tmp_path, broker.url)):
        pass
    assert list(retained(broker.url)) == [TOPIC]
    off = settings(tmp_path, broker.url, "")
    with Station(off):
        pass
    assert retained(broker.url) == {}
    assert (tmp_path / "state" / FILE).read_text() == "{}"
    with Station(off):  # and there is no more to say
        pass
    assert broker.log.count(f"Received PUBLISH from station (d0, q1, r1, m1, '{TOPIC}'") == 2


@pytest.mark.broker
def test_nothing_is_said_where_it_was_never_on(tmp_path: Path, broker: Mosquitto) -> None:
    with Station(settings(tmp_path, broker.url, "")):
        pass
    assert "Received PUBLISH from station" not in broker.log
    assert not (tmp_path / "state").exists()


@pytest.mark.broker
def test_a_station_that_was_renamed_leaves_no_ghost(tmp_path: Path, broker: Mosquitto) -> None:
    with Station(settings(tmp_path, broker.url)):
        pass
    other = f'{ON}\nhome_assistant_prefix = "ha/plant"'
    with Station(settings(tmp_path, broker.url, other, name="press5")):
        pass
    assert list(retained(broker.url)) == ["ha/plant/device/ulm/press5/config"]


@pytest.mark.broker
def test_a_stream_that_has_gone_is_taken_back(tmp_path: Path, broker: Mosquitto) -> None:
    with Station(settings(tmp_path, broker.url)):
        pass
    with Station(settings(tmp_path, broker.url, streams=("top",))):
        pass
    found = components(retained(broker.url)[TOPIC])
    # As documented: an entity is removed by a description that holds only its platform.
    assert found["verdict_side"] == {"platform": "sensor"}
    assert found["camera_cam-side"] == {"platform": "binary_sensor"}
    assert found["verdict_top"]["state_topic"] == "lineside/ulm/press4/result/top"
    with Station(settings(tmp_path, broker.url)):  # and back again
        pass
    found = components(retained(broker.url)[TOPIC])
    assert found["verdict_side"]["state_topic"] == "lineside/ulm/press4/result/side"


@pytest.mark.broker
def test_what_another_broker_holds_is_not_forgotten(tmp_path: Path, broker: Mosquitto) -> None:
    with Station(settings(tmp_path, broker.url)):
        pass
    with Mosquitto(tmp_path / "second") as second, Station(settings(tmp_path, second.url, "")):
        pass
    assert list(retained(broker.url)) == [TOPIC]
    with Station(settings(tmp_path, broker.url, "")):
        pass
    assert retained(broker.url) == {}


@pytest.mark.broker
def test_a_lost_broker_is_told_again(tmp_path: Path, broker: Mosquitto) -> None:
    with Station(settings(tmp_path, broker.url)) as station:
        station.settle()
        broker.kill()  # without persistence, it forgets
        broker.start()
        wait_for(lambda: station.client.connected)
    assert list(retained(broker.url)) == [TOPIC]


@pytest.mark.broker
def test_what_can_not_be_remembered_is_not_announced(
    tmp_path: Path,
    broker: Mosquitto,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lineside_agent.home_assistant.RETRY_S", 0.0)
    state = tmp_path / "state"
    state.write_text("a file stands where the folder should be")
    with Station(settings(tmp_path, broker.url)) as station:
        station.settle()
        assert retained(broker.url) == {}
        assert any(text.startswith("Home Assistant is told later") for text in caplog.messages)
        state.unlink()
        station.settle()
    assert list(retained(broker.url)) == [TOPIC]


@pytest.mark.broker
@pytest.mark.parametrize("content", ["", "[1]", '{"x": 1}', "\x00"])
def test_a_damaged_memory_is_passed_over(
    tmp_path: Path, broker: Mosquitto, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state" / FILE
    path.parent.mkdir()
    path.write_text(content)
    with Station(settings(tmp_path, broker.url)):
        pass
    assert list(retained(broker.url)) == [TOPIC]
    assert any(text.startswith(f"{path} is passed over") for text in caplog.messages)


@pytest.mark.broker
def test_a_broker_that_forbids_it_is_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "broker"
    acl = {"acl": "topic readwrite lineside/#\n"}
    with (
        Mosquitto(folder, f"acl_file {folder / 'acl'}", files=acl) as guarded,
        Station(settings(tmp_path, guarded.url)) as station,
    ):
        station.settle()
    assert f"the broker refuses {TOPIC} (Not authorized): may we write there?" in caplog.messages


def test_a_wrong_prefix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"mqtt\.home_assistant_prefix"):
        settings(tmp_path, mqtt=f'{ON}\nhome_assistant_prefix = "ha/#"')


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
