"""What the watchdog and the metrics read off a station's parts: counters, no locks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from lineside import __version__
from lineside.mqtt import MqttClient
from lineside.settings import Settings
from lineside_agent.clock import clock_synced
from lineside_agent.commands import Desk
from lineside_agent.keeper import Keeper
from lineside_agent.publisher import Publisher
from lineside_agent.stream import Stream
from lineside_agent.supervision import (
    Beat,
    BrokerReading,
    CameraReading,
    OutboxReading,
    Snapshot,
    StreamReading,
    Watchdog,
    WatchdogReading,
    read_device,
)


class Readings:
    """Looks at the parts of one station.

    Attributes:
        beats: of each part, for the watchdog.
        watchdog: that `snapshot` tells of; set once it is made.
    """

    def __init__(
        self,
        settings: Settings,
        boot: str,
        streams: Sequence[Stream],
        keeper: Keeper,
        publisher: Publisher,
        client: MqttClient,
        desk: Desk,
    ) -> None:
        self._settings = settings
        self._boot = boot
        self._streams = streams
        self._keeper = keeper
        self._publisher = publisher
        self._client = client
        self._desk = desk
        self._folder = Path(settings.outbox.path).parent
        self._began = time.monotonic()
        self.watchdog: Watchdog | None = None
        self.beats: dict[str, Callable[[], Beat]] = {"outbox": self._outbox}
        for stream in streams:
            self.beats[f"stream:{stream.name}"] = partial(_stream, stream)
            if not stream.source.finite:
                self.beats[f"capture:{stream.source.name}"] = partial(_capture, stream)

    def snapshot(self) -> Snapshot:
        """What the metrics tell; on any thread."""
        keeper, client = self._keeper, self._client
        watchdog = self.watchdog
        return Snapshot(
            site=self._settings.station.site,
            station=self._settings.station.name,
            version=__version__,
            boot=self._boot,
            uptime_s=time.monotonic() - self._began,
            clock_synced=clock_synced(),
            streams=[StreamReading(s.name, s.tally, s.refused, s.overflows) for s in self._streams],
            cameras=[
                CameraReading(
                    s.source.name,
                    up=s.source.state == "ok",
                    dropped=s.source.dropped,
                    reconnects=s.source.failures,
                    faults=dict(s.faults),
                )
                for s in self._streams
            ],
            outbox=OutboxReading(
                keeper.pending,
                keeper.kept,
                keeper.bytes,
                writable=keeper.problem is None,
                lost=keeper.lost,
            ),
            broker=BrokerReading(
                client.connected, client.connections, self._publisher.refused, client.fault
            ),
            watchdog=WatchdogReading(0.0, {}, 0.0)
            if watchdog is None
            else WatchdogReading(watchdog.age_s, watchdog.still_s, watchdog.limit_s),
            device=read_device(self._folder),
            commands={**self._desk.counts, "unsent": self._desk.unsent},
        )

    def _outbox(self) -> Beat:
        return Beat(self._keeper.turns)


def _stream(stream: Stream) -> Beat:
    return Beat(stream.rounds, idle=stream.ended or stream.handing)


def _capture(stream: Stream) -> Beat:
    return Beat(stream.source.moved, idle=stream.source.state == "ended")
