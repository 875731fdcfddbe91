"""The one MQTT client of lineside, over paho-mqtt.

It connects in the background, also to a broker that was never there, and never gives up:

    publish() ──▶ queue ──▶ in flight (QoS 1, at most min(20, Receive Maximum)) ──▶ on_done
                    ▲               │
                    └── lost ───────┘        a lost connection puts them back, in their order

One thread of its own does all that paho does, so no lock is held while a callback runs, an
exception in a callback can't end it, and paho's own queue is never used: it ignores the
broker's Receive Maximum and dies with the process. Each connection is a new paho client.
"""

from __future__ import annotations

from lineside.mqtt.client import MAX_IN_FLIGHT, MAX_QUEUED, MqttClient
from lineside.mqtt.types import Delivery, Hooks, Incoming, Outgoing

__all__ = [
    "MAX_IN_FLIGHT",
    "MAX_QUEUED",
    "Delivery",
    "Hooks",
    "Incoming",
    "MqttClient",
    "Outgoing",
]
