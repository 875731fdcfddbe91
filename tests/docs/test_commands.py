"""docs/commands.md: each command is sent as it stands there, and answered as it says."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import Self, override

from lineside.commands import Response
from lineside.errors import StorageError
from lineside.image import Frame
from lineside.mqtt import Hooks, Incoming, MqttClient
from lineside.settings import MqttSettings
from lineside_agent.commands.ops import Kept, Limits, limits_op, pause_op, trigger_op
from lineside_agent.commands.snapshot import Snapshots
from lineside_agent.triggers import Firing
from tests.support.broker import Mosquitto, wait_for
from tests.support.commanded import CommandedStation
from tests.support.examples import result
from tests.support.program import program
from tests.support.requests import BOOT, TOPICS, read_response

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|json)\n(.*?)```", PAGE, re.DOTALL)
EXAMPLES = [
    (command.strip(), json.loads(answer))
    for (kind, command), (then, answer) in itertools.pairwise(BLOCKS)
    if (kind, then) == ("sh", "json")
]


class Station(CommandedStation):
    """Its stream has looked at five parts, without camera and model."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(url, folder, BOOT)
        self.paused = False
        self.limits: Limits = (0.35, 0.6)
        self.snapshots = Snapshots(self._newest)
        self.ops |= {
            "pause": pause_op(self._pause, paused=True),
            "resume": pause_op(self._pause, paused=False),
            "trigger": trigger_op(self._fire),
            "snapshot": self.snapshots,
            "set_limits": limits_op(self._set_limits, self.audit, self._tell),
        }

    def _pause(self, _stream: str, paused: bool) -> None:  # noqa: FBT001 - as the op calls it
        self.paused = paused

    def _set_limits(self, _stream: str, review: float | None, ng: float | None) -> Limits:
        before, self.limits = self.limits, (review, ng)
        return before

    def _tell(self, kind: str, _message: str, **_details: object) -> None:
        assert kind == "limits_changed"

    def _newest(self, _stream: str) -> Frame:
        return np.zeros((1080, 1920, 3), np.uint8)

    def _fire(self, stream: str, firing: Firing, answer: Kept, then: Callable[[], None]) -> None:
        if self.keeper.accept(stream, firing.encode(), answer=answer, then=then) is None:
            msg = "no room"
            raise StorageError(msg)

    @override
    def __enter__(self) -> Self:
        super().__enter__()
        for _ in range(5):
            self.keeper.put(result(boot=BOOT), wait=True)
        wait_for(lambda: self.keeper.pending == 0)
        return self

    @override
    def __exit__(self, *exc: object) -> None:
        self.snapshots.stop()
        super().__exit__(*exc)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture(scope="module")
def answers(
    broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], list[Response]]]:
    """What the station has answered so far."""
    heard: list[Incoming] = []
    subscribed = threading.Event()
    listener = MqttClient(
        MqttSettings(url=broker.url), "me", subscriptions=(TOPICS.response("me"),)
    )
    with Station(broker.url, tmp_path_factory.mktemp("state")):
        hooks = Hooks(on_message=heard.append, on_subscribed=lambda _refused: subscribed.set())
        listener.start(hooks)
        assert subscribed.wait(10)
        yield lambda: [read_response(message.payload) for message in heard]
        listener.stop()


def run(command: str, broker: Mosquitto) -> str:
    """What a command of the page prints."""
    words = shlex.split(command.replace("-h localhost", f"-h 127.0.0.1 -p {broker.port}"))
    words[0] = program(words[0], "mosquitto-clients")
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=20).stdout


@pytest.mark.broker
@pytest.mark.parametrize(("command", "details"), EXAMPLES)
def test_each_command_is_answered_as_it_says(
    broker: Mosquitto,
    answers: Callable[[], list[Response]],
    command: str,
    details: dict[str, Any],
) -> None:
    asked = json.loads(shlex.split(command)[-1])
    run(command, broker)
    wait_for(lambda: asked["id"] in [answer.id for answer in answers()], what="the answer")
    (answer,) = [answer for answer in answers() if answer.id == asked["id"]]
    assert (answer.ok, answer.reason, answer.op) == (True, None, asked["op"])
    if details.get("jpeg"):
        details = details | {"jpeg": answer.details["jpeg"]}
    assert answer.details == details


@pytest.mark.broker
def test_asking_and_waiting_in_one(
    broker: Mosquitto, answers: Callable[[], list[Response]]
) -> None:
    (command,) = [text.strip() for kind, text in BLOCKS if text.startswith("mosquitto_rr")]
    printed = read_response(run(command, broker).encode())
    assert printed.details == {"stream": "top", "paused": True}
    wait_for(lambda: printed in answers())


def test_each_op_is_there() -> None:
    shown = {json.loads(shlex.split(command)[-1])["op"] for command, _ in EXAMPLES}
    assert shown == {"pause", "resume", "trigger", "replay", "snapshot", "set_limits"}
