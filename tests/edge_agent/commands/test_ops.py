"""The ops that change how a station works, and the snapshot."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lineside.commands import Response
from lineside.errors import InputError, MessageError
from lineside.image import Frame
from lineside_agent.commands import Audit
from lineside_agent.commands.ops import Kept, Limits, limits_op, pause_op, trigger_op
from lineside_agent.commands.snapshot import LONG_SIDE, MAX_JPEG_BYTES, Snapshots, shrink
from lineside_agent.triggers import Firing
from tests.support.broker import wait_for
from tests.support.requests import BOOT, Counter, command, incoming, read_response

RNG = np.random.default_rng(0)


class Station:
    """What the agent gives the ops, for one stream called `top`."""

    def __init__(self) -> None:
        self.paused = False
        self.limits: Limits = (0.35, 0.6)
        self.told: list[tuple[str, str, dict[str, object]]] = []
        self.frame: Frame | None = None
        self.fired: list[tuple[Firing, Kept, Callable[[], None]]] = []
        self.room = True

    def _check(self, stream: str) -> None:
        if stream != "top":
            msg = f"no stream {stream!r}: there is top"
            raise InputError(msg)

    def set_paused(self, stream: str, paused: bool) -> None:  # noqa: FBT001 - as the op calls it
        self._check(stream)
        self.paused = paused

    def set_limits(self, stream: str, review: float | None, ng: float | None) -> Limits:
        self._check(stream)
        before, self.limits = self.limits, (review, ng)
        return before

    def tell(self, kind: str, message: str, **details: object) -> None:
        self.told.append((kind, message, details))

    def newest(self, stream: str) -> Frame | None:
        self._check(stream)
        return self.frame

    def fire(self, stream: str, firing: Firing, answer: Kept, then: Callable[[], None]) -> None:
        self._check(stream)
        if not self.room:
            msg = "there is no room for a trigger: the disk is full"
            raise MessageError(msg)
        self.fired.append((firing, answer, then))


@pytest.fixture
def station() -> Station:
    return Station()


@pytest.fixture
def counter(tmp_path: Path, station: Station) -> Iterator[Counter]:
    audit = Audit(tmp_path / "audit.jsonl", BOOT)
    snapshots = Snapshots(station.newest)
    ops = {
        "pause": pause_op(station.set_paused, paused=True),
        "resume": pause_op(station.set_paused, paused=False),
        "trigger": trigger_op(station.fire),
        "set_limits": limits_op(station.set_limits, audit, station.tell),
        "snapshot": snapshots,
    }
    audit.start()
    yield Counter(tmp_path, ops, audit=audit)
    audit.stop()
    snapshots.stop()


def ask(counter: Counter, op: str, number: str = "c-1", **args: Any) -> Response:  # noqa: ANN401
    return counter.ask(command(op, id=number, args=args))


def test_pause_and_resume(counter: Counter, station: Station) -> None:
    assert ask(counter, "pause", stream="top").details == {"stream": "top", "paused": True}
    assert station.paused
    assert ask(counter, "resume", "c-2", stream="top").ok
    assert not station.paused
    assert ask(counter, "pause", "c-3", stream="side").reason == "no stream 'side': there is top"
    assert "'stream' is missing" in (ask(counter, "pause", "c-4").reason or "")


def test_limits(counter: Counter, station: Station) -> None:
    answer = ask(counter, "set_limits", stream="top", review=0.2, ng=None)
    assert answer.details == {
        "stream": "top",
        "before": {"review": 0.35, "ng": 0.6},
        "after": {"review": 0.2, "ng": None},
    }
    assert station.limits == (0.2, None)
    kind, message, details = station.told[0]
    assert (kind, details["by"], details["after"]) == (
        "limits_changed",
        "hmi",
        {"review": 0.2, "ng": None},
    )
    assert "hmi has set the limits to review 0.2, ng None" in message


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ({"review": 0.7, "ng": 0.6}, "review is 0.7, above ng, which is 0.6"),
        ({"review": 0.7}, "'ng' is missing"),
        ({"review": -0.1, "ng": 0.5}, "of at least 0 and at most 1 "),
        ({"review": 0.1, "ng": 1.5}, "of at least 0 and at most 1 "),
        ({"review": "0.1", "ng": 0.5}, "review: a number is expected, got '0.1'"),
    ],
)
def test_limits_that_are_refused(
    counter: Counter, station: Station, args: dict[str, Any], text: str
) -> None:
    assert text in (ask(counter, "set_limits", stream="top", **args).reason or "")
    assert station.limits == (0.35, 0.6)


def test_a_trigger_is_answered_once_it_is_on_disk(counter: Counter, station: Station) -> None:
    args = {"stream": "top", "part_id": "SN-77", "context": {"order": "A17"}}
    message = incoming(command("trigger", args=args))
    counter.desk.on_message(message)
    assert counter.outside.sent == []
    ((firing, (requester, number, kept), then),) = station.fired
    assert (firing.kind, firing.id, firing.part_id) == ("command", "c-1", "SN-77")
    assert firing.context == {"order": "A17"}
    assert firing.mono_ns == message.mono_ns
    assert (requester, number) == ("hmi", "c-1")
    thread = threading.Thread(target=then)  # the keeper's
    thread.start()
    thread.join()
    assert [sent.payload for sent in counter.outside.sent] == [kept]
    assert read_response(kept).ok


def test_a_trigger_that_could_not_be_kept(counter: Counter, station: Station) -> None:
    counter.desk.on_message(incoming(command("trigger", args={"stream": "top"})))
    counter.desk.on_message(incoming(command("trigger", args={"stream": "top"})))
    assert counter.outside.responses == []  # neither is answered before it is on disk
    station.room = False
    answer = ask(counter, "trigger", "c-2", stream="top")
    assert answer.reason == "there is no room for a trigger: the disk is full"
    station.room = True  # a trouble that has passed: the same command is no repeat
    counter.desk.on_message(incoming(command("trigger", id="c-2", args={"stream": "top"})))
    assert [fired[0].id for fired in station.fired] == ["c-1", "c-2"]
    for number, args in enumerate(
        [
            {"part_id": "x" * 129},
            {"context": {f"{n}": "" for n in range(17)}},
            {"context": {"a": 1}},
        ]
    ):
        assert not ask(counter, "trigger", f"d-{number}", stream="top", **args).ok
    assert len(station.fired) == 2


def snapshot(counter: Counter) -> Response:
    before = len(counter.outside.sent)
    counter.desk.on_message(incoming(command("snapshot", id=f"s-{before}", args={"stream": "top"})))
    wait_for(lambda: len(counter.outside.sent) > before)
    return counter.outside.responses[-1]


def test_a_snapshot(counter: Counter, station: Station) -> None:
    assert "has no frame just now" in (snapshot(counter).reason or "")
    x, y = np.meshgrid(np.linspace(0, 255, 1920), np.linspace(0, 255, 1080))
    station.frame = np.stack([x, y, np.full_like(x, 99)], axis=2).astype(np.uint8)
    answer = snapshot(counter)
    assert answer.details | {"jpeg": ""} == {
        "stream": "top",
        "width": LONG_SIDE,
        "height": 360,
        "jpeg": "",
    }
    seen = cv2.imdecode(
        np.frombuffer(base64.b64decode(answer.details["jpeg"]), np.uint8), cv2.IMREAD_COLOR
    )
    assert seen is not None
    assert seen.shape == (360, 640, 3)
    small = cv2.resize(station.frame, (640, 360), interpolation=cv2.INTER_AREA)
    assert np.abs(seen.astype(int) - small).mean() < 3


@pytest.mark.parametrize("shape", [(32, 32, 3), (3000, 40, 3), (2000, 2000, 3)])
def test_a_snapshot_is_small(shape: tuple[int, int, int]) -> None:
    noise = RNG.integers(0, 256, shape, np.uint8)  # what JPEG is worst at
    jpeg, width, height = shrink(noise)
    assert len(jpeg) <= MAX_JPEG_BYTES
    assert max(width, height) == min(LONG_SIDE, max(shape))


def test_a_snapshot_that_fails(
    counter: Counter, station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    station.frame = np.zeros((0, 0, 3), np.uint8)
    assert "see its log" in (snapshot(counter).reason or "")
    assert "a snapshot failed" in caplog.text


def test_limits_are_in_the_audit_log(counter: Counter, tmp_path: Path) -> None:
    ask(counter, "set_limits", stream="top", review=0.1, ng=0.2)
    counter.audit.stop()
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["limits", "command"]
    assert (lines[0]["before"], lines[0]["after"]) == ([0.35, 0.6], [0.1, 0.2])
    assert (lines[0]["requester"], lines[0]["stream"]) == ("hmi", "top")
