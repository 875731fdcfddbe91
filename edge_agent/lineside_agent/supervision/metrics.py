"""The metrics page for Prometheus, on loopback.

    read() ──▶ Snapshot ──families()──▶ prometheus_client ──▶ http://127.0.0.1:PORT/metrics

Nothing is counted for it that is not counted anyway: each time somebody asks, `read` looks at the
counters, on the server's own thread. Everything of prometheus_client is imported there too, and
only where there is a port, so that a start never waits for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from lineside.errors import MissingExtraError
from lineside.extras import require
from lineside_agent.supervision.device import Device
from lineside_agent.supervision.tally import BOUNDS_MS, Histogram, Tally

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from prometheus_client.core import Metric

log = logging.getLogger(__name__)

ADDRESS: Final = "127.0.0.1"
"""Where the page is served: whoever wants it elsewhere puts a proxy with a password before it."""

_BOUNDS_S: Final = [f"{bound / 1000:g}" for bound in BOUNDS_MS] + ["+Inf"]


@dataclass(frozen=True)
class StreamReading:
    """The counters of one stream, since the agent started.

    Attributes:
        stream: its name.
        tally: its results.
        refused: results that were not kept, since there was no room for them.
        overflow: triggers that found the queue full and became `no_read`.
    """

    stream: str
    tally: Tally
    refused: int = 0
    overflow: int = 0


@dataclass(frozen=True)
class CameraReading:
    """The counters of one camera, since the agent started.

    Attributes:
        camera: its name.
        up: whether it gives frames.
        dropped: frames that were replaced by newer ones before they were looked at.
        reconnects: attempts to connect, beyond the first.
        faults: how many frames could not be trusted, by why, such as `stale` or `frozen`.
    """

    camera: str
    up: bool
    dropped: int = 0
    reconnects: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class OutboxReading:
    """How the outbox is doing.

    Attributes:
        pending: messages that the broker has not confirmed.
        kept: results on disk, confirmed or not.
        bytes: that its files take.
        writable: whether it can be written just now.
        lost: results that were deleted before the broker had them, since the agent started.
    """

    pending: int
    kept: int
    bytes: int
    writable: bool
    lost: int = 0


@dataclass(frozen=True)
class BrokerReading:
    """How the connection to the broker is doing.

    Attributes:
        connected: whether there is one.
        connections: how many there were.
        refusals: messages that the broker refused.
        fault: why there is no connection, by name, where it has one (`lineside.mqtt.faults`).
    """

    connected: bool
    connections: int = 0
    refusals: int = 0
    fault: str | None = None


@dataclass(frozen=True)
class WatchdogReading:
    """How the watchdog is doing.

    Attributes:
        age_s: seconds since it was last fed.
        still_s: seconds since each part last moved.
        limit_s: seconds that it waits.
    """

    age_s: float
    still_s: Mapping[str, float]
    limit_s: float


@dataclass(frozen=True)
class Snapshot:
    """All that the page tells."""

    site: str
    station: str
    version: str
    boot: str
    uptime_s: float
    clock_synced: bool
    streams: Iterable[StreamReading]
    cameras: Iterable[CameraReading]
    outbox: OutboxReading
    broker: BrokerReading
    watchdog: WatchdogReading
    device: Device
    commands: Mapping[str, int] = field(default_factory=dict)


def families(now: Snapshot) -> Iterator[Metric]:
    """What a snapshot says, as Prometheus counts: seconds, bytes, totals."""
    core = require("prometheus_client.core", extra="agent")
    about = {"site": now.site, "station": now.station, "version": now.version, "boot": now.boot}
    yield core.InfoMetricFamily("lineside", "The station, and this start of its agent", about)
    yield _gauge("lineside_uptime_seconds", "Since the agent started", now.uptime_s)
    yield _gauge(
        "lineside_clock_synced", "1: a time server has set the wall clock", now.clock_synced
    )
    yield from _of_streams(list(now.streams))
    yield from _of_cameras(list(now.cameras))
    yield from _of_delivery(now.outbox, now.broker)
    yield _labelled(
        "Counter",
        "lineside_commands",
        "Commands, by what became of them",
        ("outcome",),
        [((outcome,), count) for outcome, count in sorted(now.commands.items())],
    )
    yield from _of_watchdog(now.watchdog)
    yield from _of_device(now.device)


def _gauge(name: str, about: str, value: float) -> Metric:
    return _labelled("Gauge", name, about, (), [((), value)])


def _labelled(
    kind: str,
    name: str,
    about: str,
    labels: tuple[str, ...],
    rows: Iterable[tuple[tuple[str, ...], float]],
) -> Metric:
    """A family of gauges or counters, one for each row of label values."""
    core = require("prometheus_client.core", extra="agent")
    family: Metric = getattr(core, f"{kind}MetricFamily")(name, about, labels=labels)
    for values, value in rows:
        family.add_metric(values, float(value))  # type: ignore[attr-defined]
    return family


def _histogram(name: str, about: str, rows: Iterable[tuple[str, Histogram]]) -> Metric:
    core = require("prometheus_client.core", extra="agent")
    family: Metric = core.HistogramMetricFamily(name, about, labels=["stream"])
    for stream, histogram in rows:
        buckets = list(zip(_BOUNDS_S, accumulate(histogram.counts), strict=True))
        family.add_metric([stream], buckets, histogram.sum_ms / 1000)  # type: ignore[attr-defined]
    return family


def _of_streams(streams: list[StreamReading]) -> Iterator[Metric]:
    yield _labelled(
        "Counter",
        "lineside_results",
        "Results by verdict",
        ("stream", "verdict"),
        [((s.stream, v), n) for s in streams for v, n in s.tally.verdicts.items()],
    )
    yield _labelled(
        "Counter",
        "lineside_results_refused",
        "Results that were not kept for want of room",
        ("stream",),
        [((s.stream,), s.refused) for s in streams],
    )
    yield _labelled(
        "Counter",
        "lineside_triggers_overflowed",
        "Triggers that found the queue full and became no_read",
        ("stream",),
        [((s.stream,), s.overflow) for s in streams],
    )
    yield _histogram(
        "lineside_invoke_seconds",
        "The model's own time",
        [(s.stream, s.tally.invoke) for s in streams],
    )
    yield _histogram(
        "lineside_latency_seconds",
        "From capture to verdict",
        [(s.stream, s.tally.total) for s in streams],
    )


def _of_cameras(cameras: list[CameraReading]) -> Iterator[Metric]:
    yield _labelled(
        "Gauge",
        "lineside_camera_up",
        "1: the camera gives frames",
        ("camera",),
        [((c.camera,), c.up) for c in cameras],
    )
    yield _labelled(
        "Counter",
        "lineside_frames_dropped",
        "Frames replaced by newer ones before they were looked at",
        ("camera",),
        [((c.camera,), c.dropped) for c in cameras],
    )
    yield _labelled(
        "Counter",
        "lineside_camera_reconnects",
        "Attempts to connect to the camera again",
        ("camera",),
        [((c.camera,), c.reconnects) for c in cameras],
    )
    yield _labelled(
        "Counter",
        "lineside_camera_faults",
        "Frames that could not be trusted, by why",
        ("camera", "kind"),
        [((c.camera, kind), n) for c in cameras for kind, n in sorted(c.faults.items())],
    )


def _of_delivery(outbox: OutboxReading, broker: BrokerReading) -> Iterator[Metric]:
    yield _gauge(
        "lineside_outbox_pending", "Messages that the broker has not confirmed", outbox.pending
    )
    yield _gauge("lineside_outbox_kept", "Results on disk, confirmed or not", outbox.kept)
    yield _gauge("lineside_outbox_bytes", "Bytes that the outbox takes on disk", outbox.bytes)
    yield _gauge("lineside_outbox_writable", "0: results wait in memory", outbox.writable)
    about = "Results that were deleted before the broker had them, for want of room"
    yield _labelled("Counter", "lineside_results_lost", about, (), [((), outbox.lost)])
    yield _gauge("lineside_broker_connected", "1: the broker is there", broker.connected)
    yield _labelled(
        "Counter", "lineside_broker_connections", "Connections made", (), [((), broker.connections)]
    )
    yield _labelled(
        "Counter",
        "lineside_publish_refusals",
        "Messages that the broker refused",
        (),
        [((), broker.refusals)],
    )
    yield _labelled(
        "Gauge",
        "lineside_broker_fault",
        "1: why there is no connection, where the reason has a name",
        ("reason",),
        [((broker.fault,), 1)] if broker.fault else [],
    )


def _of_watchdog(watchdog: WatchdogReading) -> Iterator[Metric]:
    yield _gauge("lineside_watchdog_age_seconds", "Since the watchdog was last fed", watchdog.age_s)
    yield _gauge("lineside_watchdog_limit_seconds", "What the age may reach", watchdog.limit_s)
    yield _labelled(
        "Gauge",
        "lineside_watchdog_still_seconds",
        "Since each part last moved or had nothing to do",
        ("part",),
        [((part,), still) for part, still in sorted(watchdog.still_s.items())],
    )


def _of_device(device: Device) -> Iterator[Metric]:
    yield _labelled(
        "Gauge",
        "lineside_temperature_celsius",
        "Of each thermal zone",
        ("zone",),
        [((zone,), value) for zone, value in sorted(device.temperatures_c.items())],
    )
    if device.tells_throttling:
        yield _gauge(
            "lineside_throttled", "1: the device runs slower than it could", bool(device.throttled)
        )
        yield _labelled(
            "Gauge",
            "lineside_throttled_by",
            "1: why it does, or did before (Raspberry Pi)",
            ("cause", "when"),
            [
                *(((cause, "now"), 1) for cause in device.throttled),
                *(((cause, "before"), 1) for cause in device.was_throttled),
            ],
        )
    for name, about, value in (
        ("lineside_memory_total_bytes", "Memory of the device", device.memory_total),
        ("lineside_memory_available_bytes", "To be had without swapping", device.memory_available),
        ("lineside_memory_resident_bytes", "Memory of the agent", device.memory_resident),
        ("lineside_disk_total_bytes", "Of the outbox's file system", device.disk_total),
        ("lineside_disk_free_bytes", "Free on the outbox's file system", device.disk_free),
    ):
        if value is not None:
            yield _gauge(name, about, value)


class _Collector:
    """What prometheus_client asks; see its `Collector` protocol."""

    def __init__(self, read: Callable[[], Snapshot]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        return families(self._read())


class MetricsServer:
    """Serves the page. A port that can't be had is one line in the log: the line goes on.

    Args:
        port: TCP port on 127.0.0.1; 0: no page.
        read: gives what is to be told; called on the server's threads, must not wait.
    """

    def __init__(self, port: int, read: Callable[[], Snapshot]) -> None:
        self._port = port
        self._read = read
        self._server: WSGIServer | None = None
        self._serving: threading.Thread | None = None
        self._opening = threading.Thread(target=self._open, name="metrics", daemon=True)

    def start(self) -> None:
        """Begin, in the background."""
        if self._port:
            self._opening.start()

    def stop(self) -> None:
        """End; may be called before `start`."""
        if self._opening.ident is None:
            return
        self._opening.join()
        if self._server is not None and self._serving is not None:
            self._server.shutdown()
            self._server.server_close()
            self._serving.join()

    def _open(self) -> None:
        try:
            prometheus = require("prometheus_client", extra="agent")
            registry = prometheus.CollectorRegistry(support_collectors_without_names=True)
            registry.register(_Collector(self._read))
            self._server, self._serving = prometheus.start_http_server(
                self._port, addr=ADDRESS, registry=registry
            )
        except (OSError, MissingExtraError) as error:
            reason = getattr(error, "strerror", None) or error
            log.warning(
                "no metrics on %s:%d: %s; the line runs on without", ADDRESS, self._port, reason
            )
        else:
            log.info("metrics are on http://%s:%d/metrics", ADDRESS, self._port)
