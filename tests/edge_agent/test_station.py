"""A whole station by its commands: a real agent, a real broker, the virtual line."""

from __future__ import annotations

import base64
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from lineside.commands import Command, Response, encode
from lineside.messages import Health, Result, StreamHealth
from lineside.mqtt import MqttClient, Outgoing
from lineside.settings import MqttSettings
from lineside.subscriber import Subscriber
from lineside.topics import Topics
from lineside_agent.capture.line import Wish, ask
from tests.support.broker import Mosquitto, wait_for
from tests.support.line import plain_pictures
from tests.support.listener import Listener
from tests.support.station import AgentProcess, write_config

TOPICS = Topics("ulm", "press4")


class Operator:
    """Sends commands, and hears all that the station says."""

    def __init__(self, url: str) -> None:
        self.listener = Listener(url)
        self._client = MqttClient(MqttSettings(url=url), "operator", backoff_s=(0.02, 0.05))
        self._client.start()
        assert self._client.wait_connected(10)
        self._sent = 0

    def send(self, op: str, **args: object) -> str:
        self._sent += 1
        name = f"c{self._sent}"
        command = Command(id=name, requester="operator", expires_s=20, op=op, args=args)
        self._client.publish(Outgoing(TOPICS.command(), encode(command)))
        return name

    def answer(self, name: str) -> Response:
        def found() -> list[Response]:
            messages = self.listener.messages()
            return [m for m in messages if isinstance(m, Response) and m.id == name]

        wait_for(found)
        return found()[0]

    def ask(self, op: str, **args: object) -> Response:
        return self.answer(self.send(op, **args))

    def result(self, trigger: str) -> Result:
        def found() -> list[Result]:
            return [r for r in self.listener.of(Result) if r.trigger.id == trigger]

        wait_for(found, 20)
        assert len(found()) == 1
        return found()[0]

    def close(self) -> None:
        self._client.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return plain_pictures(tmp_path / "line", 4)


@pytest.fixture
def config(broker: Mosquitto, tmp_path: Path, folder: Path, bundle_folder: Path) -> Path:
    return write_config(
        tmp_path / "station",
        url=broker.url,
        bundle=bundle_folder,
        source=f"line:{folder}",
        camera='rate = 20\n[[stream]]\nname = "top"\ncamera = "top"\nmodel = "cells"\n'
        'trigger = "command"',
    )


@pytest.fixture
def operator(broker: Mosquitto) -> Iterator[Operator]:
    one = Operator(broker.url)
    with one.listener:
        yield one
    one.close()


def ready(operator: Operator, boots: int = 1) -> None:
    """Wait until the agent has started, and its camera gives frames."""
    wait_for(lambda: [e.kind for e in operator.listener.events()].count("started") >= boots, 30)
    until = time.monotonic() + 20
    while operator.ask("snapshot", stream="top").reason is not None:
        assert time.monotonic() < until


@pytest.mark.broker
def test_what_a_station_does_when_it_is_asked(config: Path, operator: Operator) -> None:
    with AgentProcess(config) as agent:
        ready(operator)
        name = operator.send("trigger", stream="top", part_id="SN-1", context={"order": "A17"})
        result = operator.result(name)
        assert operator.answer(name).ok
        assert (result.part.id, result.part.context) == ("SN-1", {"order": "A17"})
        assert result.verdict != "no_read"
        source = result.inputs[0]
        assert (source.stamp, source.max_delay_ms) == ("driver", None)
        assert source.mono_ns >= result.trigger.mono_ns

        assert operator.ask("set_limits", stream="top", review=None, ng=0.0).ok
        result = operator.result(operator.send("trigger", stream="top"))
        assert (result.verdict, result.limits.ng, result.limits.origin) == ("ng", 0.0, "command")

        assert operator.ask("pause", stream="top").ok
        result = operator.result(operator.send("trigger", stream="top"))
        assert (result.verdict, result.reasons) == ("no_read", ["paused"])
        wait_for(lambda: operator.listener.states()[-1] == "degraded paused:top")
        assert operator.ask("resume", stream="top").ok
        wait_for(lambda: operator.listener.states()[-1] == "online")

        details = operator.ask("snapshot", stream="top").details
        picture = np.frombuffer(base64.b64decode(details["jpeg"]), np.uint8)
        assert cv2.imdecode(picture, cv2.IMREAD_COLOR).shape == (48, 64, 3)

        refused = operator.ask("trigger", stream="side")
        assert refused.reason == "there is no stream 'side', there is top"
        agent.send(signal.SIGTERM)
        assert agent.wait() == 0
    changed = next(e for e in operator.listener.events() if e.kind == "limits_changed")
    assert changed.details["by"] == "operator"
    assert not [e.kind for e in operator.listener.events() if e.kind == "camera_lost"]
    assert operator.listener.states()[-1] == "offline stopped"


@pytest.mark.broker
def test_a_camera_that_is_black_gives_no_verdict_and_says_so(
    config: Path, folder: Path, operator: Operator
) -> None:
    heard = operator.listener

    def health() -> StreamHealth:
        return heard.of(Health)[-1].streams[0]

    with AgentProcess(config):
        ready(operator)
        assert operator.result(operator.send("trigger", stream="top")).verdict != "no_read"
        ask(folder, Wish(fault="black"))
        wait_for(lambda: "degraded camera_fault:top:black" in heard.states(), 3.0)
        result = operator.result(operator.send("trigger", stream="top"))
        assert (result.verdict, result.reasons, result.inputs) == ("no_read", ["camera:black"], [])
        wait_for(lambda: heard.of(Health) and health().findings == ["black"], 5.0)
        assert health().camera == "ok"
        assert health().faults["black"] > 0
        ask(folder, Wish(noise=False))
        wait_for(lambda: heard.states()[-1] == "online", 10.0)
        assert operator.result(operator.send("trigger", stream="top")).verdict != "no_read"
        wait_for(lambda: health().findings == [], 5.0)
    begun, over = (e for e in heard.events() if e.kind.startswith("camera_"))
    assert (begun.kind, begun.details) == ("camera_fault", {"camera": "top", "fault": "black"})
    assert begun.message.startswith("camera 'top' is black: the brightest 1 % of the picture is")
    assert (over.kind, over.details) == ("camera_fault_over", begun.details)


@pytest.mark.broker
def test_a_trigger_that_was_accepted_before_a_kill(
    config: Path, folder: Path, operator: Operator
) -> None:
    """The camera hangs, so the part is waited for; then the process is gone."""
    with AgentProcess(config) as agent:
        ready(operator)
        ask(folder, Wish(fault="hang"))
        time.sleep(0.3)  # a frame may be on its way
        name = operator.send("trigger", stream="top", part_id="SN-7")
        assert operator.answer(name).ok
        agent.send(signal.SIGKILL)
        assert agent.wait() == -signal.SIGKILL
    ask(folder, Wish())
    assert name not in [r.trigger.id for r in operator.listener.of(Result)]
    with AgentProcess(config):
        result = operator.result(name)
        assert (result.verdict, result.reasons) == ("no_read", ["cut_off"])
        assert (result.part.id, result.captured_at) == ("SN-7", None)
        cut = next(e for e in operator.listener.events() if e.kind == "cut_off")
        assert cut.details["streams"][0]["unanswered"] == 1
        assert operator.ask("trigger", stream="top").ok


@pytest.mark.broker
def test_a_subscriber_gets_what_it_missed(
    config: Path, operator: Operator, broker: Mosquitto
) -> None:
    """Who asks for all that is kept gets it by the station's own replay, each result once."""
    with AgentProcess(config):
        ready(operator)
        wanted = [operator.ask("trigger", stream="top").id for _ in range(30)]
        wait_for(lambda: len(operator.listener.of(Result)) == 30, 30)
        got: list[Result] = []
        with Subscriber(broker.url, repair=True, since="kept") as subscriber:
            until = time.monotonic() + 30
            while len(got) < 30 and time.monotonic() < until:
                received = subscriber.take(0.5)
                if received is not None and isinstance(received.message, Result):
                    got.append(received.message)
            assert subscriber.tracker.missing == 0
        assert sorted(r.seq for r in got) == list(range(1, 31))
        assert {r.trigger.id for r in got} == set(wanted)
        live = {m.payload for m in operator.listener.heard if m.topic == TOPICS.result("top")}
        assert len(live) == 30
