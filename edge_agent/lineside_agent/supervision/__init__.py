"""Whether the agent gets on with its work, and who is told.

Watchdog ──▶ Notifier ──▶ systemd            restarts an agent that has stalled
Snapshot ──▶ MetricsServer ──▶ Prometheus    asked on loopback
read_device ──▶ both, and the health message
show_status ──▶ programs of this device      that ask what the broker has of it
"""

from __future__ import annotations

from lineside_agent.supervision.device import Device, read_device
from lineside_agent.supervision.metrics import (
    BrokerReading,
    CameraReading,
    MetricsServer,
    OutboxReading,
    Snapshot,
    StreamReading,
    WatchdogReading,
)
from lineside_agent.supervision.notify import Notifier
from lineside_agent.supervision.shown import show_status
from lineside_agent.supervision.tally import Histogram, Tally
from lineside_agent.supervision.watchdog import Beat, Watchdog

__all__ = [
    "Beat",
    "BrokerReading",
    "CameraReading",
    "Device",
    "Histogram",
    "MetricsServer",
    "Notifier",
    "OutboxReading",
    "Snapshot",
    "StreamReading",
    "Tally",
    "Watchdog",
    "WatchdogReading",
    "read_device",
    "show_status",
]
