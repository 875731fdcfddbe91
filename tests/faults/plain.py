"""The harness's own MQTT client: paho as it is, nothing of lineside's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from typing_extensions import Self


class PlainClient(ABC):
    """An MQTT 5 client that connects again by itself, within a second or so.

    Args:
        name: its client id.
        port: of the broker.
        filters: what it subscribes to at each connection: topic filters, each with its QoS.
        keep_session: whether the broker keeps what comes while it is away, for an hour.
    """

    def __init__(
        self,
        name: str,
        port: int,
        filters: Sequence[tuple[str, int]],
        *,
        keep_session: bool = False,
    ) -> None:
        self._port = port
        self._filters = list(filters)
        self._options: dict[str, Any] = {"clean_start": not keep_session}
        if keep_session:
            kept = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            kept.SessionExpiryInterval = 3600
            self._options["properties"] = kept
        self._client = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(self._filters)
        self._client.on_message = lambda _client, _data, message: self._on_message(message)

    @abstractmethod
    def _on_message(self, message: paho.MQTTMessage) -> None:
        """Take a message, on the client's thread."""

    def __enter__(self) -> Self:
        self._client.connect_async("127.0.0.1", self._port, **self._options)
        self._client.loop_start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
