"""What Home Assistant finds at a real broker."""

from __future__ import annotations

import queue
import uuid
from pathlib import Path

import pytest

from lineside.errors import SettingsError
from lineside.mqtt import Hooks, Incoming, MqttClient, Outgoing
from lineside.settings import MqttSettings, Settings
from lineside_agent.home_assistant import FILE, HomeAssistant
from tests.support.broker import Mosquitto, wait_for
from tests.support.home import ON, components, settings
from tests.support.requests import Outside

TOPIC = "homeassistant/device/ulm/press4/config"


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


def test_what_is_on_its_way_is_not_said_again_at_each_connection(tmp_path: Path) -> None:
    """As with a broker that drops us each time before it confirms anything."""
    outside = Outside()
    outside.holding = True
    announcer = HomeAssistant(settings(tmp_path), "broker:1883", outside.publish)
    announcer.start()
    for _ in range(10):
        announcer.greet()
    assert [message.topic for message in outside.sent] == [TOPIC]
    outside.acknowledge(outside.sent[0])
    announcer.greet()
    assert [message.topic for message in outside.sent] == [TOPIC, TOPIC]
    off = HomeAssistant(settings(tmp_path, mqtt=""), "broker:1883", outside.publish)
    off.start()
    for _ in range(10):
        off.greet()
    assert [message.payload for message in outside.sent[2:]] == [b""]
    outside.acknowledge(outside.sent[2])
    off.greet()
    assert len(outside.sent) == 3


def test_what_the_client_had_no_room_for_is_said_at_the_next_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outside = Outside()
    outside.holding = outside.full = True
    announcer = HomeAssistant(settings(tmp_path), "broker:1883", outside.publish)
    announcer.start()
    announcer.greet()
    assert "Home Assistant is told later: 10000 messages wait already" in caplog.messages
    outside.full = False
    announcer.greet()
    assert [message.topic for message in outside.sent] == [TOPIC]


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
