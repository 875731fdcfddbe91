"""What a station is told: one TOML file, types with defaults.

    tables.py   the structs of its tables, with defaults, limits and what each key means
    checks.py   contradictions that types can't say
    reading.py  from the file to the settings

Kept here and not in the agent, so that deploy refuses what the agent would. Unknown keys, wrong
types and contradictions are refused, naming the key (`lineside.complaints`). Relative paths are
relative to the file.
"""

from __future__ import annotations

from lineside.settings.checks import check_mqtt
from lineside.settings.reading import (
    absolute_mqtt,
    parse_settings,
    parse_table,
    read_settings,
    read_toml,
)
from lineside.settings.tables import (
    CHECKS,
    DOUBTS,
    AuditSettings,
    CameraSettings,
    Check,
    ControlSettings,
    MetricsSettings,
    ModelSettings,
    MqttSettings,
    Name,
    OutboxSettings,
    Settings,
    StationSettings,
    StreamSettings,
)

__all__ = [
    "CHECKS",
    "DOUBTS",
    "AuditSettings",
    "CameraSettings",
    "Check",
    "ControlSettings",
    "MetricsSettings",
    "ModelSettings",
    "MqttSettings",
    "Name",
    "OutboxSettings",
    "Settings",
    "StationSettings",
    "StreamSettings",
    "absolute_mqtt",
    "check_mqtt",
    "parse_settings",
    "parse_table",
    "read_settings",
    "read_toml",
]
