"""What is heard of a station, and what is wrong with it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from lineside.messages import Event, Health, Result, Status

HOT_C: Final = 80.0
"""From here on a Raspberry Pi slows itself down."""
DISK_MB: Final = 500.0
"""Less free than this is worth a look."""


@dataclass
class Sighting:
    """What was heard of a station while somebody listened.

    Attributes:
        name: `SITE/STATION`.
        status: the one that the broker keeps; None: the station was never there.
        health: the newest.
        result: the newest, of any stream.
        at: when that came, UTC.
    """

    name: str
    status: Status | None = None
    health: Health | None = None
    result: Result | None = None
    at: datetime | None = field(default=None)

    def take(self, message: Result | Status | Health | Event, at: datetime) -> None:
        """Note a message of this station."""
        if isinstance(message, Status):
            self.status = message
        elif isinstance(message, Health):
            self.health = message
        elif isinstance(message, Result):
            self.result, self.at = message, at

    @property
    def enough(self) -> bool:
        """Whether waiting for more is in vain."""
        if self.status is not None and self.status.state == "offline":
            return True
        return all(one is not None for one in (self.status, self.health, self.result))

    @property
    def state(self) -> str:
        """`online`, `degraded`, `offline` or `unknown`."""
        return "unknown" if self.status is None else self.status.state

    @property
    def models(self) -> list[str]:
        """Name and version of each."""
        return [f"{one.name} {one.version}" for one in self.status.models] if self.status else []

    @property
    def troubles(self) -> list[str]:
        """What is wrong, in words; empty: nothing that is known."""
        if self.status is None:
            return ["the broker keeps no status of it"]
        found = list(self.status.reasons)
        if self.status.delivery == "unconfirmed":
            found.append("delivery unconfirmed")
        if self.health is None or self.state == "offline":
            return found
        health = self.health
        found += [f"{model} without XNNPACK" for model, on in health.xnnpack.items() if not on]
        found += [
            f"{one.camera} camera of {one.stream}"
            for one in health.streams
            if one.camera not in {"ok", "ended"}
        ]
        found += health.throttled
        if not health.clock_synced:
            found.append("clock not synced")
        if health.cpu_temperature_c is not None and health.cpu_temperature_c >= HOT_C:
            found.append(f"{health.cpu_temperature_c:.0f} °C")
        if health.disk_free_mb < DISK_MB:
            found.append(f"{health.disk_free_mb:.0f} MB free")
        return found

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "station": self.name,
            "state": self.state,
            "troubles": self.troubles,
            "version": self.status.version if self.status else None,
            "models": self.models,
            "verdict": self.result.verdict if self.result else None,
            "verdict_at": self.at.isoformat() if self.at else None,
            "status": self.status,
            "health": self.health,
        }
