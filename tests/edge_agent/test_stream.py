"""From a source to results, with a real source and a look that is told what to say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime, timezone

import numpy as np
import pytest

from lineside.decision import Answer, no_read
from lineside.errors import EngineError, MessageError
from lineside.image import Box, Frame
from lineside.inspector import Inspection
from lineside.messages import Limits, Result, Trigger, decode, encode
from lineside.settings import StationSettings
from lineside_agent.assemble import Context, Times, assemble
from lineside_agent.models import Post, Slot
from lineside_agent.sources import Shot
from lineside_agent.sources.memory import MemorySource
from lineside_agent.stream import Stream
from lineside_agent.triggers import Firing
from tests.support.broker import wait_for
from tests.support.examples import BOOT, MODEL

CONTEXT = Context(
    station=StationSettings(site="ulm", name="press4"),
    boot=BOOT,
    stream="top",
    camera="cam0",
    roi=(4, 2, 20, 10),
    task="classify",
    limits=Limits(review=0.35, ng=0.6),
    models=(MODEL,),
    xnnpack=True,
    parity="measured",
)
FRAME = np.zeros((24, 32, 3), np.uint8)
NG = Answer("ng", ("score>=ng",), "crack", 0.91, (("crack", 0.91), ("ok", 0.09)))
NOW = datetime(2026, 11, 21, 17, 3, 11, tzinfo=timezone.utc)
FIRING = Firing(kind="frame", mono_ns=5_000_000)
SOURCE = MemorySource("cam0", [])
TIMES = Times(5_000_000, 6_200_000, 9_000_000, 0.4, 0.3)


def test_assemble_a_verdict() -> None:
    result = assemble(
        CONTEXT,
        n=7,
        firing=FIRING,
        shot=Shot(FRAME, 5_000_000, NOW, "7.png"),
        answer=NG,
        times=TIMES,
        clock_synced=True,
        source=SOURCE,
    )
    assert (result.part.n, result.part.id) == (7, "7.png")
    assert (result.verdict, result.label, result.score) == ("ng", "crack", 0.91)
    assert result.scores == [("crack", 0.91), ("ok", 0.09)]
    assert result.captured_at == NOW
    source = result.inputs[0]
    assert (source.name, source.size, source.roi) == ("cam0", (32, 24), (4, 2, 20, 10))
    latency = result.latency_ms
    assert (latency.queue, latency.preprocess, latency.invoke, latency.total) == (1.2, 0.4, 0.3, 4)
    result.seq = 1
    assert decode("result", encode(result)) == result


def test_assemble_without_a_frame() -> None:
    shot = Shot(None, 5_000_000, NOW, "7.png", "the file is empty")
    for given, part_id in [(shot, "7.png"), (None, None)]:
        result = assemble(
            CONTEXT,
            n=1,
            firing=FIRING,
            shot=given,
            answer=no_read("unreadable:" + "x" * 1000),
            times=TIMES,
            clock_synced=False,
            source=SOURCE,
        )
        assert (result.verdict, result.label, result.score) == ("no_read", None, None)
        assert (result.captured_at, result.inputs, result.part.id) == (None, [], part_id)
        assert len(result.reasons[0]) == 200
        assert result.models == [MODEL]


class Looks:
    """Says what it is told, or raises it."""

    def __init__(self, say: Answer | Exception = NG) -> None:
        self.say = say
        self.seen: list[tuple[Frame, Box | None]] = []

    def inspect(
        self, frame: Frame, roi: Box | None = None, reduced: int | None = None
    ) -> Inspection:
        self.seen.append((frame, roi))
        self.reduced = reduced
        if isinstance(self.say, Exception):
            raise self.say
        return Inspection(self.say, 0.5, 0.25)

    def set_limits(self, review: float | None, ng: float | None) -> None:
        self.limits = (review, ng)


def slot(looks: Looks) -> Slot:
    return Slot(Post(looks, CONTEXT), None, lambda _: None)


class Kept:
    """Keeps results in a list, as a keeper would."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.journals: list[int | None] = []

    def put(self, result: Result, *, wait: bool, journal: int | None = None) -> bool:
        assert wait  # all sources here are finite
        self.journals.append(journal)
        result.seq = len(self.results) + 1
        encode(result)
        self.results.append(result)
        return True


def run(
    frames: Iterable[Frame | str | Exception],
    looks: Looks,
    *,
    trigger: str = "frame",
    rate: float = 0.0,
    max_wait_ms: float = 1000.0,
    until: Callable[[list[Result]], bool] | None = None,
) -> tuple[list[Result], Stream]:
    kept = Kept()
    source = MemorySource("cam0", frames, rate=rate)
    stream = Stream(slot(looks), source, trigger, kept.put, max_wait_ms=max_wait_ms)
    stream.source.open()
    stream.start()
    wait_for(lambda: stream.ended or (until is not None and until(kept.results)))
    stream.stop()
    return kept.results, stream


def test_every_frame_is_a_part() -> None:
    looks = Looks()
    results, stream = run([FRAME, FRAME, FRAME], looks)
    assert [(r.part.n, r.part.id, r.verdict) for r in results] == [
        (1, "1", "ng"),
        (2, "2", "ng"),
        (3, "3", "ng"),
    ]
    assert (stream.results, stream.failure) == (3, None)
    assert [roi for _, roi in looks.seen] == [(4, 2, 20, 10)] * 3
    latency = results[0].latency_ms
    assert (latency.preprocess, latency.invoke) == (0.5, 0.25)
    assert 0 <= latency.queue <= latency.total < 1000
    assert results[0].trigger == Trigger(kind="frame", mono_ns=results[0].inputs[0].mono_ns)


def test_a_frame_that_is_none_is_a_no_read() -> None:
    grey, tiny = np.zeros((24, 32), np.uint8), np.zeros((2, 2, 3), np.uint8)
    results, _ = run([FRAME, "the lens cap is on", grey, tiny, FRAME], Looks())
    assert [r.verdict for r in results] == ["ng", "no_read", "no_read", "no_read", "ng"]
    reasons = [r.reasons[0] for r in results[1:4]]
    assert reasons[0] == "unreadable:the lens cap is on"
    assert reasons[1] == "error:frame: expected uint8 of height x width x 3, got uint8 (24, 32)"
    assert reasons[2].startswith("error:frame: 2x2 pixels is too small")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (EngineError("the model broke"), "error:the model broke"),
        (ZeroDivisionError("division"), "error:ZeroDivisionError:division"),
    ],
)
def test_an_engine_that_fails_gives_a_no_read_for_each_frame(error: Exception, reason: str) -> None:
    results, stream = run([FRAME, FRAME], Looks(error))
    assert [(r.verdict, r.reasons) for r in results] == [("no_read", [reason])] * 2
    assert results[0].inputs[0].size == (32, 24)
    assert stream.failure is None


def test_a_finite_source_that_fails_is_said() -> None:
    results, stream = run([FRAME, ValueError("driver"), FRAME], Looks())
    assert len(results) == 1
    assert stream.failure == "camera 'cam0' failed: driver"


def test_an_answer_that_can_not_be_sent_becomes_a_no_read() -> None:
    lone = Answer("ng", ("score>=ng",), "\ud800", 0.9, (("\ud800", 0.9),))
    results, _ = run([FRAME], Looks(lone))
    assert results[0].verdict == "no_read"
    assert results[0].reasons[0].startswith("error:")


def test_an_answer_that_is_too_long_becomes_a_no_read() -> None:
    class Narrow(Kept):
        def put(self, result: Result, *, wait: bool, journal: int | None = None) -> bool:
            if result.verdict != "no_read":
                msg = "a message of 99999 bytes is not kept"
                raise MessageError(msg)
            return super().put(result, wait=wait, journal=journal)

    kept = Narrow()
    stream = Stream(slot(Looks()), MemorySource("cam0", [FRAME]), "frame", kept.put)
    stream.source.open()
    stream.start()
    wait_for(lambda: stream.ended)
    assert kept.results[0].reasons == ["error:a message of 99999 bytes is not kept"]
    assert kept.results[0].part.n == 1


def test_an_interval_takes_one_part_at_a_time() -> None:
    start = time.monotonic()
    results, _ = run([FRAME] * 4, Looks(), trigger="interval:0.1")
    assert [r.part.n for r in results[:4]] == [1, 2, 3, 4]
    assert {r.trigger.kind for r in results} == {"interval"}
    assert 0.3 <= time.monotonic() - start < 3
    gaps = np.diff([r.trigger.mono_ns for r in results]) / 1e9
    assert (gaps > 0.09).all()


def test_an_interval_without_a_frame_is_a_no_read() -> None:
    # One frame at once, the next only after ten seconds.
    results, _ = run(
        [FRAME] * 2,
        Looks(),
        trigger="interval:0.05",
        rate=0.1,
        max_wait_ms=50,
        until=lambda kept: len(kept) > 1,
    )
    assert [r.verdict for r in results[:2]] == ["ng", "no_read"]
    assert results[1].reasons == ["no_frame"]
    assert results[1].captured_at is None
