"""Every kind of trigger by the same rules, and what a stream makes of one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone

import numpy as np
import pytest
from typing_extensions import override

from lineside.errors import InputError, SettingsError
from lineside.messages import Result
from lineside_agent.sources import EndOfSourceError, Shot, Source
from lineside_agent.stream import POLL_S, Stream
from lineside_agent.triggers import TRIGGERS, Firing, Trigger, make_trigger
from tests.edge_agent.test_stream import FRAME, Looks, slot
from tests.support.broker import wait_for


def make(kind: str) -> Trigger:
    trigger = make_trigger({"interval": "interval:0.02"}.get(kind, kind), queue=2)
    assert trigger is not None
    return trigger


@pytest.mark.parametrize("kind", TRIGGERS)
def test_conformance(kind: str) -> None:
    trigger = make(kind)
    trigger.push(Firing.now(kind, id="7"), 3)
    fired = trigger.wait(1.0)
    assert fired is not None
    firing, journal = fired
    assert firing.kind == kind
    assert 0 <= time.monotonic_ns() - firing.mono_ns < 1e9
    assert (firing.id, journal) in {("7", 3), (None, None)}
    assert Firing.decode(firing.encode()) == firing
    before = time.monotonic()
    trigger.wait(0.001)
    assert time.monotonic() - before < 0.5
    assert trigger.drain() == []


def test_each_frame_is_a_part_without_a_trigger() -> None:
    assert make_trigger("frame", queue=2) is None


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"'gpio:17' is none of frame, interval, command"):
        make_trigger("gpio:17", queue=2)


def test_what_waits_is_bounded_and_in_order() -> None:
    trigger = make("command")
    taken = [trigger.push(Firing.now("command", id=str(n)), n) for n in range(3)]
    assert taken == [True, True, False]
    fired = trigger.wait(0)
    assert fired is not None
    assert (fired[0].id, fired[1]) == ("0", 0)
    assert [(firing.id, journal) for firing, journal in trigger.drain()] == [("1", 1)]
    assert trigger.wait(0) is None


class Camera(Source):
    """A live camera that gives the shots it is told to."""

    finite = False

    def __init__(self, *, max_delay_ms: float = 0.0) -> None:
        super().__init__("cam0", "memory")
        self.max_delay_ms = max_delay_ms
        self.shots: list[Shot] = []
        self.arrived = threading.Condition()

    def give(self, mono_ns: int, *, stamp: str = "driver", flagged: str | None = None) -> None:
        frame = None if flagged else FRAME
        with self.arrived:
            self.shots.append(
                Shot(
                    frame,
                    mono_ns,
                    datetime.now(timezone.utc),
                    stamp=stamp,  # type: ignore[arg-type]
                    flagged=flagged,
                    problem=flagged,
                )
            )
            self.arrived.notify()

    @override
    def _open(self) -> None:
        pass

    @override
    def _take(self, timeout_s: float) -> Shot | None:
        with self.arrived:
            self.arrived.wait_for(lambda: self.shots, timeout_s)
            return self.shots.pop(0) if self.shots else None

    @override
    def _close(self) -> None:
        pass


class Running:
    """A stream on a live camera, with what it gave."""

    def __init__(
        self, camera: Camera, trigger: str, *, queue: int = 4, max_wait_ms: float = 1000
    ) -> None:
        self.camera = camera
        self.results: list[tuple[Result, int | None]] = []
        self.stream = Stream(
            slot(Looks()), camera, trigger, self.put, queue=queue, max_wait_ms=max_wait_ms
        )
        self.stream.source.open()

    def put(self, result: Result, *, wait: bool, journal: int | None = None) -> bool:
        assert not wait  # a live camera never waits
        self.results.append((result, journal))
        return True

    def until(self, count: int) -> list[Result]:
        wait_for(lambda: len(self.results) >= count)
        return [result for result, _ in self.results]


@pytest.fixture
def running() -> Callable[..., Running]:
    made: list[Running] = []

    def make(camera: Camera, trigger: str, **options: float) -> Running:
        made.append(Running(camera, trigger, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make  # type: ignore[misc]
    for one in made:
        one.stream.stop()


def test_a_frame_from_before_the_trigger_is_not_looked_at(running: Callable[..., Running]) -> None:
    camera = Camera()
    one = running(camera, "command")
    firing = Firing.now("command", id="9", part_id="SN-9", context={"order": "A17"})
    camera.give(firing.mono_ns - 1)
    camera.give(firing.mono_ns + 5)
    one.stream.fire(firing, 12)
    one.stream.start()
    result = one.until(1)[0]
    assert result.inputs[0].mono_ns == firing.mono_ns + 5
    assert (result.part.id, result.part.context) == ("SN-9", {"order": "A17"})
    assert (result.trigger.kind, result.trigger.id) == ("command", "9")
    assert result.verdict == "ng"
    assert one.results[0][1] == 12


def test_a_camera_without_stamps_is_held_to_its_delay(running: Callable[..., Running]) -> None:
    camera = Camera(max_delay_ms=50)
    one = running(camera, "command")
    firing = Firing.now("command")
    camera.give(firing.mono_ns + 49_000_000, stamp="read")
    camera.give(firing.mono_ns + 50_000_000, stamp="read")
    one.stream.fire(firing)
    one.stream.start()
    source = one.until(1)[0].inputs[0]
    assert source.mono_ns == firing.mono_ns + 50_000_000
    assert (source.stamp, source.max_delay_ms) == ("read", 50)


def test_a_frame_from_after_the_part_has_passed_is_not_looked_at(
    running: Callable[..., Running],
) -> None:
    camera = Camera()
    one = running(camera, "command", max_wait_ms=200)
    first = Firing.now("command")
    late = Firing(kind="command", mono_ns=first.mono_ns - 10**9)  # it waited for its turn
    for after_ms in (-900, -799, 200):
        camera.give(first.mono_ns + after_ms * 1_000_000)
    one.stream.fire(late, 1)
    one.stream.fire(late, 2)
    one.stream.fire(first, 3)
    one.stream.start()
    in_time, too_late, last = one.until(3)
    assert in_time.inputs[0].mono_ns == first.mono_ns - 900_000_000
    assert (too_late.verdict, too_late.reasons) == ("no_read", ["no_frame"])
    assert last.inputs[0].mono_ns == first.mono_ns + 200_000_000


def test_frames_that_can_not_be_trusted(running: Callable[..., Running]) -> None:
    """A flagged one, then the same stamp again: no verdict on either."""
    camera = Camera()
    one = running(camera, "command", max_wait_ms=500)
    one.stream.start()
    first = Firing.now("command")
    camera.give(first.mono_ns + 10, flagged="corrupt_jpeg")
    one.stream.fire(first)
    assert one.until(1)[0].reasons == ["camera:corrupt_jpeg"]
    second = Firing(kind="command", mono_ns=first.mono_ns)
    camera.give(first.mono_ns + 20)
    one.stream.fire(second)
    assert one.until(2)[1].verdict == "ng"
    camera.give(first.mono_ns + 20)
    one.stream.fire(second)
    assert one.until(3)[2].reasons == ["camera:stale"]
    one.stream.fire(second)
    assert one.until(4)[3].reasons == ["no_frame"]
    assert dict(one.stream.faults) == {"flagged": 1, "stale": 1}


def test_frames_that_can_not_be_trusted_are_parts_too(running: Callable[..., Running]) -> None:
    camera = Camera()
    one = running(camera, "frame")
    for mono_ns, flagged in ((10, None), (20, "driver_error"), (10, None), (30, None)):
        camera.give(mono_ns, flagged=flagged)
    one.stream.start()
    assert [(r.verdict, r.reasons[0]) for r in one.until(4)] == [
        ("ng", "score>=ng"),
        ("no_read", "camera:driver_error"),
        ("no_read", "camera:stale"),
        ("ng", "score>=ng"),
    ]


def test_too_many_parts_are_answered_at_once(running: Callable[..., Running]) -> None:
    one = running(Camera(), "command", queue=2)
    for number in range(4):
        one.stream.fire(Firing.now("command", id=str(number)), number)
    answered = one.until(2)
    assert [(r.trigger.id, r.verdict, r.reasons) for r in answered] == [
        ("2", "no_read", ["overflow"]),
        ("3", "no_read", ["overflow"]),
    ]
    one.stream.stop()
    one.stream.fire(Firing.now("command", id="4"), 4)  # the desk still works
    assert [(r.trigger.id, r.reasons) for r in one.until(5)[2:]] == [
        ("0", ["stopped"]),
        ("1", ["stopped"]),
        ("4", ["stopped"]),
    ]
    assert [journal for _, journal in one.results] == [2, 3, 0, 1, 4]
    assert one.stream.overflows == 2


def test_an_answer_to_a_part_of_an_earlier_boot(running: Callable[..., Running]) -> None:
    """That boot's clock is another one: no time can be counted from it."""
    one = running(Camera(), "command")
    one.stream.answer(Firing(kind="command", mono_ns=10**18), "cut_off", 7, past=True)
    result = one.until(1)[0]
    assert (result.reasons, result.latency_ms.total, result.trigger.mono_ns) == (
        ["cut_off"],
        0.0,
        10**18,
    )


def test_a_stream_that_has_ended_answers_at_once(running: Callable[..., Running]) -> None:
    class Ends(Camera):
        @override
        def _take(self, timeout_s: float) -> Shot | None:
            raise EndOfSourceError

    one = running(Ends(), "command")
    one.stream.start()
    one.stream.fire(Firing.now("command", id="1"), 1)
    assert one.until(1)[0].reasons == ["no_frame"]
    wait_for(lambda: one.stream.ended)
    one.stream.fire(Firing.now("command", id="2"), 2)
    assert one.until(2)[1].reasons == ["no_frame"]
    with pytest.raises(InputError, match="'top' has ended"):
        one.stream.set_limits(None, 0.5)


def test_a_paused_stream(running: Callable[..., Running]) -> None:
    camera = Camera()
    one = running(camera, "command")
    one.stream.paused = True
    one.stream.start()
    one.stream.fire(Firing.now("command"), 1)
    assert one.until(1)[0].reasons == ["paused"]
    one.stream.paused = False
    firing = Firing.now("command")
    camera.give(firing.mono_ns + 1)
    one.stream.fire(firing, 2)
    assert one.until(2)[1].verdict == "ng"


def test_a_part_that_came_during_a_pause_gets_no_verdict_after_it(
    running: Callable[..., Running],
) -> None:
    camera = Camera()
    one = running(camera, "command")
    one.stream.paused = True
    firing = Firing.now("command")
    one.stream.fire(firing, 1)
    one.stream.paused = False
    camera.give(firing.mono_ns + 1)
    one.stream.start()
    assert one.until(1)[0].reasons == ["paused"]


def test_a_stream_that_triggers_itself_can_not_be_fired(running: Callable[..., Running]) -> None:
    one = running(Camera(), "interval:10")
    with pytest.raises(SettingsError, match="'top' is not triggered by commands"):
        one.stream.check_fires()


def test_limits_and_pictures_between_two_parts(running: Callable[..., Running]) -> None:
    camera = Camera()
    one = running(camera, "command")
    one.stream.start()
    before = one.stream.set_limits(None, 0.9)
    assert (before.review, before.ng, before.origin) == (0.35, 0.6, "bundle")
    firing = Firing.now("command")
    wait_for(lambda: one.stream.context.limits.ng == 0.9)
    camera.give(firing.mono_ns + 1)
    one.stream.fire(firing)
    limits = one.until(1)[0].limits
    assert (limits.review, limits.ng, limits.origin) == (None, 0.9, "command")
    camera.give(time.monotonic_ns())
    picture = one.stream.snapshot(2.0)
    assert picture is not None
    np.testing.assert_array_equal(picture, FRAME)
    assert picture is not FRAME
    assert one.stream.snapshot(0.5) is None


@pytest.mark.parametrize("trigger", ["frame", "command"])
def test_a_picture_is_waited_for_as_long_as_was_asked(
    running: Callable[..., Running], trigger: str
) -> None:
    camera = Camera()
    one = running(camera, trigger)
    one.stream.start()
    later = threading.Timer(3 * POLL_S, lambda: camera.give(time.monotonic_ns()))
    later.start()
    picture = one.stream.snapshot(10.0)
    later.join()
    np.testing.assert_array_equal(picture, FRAME)
