"""What an independent subscriber hears of cameras, and when, on this machine's monotonic clock."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from typing import Any, Final, NamedTuple

import paho.mqtt.client as paho
from typing_extensions import override

from tests.faults.cameras import Look
from tests.faults.counting import History
from tests.faults.plain import PlainClient
from tests.faults.truth import SITE

LOSSES: Final = (
    ("unplugged", "unplugged"),
    ("its process ended", "process ended"),
    ("stamp:", "old frames"),
    ("driver:", "marked frames"),
    ("gives no frame that can be trusted", "damaged frames"),
    ("gives no frames", "no frames"),
    ("hangs before its first frame", "no frames"),
)
"""What a message of `camera_lost` contains, and what it is called here."""

LOST: Final = frozenset(name for _, name in LOSSES) | {"lost"}


class Said(NamedTuple):
    """A word on a camera.

    Attributes:
        at_ns: when it was heard.
        camera: whose.
        name: `frozen`, `black`, `overexposed`, `blurred`, `moved`, one of LOSSES, or `lost` (by
            health, or the end of any loss).
        over: whether it has ended.
        health: whether it was a health message and not an event.
    """

    at_ns: int
    camera: str
    name: str
    over: bool = False
    health: bool = False


class Heard(NamedTuple):
    """A result.

    Attributes:
        at_ns: when it was heard.
        look: what it says.
        reason: its first.
    """

    at_ns: int
    look: Look
    reason: str


def read_event(event: dict[str, Any], at_ns: int) -> Said | None:
    """What an event says of a camera; None if it is about something else."""
    kind, details = event["kind"], event["details"]
    camera = details.get("camera", "")
    if kind in {"camera_fault", "camera_fault_over"}:
        return Said(at_ns, camera, details["fault"], over=kind.endswith("over"))
    if kind == "camera_back":
        return Said(at_ns, camera, "lost", over=True)
    if kind == "camera_lost":
        message = event["message"]
        return Said(at_ns, camera, next((n for words, n in LOSSES if words in message), "lost"))
    return None


class Ear(PlainClient):
    """Subscribes to a station and writes down what it says. Repeated results count once.

    Args:
        port: of the broker.

    Attributes:
        said: of cameras, as it came.
        messages: events of cameras, as they were written.
        heard: results, by stream.
        history: the same results, to be counted.
        wrong: by camera, what has begun and not ended.
        newest_ns: by stream, the stamp of the newest frame that a verdict rests on.
        reasons: of `no_read`, by stream.
    """

    def __init__(self, port: int) -> None:
        filters = [(f"{SITE}/result/+", 1), (f"{SITE}/event", 1), (f"{SITE}/health", 0)]
        super().__init__("ear", port, filters, keep_session=True)
        self.said: list[Said] = []
        self.messages: list[str] = []
        self.heard: defaultdict[str, list[Heard]] = defaultdict(list)
        self.history = History()
        self.wrong: defaultdict[str, set[str]] = defaultdict(set)
        self.newest_ns: Counter[str] = Counter()
        self.reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)

    @override
    def _on_message(self, message: paho.MQTTMessage) -> None:
        at_ns = time.monotonic_ns()
        payload = bytes(message.payload)
        leaf = message.topic.removeprefix(f"{SITE}/").partition("/")[0]
        if leaf == "result":
            self._on_result(payload, at_ns)
        elif leaf == "event":
            self._on_event(json.loads(payload), at_ns)
        else:
            self._on_health(json.loads(payload), at_ns)

    def _on_result(self, payload: bytes, at_ns: int) -> None:
        known = len(self.history.results)
        self.history.take(payload)
        if len(self.history.results) == known:
            return
        result = json.loads(payload)
        look, reason = Look.of(result), result["reasons"][0]
        self.heard[look.stream].append(Heard(at_ns, look, reason))
        if look.verdict == "no_read":
            self.reasons[look.stream][reason] += 1
        elif look.stamp_ns is not None:
            self.newest_ns[look.stream] = max(self.newest_ns[look.stream], look.stamp_ns)

    def _on_event(self, event: dict[str, Any], at_ns: int) -> None:
        said = read_event(event, at_ns)
        if said is None:
            return
        self.said.append(said)
        self.messages.append(f"{at_ns / 1e9:.3f} {event['kind']}: {event['message']}")
        wrong = self.wrong[said.camera]
        if not said.over:
            wrong.add(said.name)
        elif said.name == "lost":
            wrong -= LOST
        else:
            wrong.discard(said.name)

    def _on_health(self, health: dict[str, Any], at_ns: int) -> None:
        for stream in health["streams"]:
            name = stream["stream"]
            found = list(stream["findings"])
            found += ["lost"] if stream["camera"] == "lost" else []
            self.said += [Said(at_ns, name, each, health=True) for each in found]
