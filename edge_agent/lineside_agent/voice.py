"""What a station says of itself: status, health, and the events of its cameras."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

from lineside import __version__
from lineside.errors import BrokerError
from lineside.messages import Health, Status, StreamHealth, encode
from lineside.mqtt import Delivery, MqttClient, Outgoing
from lineside.settings import Settings
from lineside.topics import Topics
from lineside_agent.clock import clock_synced
from lineside_agent.keeper import Keeper
from lineside_agent.models import Roster
from lineside_agent.publisher import Publisher
from lineside_agent.stream import Stream
from lineside_agent.supervision import read_device, show_status
from lineside_agent.vitals import Kind

log = logging.getLogger(__name__)

STATUS_S: Final = 2.0
"""Seconds between two status messages at least, where only the ledger has changed."""


class Voice:
    """Publishes the status when it changes, and health every few seconds.

    Used by the agent's main thread; `will` and `greet` also by the MQTT client's.

    Args:
        settings: of the station.
        boot: the UUID of this start of the agent.
        streams: whose cameras to watch and whose models to name.
        keeper: for the ledger and its problem.
        publisher: for what the broker refuses.
        roster: for the models in use, and what is wrong with them.
        client: of the broker.

    Attributes:
        resting: whether the sources are being closed, so that no frames are no trouble.
    """

    def __init__(
        self,
        settings: Settings,
        boot: str,
        *,
        streams: Sequence[Stream],
        keeper: Keeper,
        publisher: Publisher,
        roster: Roster,
        client: MqttClient,
    ) -> None:
        self._station = settings.station
        self._topics = Topics(settings.station.site, settings.station.name, settings.mqtt.prefix)
        self._health_s = settings.health_s
        self._folder = Path(settings.outbox.path).parent
        self._boot = boot
        self._streams = streams
        self._keeper = keeper
        self._publisher = publisher
        self._roster = roster
        self._client = client
        self._send = client.publish
        self._fault: str | None = None
        self.resting = False
        self._on_way = False
        now = time.monotonic()
        self._began = self._counted_at = now
        self._health_at = now + self._health_s
        self._counted = {stream.context.stream: 0 for stream in streams}
        self._lost: set[str] = set()
        self._faulty: dict[str, set[str]] = {stream.context.camera: set() for stream in streams}
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
        try:
            self._send(self._retained(self._status("offline", ["stopped"])))
        except BrokerError as error:  # all that follows a stop is to be done all the same
            log.warning("the broker does not hear that the station stops: %s", error)

    def tick(self) -> None:
        """Look at what has changed, and say it. While there is no connection, nothing is said."""
        if not self.resting:
            self._watch_cameras()
        self._watch_refusals()
        self._watch_broker()
        if not self._client.connected:
            return
        now = time.monotonic()
        status = self._now()
        said = self._said
        urgent = said is None or (said.state, said.reasons) != (status.state, status.reasons)
        if urgent or (status != said and now - self._said_at >= STATUS_S):
            self._say(status)
        if now >= self._health_at:
            self._health_at = now + self._health_s
            with contextlib.suppress(BrokerError):  # too much waits: the next one will do
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
            models=self._roster.loaded,
            ledger=self._keeper.ledger,
        )

    def _reasons(self) -> list[str]:
        """Why the station is degraded; empty if it is not."""
        reasons = [
            f"camera_lost:{stream.context.camera}"
            for stream in self._streams
            if stream.source.state == "lost" and not self.resting
        ]
        reasons += [
            f"camera_starting:{stream.context.camera}"
            for stream in self._streams
            if stream.source.starting and not self.resting
        ]
        reasons += [
            f"camera_fault:{stream.context.camera}:{kind}"
            for stream in self._streams
            for kind in stream.source.findings
            if not self.resting
        ]
        reasons += [
            f"stream_failed:{stream.context.stream}" for stream in self._streams if stream.failure
        ]
        reasons += [f"paused:{stream.name}" for stream in self._streams if stream.paused]
        reasons += self._roster.reasons
        if self._keeper.problem is not None:
            reasons.append(f"outbox:{self._keeper.problem}")
        for what, gate in (
            ("results", self._publisher.results),
            ("events", self._publisher.events),
        ):
            if gate.reason is not None:
                reasons.append(f"{what}_refused:{gate.reason}")
        return reasons

    def _retained(self, status: Status) -> Outgoing:
        return Outgoing(self._topics.status(), encode(status), retain=True)

    def _say(self, status: Status) -> None:
        if self._on_way:  # a newer one is said when it has arrived
            return
        self._on_way = True  # before it is sent: the client's thread may be quick to say it arrived
        message = self._retained(status)
        try:
            self._send(replace(message, on_done=partial(self._arrived, message.payload)))
        except BrokerError:  # too much waits: said at the next tick
            self._said, self._on_way = None, False
        else:
            self._said, self._said_at = status, time.monotonic()

    def _arrived(self, payload: bytes, delivery: Delivery) -> None:
        self._on_way = False
        if delivery.ok:
            show_status(payload)

    def _watch_cameras(self) -> None:
        for stream in self._streams:
            name, trouble = stream.context.camera, stream.source.trouble
            if trouble is not None and name not in self._lost:
                self._lost.add(name)
                self._keeper.event("camera_lost", trouble, camera=name)
            elif trouble is None and name in self._lost:
                self._lost.discard(name)
                self._keeper.event("camera_back", f"camera {name!r} is back", camera=name)
            self._watch_pictures(name, stream.source.findings)

    def _watch_pictures(self, name: str, findings: Mapping[Kind, str]) -> None:
        """Faults of a camera's pictures that begin and end."""
        known = self._faulty[name]
        for kind in sorted(known - set(findings)):
            message = f"camera {name!r} is not {kind} any more"
            self._keeper.event("camera_fault_over", message, camera=name, fault=kind)
        for kind, seen in findings.items():
            if kind not in known:
                message = f"camera {name!r} is {kind}: {seen}"
                self._keeper.event("camera_fault", message, camera=name, fault=kind)
        self._faulty[name] = set(findings)

    def _watch_refusals(self) -> None:
        refusal = self._publisher.results.reason
        if refusal is not None and refusal != self._refusal:
            message = f"the broker refuses our messages ({refusal}); they are kept and tried again"
            self._keeper.event("results_refused", message, reason=refusal)
        self._refusal = refusal

    def _watch_broker(self) -> None:
        """What keeps us away from the broker and has a name: it is told once we are there."""
        fault = self._client.fault
        if fault is not None and fault != self._fault:
            self._keeper.event("broker_fault", self._client.error or fault, reason=fault)
        self._fault = None if self._client.connected else fault or self._fault

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
                    overflows=stream.overflows,
                    faults=dict(stream.faults),
                    rate_hz=round((results - self._counted[name]) / seconds, 3),
                    camera=stream.source.state,
                    findings=list(stream.source.findings),
                )
            )
            self._counted[name] = results
        device = read_device(self._folder)
        return Health(
            site=self._station.site,
            station=self._station.name,
            boot=self._boot,
            uptime_s=round(now - self._began, 1),
            streams=streams,
            outbox_pending=self._keeper.pending,
            disk_free_mb=round((device.disk_free or 0) / 1e6, 1),
            cpu_temperature_c=device.cpu_temperature_c,
            throttled=device.throttled,
            clock_synced=clock_synced(),
            xnnpack={
                model.name: s.context.xnnpack for s in self._streams for model in s.context.models
            },
        )
