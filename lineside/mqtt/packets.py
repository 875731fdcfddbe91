"""Between our messages and paho's packets: what MQTT 5 says beside topic and payload."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from lineside.extras import require
from lineside.mqtt.types import Delivery, Incoming, Outgoing

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode
    from paho.mqtt.subscribeoptions import SubscribeOptions

MAX_PACKET_BYTES: Final = 16 * 1024 * 1024
"""A packet longer than this the broker does not send us (MQTT 5): paho holds it in memory."""

_FOREVER_S: Final = 0xFFFFFFFF
_NOTHING: Final[Mapping[str, Any]] = {}  # under 3.1.1
_SUCCESS: Final = Delivery(ok=True, reason="Success")


def connect_properties() -> Properties:
    """The properties of a CONNECT."""
    properties = _properties("CONNECT")
    properties.MaximumPacketSize = MAX_PACKET_BYTES
    return properties


def publish_properties(message: Outgoing) -> Properties | None:
    """The properties of a PUBLISH; None, which costs nothing, where it has none.

    Under 3.1.1 paho leaves them out.
    """
    if message.correlation is None and message.expiry_s is None:
        return None
    properties = _properties("PUBLISH")
    if message.correlation is not None:
        properties.CorrelationData = message.correlation
    if message.expiry_s is not None:
        properties.MessageExpiryInterval = min(max(message.expiry_s, 0), _FOREVER_S)
    return properties


def wanted(
    filters: Sequence[str], protocol: str, *, keep_retain: bool
) -> list[tuple[str, int]] | list[tuple[str, SubscribeOptions]]:
    """What a SUBSCRIBE asks for: QoS 1, which under 3.1.1 is all that can be said.

    Args:
        filters: of the topics.
        protocol: the version of MQTT.
        keep_retain: whether the broker is to pass the retain flag on as it was published. By
            default it drops it for who is connected, so that a retained message looks like any.
    """
    if protocol != "5":
        return [(topic, 1) for topic in filters]
    module = require("paho.mqtt.subscribeoptions", extra="mqtt")
    options = module.SubscribeOptions(qos=1, retainAsPublished=keep_retain)
    return [(topic, options) for topic in filters]


def incoming(message: MQTTMessage) -> Incoming:
    """What was received, and when.

    Raises:
        UnicodeDecodeError: its topic is no UTF-8.
    """
    # What is there is an attribute; a missing one is found out the fastest so.
    beside = vars(message.properties) if message.properties is not None else _NOTHING
    return Incoming(
        message.topic,
        bytes(message.payload),
        message.retain,
        time.monotonic_ns(),
        beside.get("ResponseTopic"),
        beside.get("CorrelationData"),
    )


def delivery(code: ReasonCode) -> Delivery:
    """What became of a QoS 1 message, by the reason code of its PUBACK."""
    # Looking up the name takes paho longer than all the rest.
    if code.value == 0:
        return _SUCCESS
    return Delivery(ok=not code.is_failure, reason=str(code))


def packet_bytes(message: Outgoing) -> int:
    """The size of the PUBLISH packet, rounded up.

    Headers are 5 + 2 + 2 + 1 bytes at most, an expiry 5, a correlation 3 and its length.
    """
    size = len(message.payload) + len(message.topic.encode()) + 18
    return size + len(message.correlation or b"")


def _properties(packet: str) -> Properties:
    types = require("paho.mqtt.packettypes", extra="mqtt").PacketTypes
    made: Properties = require("paho.mqtt.properties", extra="mqtt").Properties(
        getattr(types, packet)
    )
    return made
