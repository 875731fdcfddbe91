"""The demo's witness: it hears what a subscriber hears, and nothing else.

It is a bare paho client, on purpose: it shares no code with the station, nor with `lineside watch`,
so that what it counts says something about both.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lineside.errors import BrokerError
from lineside.extras import require


@dataclass
class Witness:
    """What was heard.

    Attributes:
        heard: payload and time of arrival (ns of the monotonic clock) of each message.
    """

    heard: list[tuple[bytes, int]] = field(default_factory=list)


@contextmanager
def listen(host: str, port: int, topic: str, *, timeout_s: float = 10.0) -> Iterator[Witness]:
    """Subscribe to `topic` over MQTT 3.1.1, QoS 1, for as long as the context lasts.

    Raises:
        BrokerError: the broker did not confirm the subscription within `timeout_s`.
    """
    paho = require("paho.mqtt.client", extra="mqtt")
    witness = Witness()
    subscribed = threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)

    def on_message(_client: Any, _userdata: Any, message: Any) -> None:  # noqa: ANN401 - paho's
        witness.heard.append((message.payload, time.monotonic_ns()))

    client.on_connect = lambda *_: client.subscribe(topic, qos=1)
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = on_message
    try:
        client.connect(host, port)
    except OSError as error:
        msg = f"the demo's broker at {host}:{port} can't be reached: {error}"
        raise BrokerError(msg) from error
    client.loop_start()
    try:
        if not subscribed.wait(timeout_s):
            msg = f"the demo's broker at {host}:{port} did not confirm a subscription"
            raise BrokerError(msg)
        yield witness
    finally:
        client.disconnect()
        client.loop_stop()
