from __future__ import annotations

from datetime import datetime, timezone

import msgspec
import pytest

from lineside.errors import MessageError
from lineside.messages import (
    KINDS,
    MAX_MESSAGE_BYTES,
    Event,
    Health,
    Message,
    Result,
    StreamHealth,
    decode,
    encode,
)
from tests.support.examples import BOOT, result, status

NOW = datetime(2026, 11, 21, 17, 3, 11, 123000, tzinfo=timezone.utc)
EVENT = Event(
    site="ulm", station="press4", boot=BOOT, at=NOW, kind="camera_lost", message="gone", details={}
)
HEALTH = Health(
    site="ulm",
    station="press4",
    boot=BOOT,
    uptime_s=1.5,
    streams=[
        StreamHealth(stream="top", results=3, dropped_frames=1, rate_hz=2.0, camera="ok"),
    ],
    outbox_pending=0,
    disk_free_mb=1000.0,
    cpu_temperature_c=None,
    clock_synced=False,
    xnnpack={"cells": True},
)


@pytest.mark.parametrize("message", [result(captured_at=NOW), status(1, 5, 3), HEALTH, EVENT])
def test_a_message_is_read_as_it_was_written(message: Message) -> None:
    kind = next(kind for kind, struct in KINDS.items() if type(message) is struct)
    assert decode(kind, encode(message)) == message
    assert type(decode(kind, encode(message))) is type(message)
    schema = msgspec.json.decode(encode(message))["schema"]
    assert schema == f"lineside.{kind}/1"


def test_the_names_on_the_wire() -> None:
    raw = msgspec.json.decode(encode(result(captured_at=NOW)))
    assert raw["captured_at"] == "2026-11-21T17:03:11.123000Z"
    assert raw["limits"] == {"review": 0.35, "ng": 0.6, "from": "bundle"}
    assert raw["scores"] == [["ok", 0.875], ["crack", 0.125]]


def test_a_newer_station_is_understood() -> None:
    raw = msgspec.json.decode(encode(result(7)))
    raw |= {"novelty": 1, "task": "detect", "reasons": ["new_reason"]}
    raw["part"]["weight_g"] = 3
    newer = decode("result", msgspec.json.encode(raw))
    assert isinstance(newer, Result)
    assert (newer.seq, newer.task, newer.reasons) == (7, "detect", ["new_reason"])


def change(**changes: object) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(encode(result())) | changes)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"", "truncated"),
        (b"not json", "invalid"),
        (b"[]", "Expected `object`"),
        (b"\xff\xfe", "invalid"),
        (change(verdict="maybe"), "Invalid enum value 'maybe'"),
        (change(schema="lineside.result/2"), "lineside.result/2"),
        (change(seq=0), ">= 1"),
        (change(score=1.5), "<= 1.0"),
        (change(station="a/b"), "regex"),
        (change(captured_at="yesterday"), "captured_at"),
        (b"[" * 100_000, "refused"),
        (b" " * (MAX_MESSAGE_BYTES + 1), f"at most {MAX_MESSAGE_BYTES}"),
    ],
)
def test_what_breaks_the_contract_is_refused(payload: bytes, text: str) -> None:
    with pytest.raises(MessageError, match="result") as caught:
        decode("result", payload)
    assert text in str(caught.value)


def test_a_kind_that_carries_no_message() -> None:
    with pytest.raises(MessageError, match="'command' is refused: one of result, status"):
        decode("command", b"{}")
