"""paho-mqtt alone: what a publish costs where nothing is kept, looked at or repeated."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from bench.line import IN_FLIGHT

WAIT_S: Final = 60.0
"""Seconds that the last acknowledgement may take."""


class BarePaho:
    """A connected client with paho's own thread, MQTT 5, QoS 1, IN_FLIGHT messages on their way.

    Args:
        url: of the broker, on this machine.
        topic: to publish to.
    """

    def __init__(self, url: str, topic: str = "bare/result") -> None:
        self._topic = topic
        self._acked: dict[int, int] = {}
        self._changed = threading.Condition()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.max_inflight_messages_set(IN_FLIGHT)
        self._client.on_publish = self._on_publish
        self._client.connect("127.0.0.1", int(url.rpartition(":")[2]))
        self._client.loop_start()

    def _on_publish(self, _client: object, _data: object, mid: int, *_rest: object) -> None:
        self._acked[mid] = time.monotonic_ns()

    def rate(self, payloads: Sequence[bytes]) -> float:
        """Messages a second, from the first publish to the last acknowledgement."""
        self._acked.clear()  # packet identifiers come again after 65,535
        began = time.monotonic_ns()
        mids = [self._client.publish(self._topic, payload, qos=1).mid for payload in payloads]
        last = self._wait(mids)
        return len(payloads) / ((last - began) / 1e9)

    def latencies_ms(self, payload: bytes, rate: float, count: int) -> list[float]:
        """From the moment at which each message was due to its acknowledgement, at a pace.

        Args:
            payload: of each message.
            rate: messages a second.
            count: how many.
        """
        self._acked.clear()
        period_ns = round(1e9 / rate)
        first_ns = time.monotonic_ns() + period_ns
        mids = []
        for number in range(count):
            time.sleep(max(0, first_ns + number * period_ns - time.monotonic_ns()) / 1e9)
            mids.append(self._client.publish(self._topic, payload, qos=1).mid)
        self._wait(mids)
        dues = (first_ns + number * period_ns for number in range(count))
        return [(self._acked[mid] - due) / 1e6 for mid, due in zip(mids, dues, strict=True)]

    def _wait(self, mids: Sequence[int]) -> int:
        """Until all are acknowledged; when the last was, in ns of the monotonic clock."""
        until = time.monotonic() + WAIT_S
        while not all(mid in self._acked for mid in mids[-IN_FLIGHT:]):
            if time.monotonic() > until:
                msg = f"the broker did not acknowledge all within {WAIT_S:g} s"
                raise SystemExit(msg)
            time.sleep(0.001)
        return max(self._acked[mid] for mid in mids[-IN_FLIGHT:])

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()
