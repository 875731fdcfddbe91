"""What a station says of itself: status, health, and the events of its cameras."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

from lineside import __version__
from lineside.messages import Health, LoadedModel, Status, StreamHealth, encode
from lineside.mqtt import Outgoing
from lineside.settings import Settings
from lineside.topics import Topics
from lineside_agent.clock import clock_synced
from lineside_agent.keeper import Keeper
from lineside_agent.publisher import Publisher
from lineside_agent.stream import Stream

log = logging.getLogger(__name__)

STATUS_S: Final = 2.0
"""Seconds between two status messages at least, where only the ledger has changed."""

_TEMPERATURE: Final = Path("/sys/class/thermal/thermal_zone0/temp")


class Voice:
    """Publishes the status when it changes, and health every few seconds.

    Used by the agent's main thread; `will` and `greet` also by the MQTT client's.

    Args:
        settings: of the station.
        boot: the UUID of this start of the agent.
        streams: whose cameras to watch and whose models to name.
        keeper: for the ledger and its problem.
        publisher: for what the broker refuses.
        send: gives a message to the MQTT client.
    """

    def __init__(
        self,
        settings: Settings,
        boot: str,
        *,
        streams: Sequence[Stream],
        keeper: Keeper,
        publisher: Publisher,
        send: Callable[[Outgoing], None],
    ) -> None:
        self._station = settings.station
        self._topics = Topics(settings.station.site, settings.station.name, settings.mqtt.prefix)
        self._health_s = settings.health_s
        self._folder = Path(settings.outbox.path).parent
        self._boot = boot
        self._streams = streams
        # Two streams may share a model.
        models = {model.digest: (model, s.context) for s in streams for model in s.context.models}
        self._models = [
            LoadedModel(
                role=model.role,
                name=model.name,
                version=model.version,
                digest=model.digest,
                parity=context.parity,
            )
            for model, context in models.values()
        ]
        self._xnnpack = {s.context.models[0].name: s.context.xnnpack for s in streams}
        self._keeper = keeper
        self._publisher = publisher
        self._send = send
        now = time.monotonic()
        self._began = self._counted_at = now
        self._health_at = now + self._health_s
        self._counted = {stream.context.stream: 0 for stream in streams}
        self._lost: set[str] = set()
        self._refusal: str | None = None
        self._said: Status | None = None
        self._said_at = 0.0

    def will(self) -> Outgoing:
        """What the broker says when this station vanishes."""
        return self._retained(self._status("offline", ["connection_lost"]))

    def greet(self) -> None:
        """Say that the station is there: the broker may hold a will, or nothing."""
        self._say(self._now())

    def goodbye(self) -> None:
        """Say that the station stopped because it was told to."""
        self._say(self._status("offline", ["stopped"]))

    def tick(self, *, connected: bool) -> None:
        """Look at what has changed, and say it. While there is no connection, nothing is said."""
        self._watch_cameras()
        self._watch_refusals()
        if not connected:
            return
        now = time.monotonic()
        status = self._now()
        said = self._said
        urgent = said is None or (said.state, said.reasons) != (status.state, status.reasons)
        if urgent or (status != said and now - self._said_at >= STATUS_S):
            self._say(status)
        if now >= self._health_at:
            self._health_at = now + self._health_s
            self._send(Outgoing(self._topics.health(), encode(self._health(now)), qos=0))

    def _now(self) -> Status:
        reasons = self._reasons()
        return self._status("degraded" if reasons else "online", reasons)

    def _status(
        self, state: Literal["online", "offline", "degraded"], reasons: list[str]
    ) -> Status:
        return Status(
            site=self._station.site,
            station=self._station.name,
            boot=self._boot,
            state=state,
            reasons=reasons,
            delivery=self._publisher.delivery,
            version=__version__,
            models=self._models,
            ledger=self._keeper.ledger,
        )

    def _reasons(self) -> list[str]:
        """Why the station is degraded; empty if it is not."""
        reasons = [
            f"camera_lost:{stream.context.camera}"
            for stream in self._streams
            if stream.source.state == "lost"
        ]
        reasons += [
            f"stream_failed:{stream.context.stream}" for stream in self._streams if stream.failure
        ]
        if self._keeper.problem is not None:
            reasons.append(f"outbox:{self._keeper.problem}")
        if self._publisher.refusal is not None:
            reasons.append(f"results_refused:{self._publisher.refusal}")
        return reasons

    def _retained(self, status: Status) -> Outgoing:
        return Outgoing(self._topics.status(), encode(status), retain=True)

    def _say(self, status: Status) -> None:
        self._said, self._said_at = status, time.monotonic()
        self._send(self._retained(status))

    def _watch_cameras(self) -> None:
        for stream in self._streams:
            name, trouble = stream.context.camera, stream.source.trouble
            if trouble is not None and name not in self._lost:
                self._lost.add(name)
                self._keeper.event("camera_lost", trouble, camera=name)
            elif trouble is None and name in self._lost:
                self._lost.discard(name)
                self._keeper.event("camera_back", f"camera {name!r} is back", camera=name)

    def _watch_refusals(self) -> None:
        refusal = self._publisher.refusal
        if refusal is not None and refusal != self._refusal:
            message = f"the broker refuses our messages ({refusal}); they are kept and tried again"
            self._keeper.event("results_refused", message, reason=refusal)
        self._refusal = refusal

    def _health(self, now: float) -> Health:
        seconds = now - self._counted_at
        self._counted_at = now
        streams = []
        for stream in self._streams:
            name, results = stream.context.stream, stream.results
            streams.append(
                StreamHealth(
                    stream=name,
                    results=results,
                    dropped_frames=stream.source.dropped,
                    rate_hz=round((results - self._counted[name]) / seconds, 3),
                    camera=stream.source.state,
                )
            )
            self._counted[name] = results
        return Health(
            site=self._station.site,
            station=self._station.name,
            boot=self._boot,
            uptime_s=round(now - self._began, 1),
            streams=streams,
            outbox_pending=self._keeper.pending,
            disk_free_mb=_disk_free_mb(self._folder),
            cpu_temperature_c=_cpu_temperature_c(),
            clock_synced=clock_synced(),
            xnnpack=self._xnnpack,
        )


def _disk_free_mb(folder: Path) -> float:
    try:
        return round(shutil.disk_usage(folder).free / 1e6, 1)
    except OSError:
        return 0.0


def _cpu_temperature_c() -> float | None:
    """The first thermal zone, which is the CPU on a Raspberry Pi and a Jetson."""
    try:
        return int(_TEMPERATURE.read_text()) / 1000
    except (OSError, ValueError):
        return None
