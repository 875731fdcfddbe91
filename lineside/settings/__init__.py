"""What a station is told: one TOML file, types with defaults.

    tables.py      the structs of its tables, with defaults, limits and what each key means
    checks.py      contradictions that types can't say
    complaints.py  an error of a type, naming the key, what was expected and what was found
    logins.py      a URL as it may be shown
    reading.py     from the file to the settings

Kept here and not in the agent, so that deploy refuses what the agent would. Unknown keys, wrong
types and contradictions are refused, naming the key. Relative paths are relative to the file.
"""

from __future__ import annotations

from lineside.settings.checks import check_mqtt
from lineside.settings.complaints import meant, readable, readable_json
from lineside.settings.logins import hide_login
from lineside.settings.reading import parse_settings, read_settings
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
    "check_mqtt",
    "hide_login",
    "meant",
    "parse_settings",
    "read_settings",
    "readable",
    "readable_json",
]
