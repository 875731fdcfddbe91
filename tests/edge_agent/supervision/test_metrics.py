"""The metrics page, asked over HTTP and read by Prometheus's own parsers."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from lineside.errors import SettingsError
from lineside.settings import parse_settings
from lineside_agent.supervision import (
    BrokerReading,
    CameraReading,
    Device,
    MetricsServer,
    OutboxReading,
    Snapshot,
    StreamReading,
    Tally,
    WatchdogReading,
    read_device,
)
from lineside_agent.supervision.metrics import families
from lineside_agent.supervision.tally import BOUNDS_MS, Histogram
from tests.support.broker import free_port, wait_for
from tests.support.configuration import CONFIGURATION


def snapshot(*, device: Device | None = None, fault: str | None = "cert_not_yet_valid") -> Snapshot:
    tally = Tally()
    tally.note("ok", invoke_ms=0.3, total_ms=2.0)
    tally.note("ok", invoke_ms=0.5, total_ms=2.5)
    tally.note("ng", invoke_ms=4.0, total_ms=9000.0)
    tally.note("no_read", invoke_ms=0.0, total_ms=1000.0)
    return Snapshot(
        site="ulm",
        station="press4",
        version="0.1.0",
        boot="b-1",
        uptime_s=12.5,
        clock_synced=False,
        streams=[
            StreamReading("top", tally, refused=3, overflow=2),
            StreamReading("side", Tally()),
        ],
        cameras=[
            CameraReading(
                "cam0", up=False, dropped=7, reconnects=5, faults={"lost": 2, "frozen": 1}
            )
        ],
        outbox=OutboxReading(pending=11, kept=400, bytes=65536, writable=True, lost=8),
        broker=BrokerReading(connected=False, connections=4, refusals=6, fault=fault),
        watchdog=WatchdogReading(
            age_s=1.5, still_s={"outbox": 0.25, "stream:top": 31.0}, limit_s=60
        ),
        commands={"received": 9, "unsent": 2},
        device=device
        or Device(
            temperatures_c={"cpu-thermal": 61.5},
            throttled=["under_voltage"],
            was_throttled=["soft_limit"],
            tells_throttling=True,
            memory_available=10**9,
            disk_free=5 * 10**9,
        ),
    )


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[], Snapshot]], int]]:
    """Starts servers, gives their ports, and stops them at the end."""
    made: list[MetricsServer] = []

    def start(read: Callable[[], Snapshot]) -> int:
        port = free_port()
        made.append(MetricsServer(port, read))
        made[-1].start()

        def there() -> bool:
            with socket.socket() as sock:
                return sock.connect_ex(("127.0.0.1", port)) == 0

        wait_for(there, what="the page")
        return port

    yield start
    for server in made:
        server.stop()


def page(port: int, accept: str = "text/plain;version=0.0.4") -> str:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/metrics", headers={"Accept": accept})
    with contextlib.closing(connection):
        return connection.getresponse().read().decode()


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def test_every_counter_is_on_the_page(serve: Callable[[Callable[[], Snapshot]], int]) -> None:
    text = page(serve(snapshot))
    found = samples(text)
    about = {"site": "ulm", "station": "press4", "version": "0.1.0", "boot": "b-1"}
    assert value(found, "lineside_info", **about) == 1
    verdicts = {
        v: value(found, "lineside_results_total", stream="top", verdict=v)
        for v in ("ok", "ng", "review", "no_read")
    }
    assert verdicts == {"ok": 2, "ng": 1, "review": 0, "no_read": 1}
    assert value(found, "lineside_results_total", stream="side", verdict="ok") == 0
    assert value(found, "lineside_results_refused_total", stream="top") == 3
    assert value(found, "lineside_triggers_overflowed_total", stream="top") == 2
    assert value(found, "lineside_camera_up", camera="cam0") == 0
    assert value(found, "lineside_frames_dropped_total", camera="cam0") == 7
    assert value(found, "lineside_camera_reconnects_total", camera="cam0") == 5
    assert value(found, "lineside_camera_faults_total", camera="cam0", kind="lost") == 2
    assert value(found, "lineside_commands_total", outcome="received") == 9
    assert value(found, "lineside_commands_total", outcome="unsent") == 2
    assert value(found, "lineside_camera_faults_total", camera="cam0", kind="frozen") == 1
    plain = {
        "lineside_uptime_seconds": 12.5,
        "lineside_clock_synced": 0,
        "lineside_outbox_pending": 11,
        "lineside_outbox_kept": 400,
        "lineside_outbox_bytes": 65536,
        "lineside_outbox_writable": 1,
        "lineside_results_lost_total": 8,
        "lineside_broker_connected": 0,
        "lineside_broker_connections_total": 4,
        "lineside_publish_refusals_total": 6,
        "lineside_watchdog_age_seconds": 1.5,
        "lineside_watchdog_limit_seconds": 60,
        "lineside_throttled": 1,
        "lineside_memory_available_bytes": 1e9,
        "lineside_disk_free_bytes": 5e9,
    }
    assert {name: value(found, name) for name in plain} == plain
    assert value(found, "lineside_broker_fault", reason="cert_not_yet_valid") == 1
    assert value(found, "lineside_watchdog_still_seconds", part="stream:top") == 31
    assert value(found, "lineside_temperature_celsius", zone="cpu-thermal") == 61.5
    assert value(found, "lineside_throttled_by", cause="under_voltage", when="now") == 1
    assert value(found, "lineside_throttled_by", cause="soft_limit", when="before") == 1
    # A time of no_read is none of the model's.
    assert value(found, "lineside_invoke_seconds_count", stream="top") == 3
    assert value(found, "lineside_invoke_seconds_sum", stream="top") == pytest.approx(0.0048)
    assert value(found, "lineside_invoke_seconds_bucket", stream="top", le="0.0005") == 2
    assert value(found, "lineside_latency_seconds_bucket", stream="top", le="2.5") == 3
    assert value(found, "lineside_latency_seconds_bucket", stream="top", le="+Inf") == 4
    types = {family.name: family.type for family in text_string_to_metric_families(text)}
    assert types["lineside_results"] == "counter"
    assert types["lineside_latency_seconds"] == "histogram"


def test_openmetrics_is_spoken_too(serve: Callable[[Callable[[], Snapshot]], int]) -> None:
    text = page(serve(snapshot), "application/openmetrics-text; version=1.0.0")
    names = {family.name for family in parse_openmetrics(text)}
    assert {"lineside", "lineside_results", "lineside_latency_seconds"} <= names


def test_what_a_device_does_not_tell_is_not_on_the_page(
    serve: Callable[[Callable[[], Snapshot]], int], tmp_path: Path
) -> None:
    nothing = read_device(tmp_path / "gone", sys=tmp_path / "sys", proc=tmp_path / "proc")
    text = page(serve(lambda: snapshot(device=nothing, fault=None)))
    names = {name for name, _ in samples(text)}
    assert not any(
        name.startswith(
            (
                "lineside_temperature",
                "lineside_throttled",
                "lineside_memory",
                "lineside_disk",
                "lineside_broker_fault",
            )
        )
        for name in names
    )
    assert "lineside_outbox_pending" in names


def test_the_page_shows_what_is_now(serve: Callable[[Callable[[], Snapshot]], int]) -> None:
    tally = Tally()
    now = snapshot()
    port = serve(lambda: snapshot_with(now, tally))
    for count in range(3):
        found = samples(page(port))
        assert value(found, "lineside_results_total", stream="top", verdict="ok") == count
        tally.note("ok", invoke_ms=1.0, total_ms=1.0)


def snapshot_with(now: Snapshot, tally: Tally) -> Snapshot:
    return Snapshot(**{**vars(now), "streams": [StreamReading("top", tally)]})


def test_only_this_machine_can_ask(serve: Callable[[Callable[[], Snapshot]], int]) -> None:
    port = serve(snapshot)
    # Any other address of this machine: one of the loopback net that the page is not on.
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.2", port)) != 0


def test_a_used_port_is_one_line_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = MetricsServer(port, snapshot)
        server.start()
        line = f"no metrics on 127.0.0.1:{port}: Address already in use; the line runs on without"
        wait_for(lambda: line in caplog.messages, what=line)
        server.stop()
    assert [r.levelname for r in caplog.records] == ["WARNING"]


def test_a_stopped_page_gives_its_port_back() -> None:
    before = threading.active_count()
    server = MetricsServer(free_port(), snapshot)
    server.start()
    server.stop()
    assert threading.active_count() == before
    unstarted = MetricsServer(0, snapshot)
    unstarted.start()
    unstarted.stop()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("port", "says"),
    [
        ("-1", "metrics.port: a whole number of at least 0 and at most 65535 is expected, got -1"),
        (
            "65536",
            "metrics.port: a whole number of at least 0 and at most 65535 is expected, got 65536",
        ),
        ('"9100"', "metrics.port: a whole number is expected, got '9100'"),
    ],
)
def test_a_wrong_port_is_refused_with_the_configuration(
    tmp_path: Path, port: str, says: str
) -> None:
    text = f"{CONFIGURATION}[metrics]\nport = {port}\n"
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, folder=tmp_path)
    assert str(caught.value) == f"config: {says}"


def test_a_bound_belongs_to_the_class_below_it() -> None:
    histogram = Histogram()
    for ms in (0.0, 0.25, 0.250001, 2500.0, 2500.1):
        histogram.note(ms)
    assert histogram.counts[0] == 2
    assert histogram.counts[1] == 1
    assert histogram.counts[BOUNDS_MS.index(2500.0)] == 1
    assert histogram.counts[-1] == 1
    assert histogram.sum_ms == pytest.approx(5000.600001)


def test_the_page_and_its_documentation_name_the_same() -> None:
    device = read_device(Path("/"))
    told = Device(
        temperatures_c={"cpu-thermal": 1.0},
        tells_throttling=True,
        memory_total=device.memory_total,
        memory_available=device.memory_available,
        memory_resident=device.memory_resident,
        disk_total=device.disk_total,
        disk_free=device.disk_free,
    )
    suffixes = {"counter": "_total", "info": "_info"}
    page_names = {f.name + suffixes.get(f.type, "") for f in families(snapshot(device=told))}
    text = (Path(__file__).parents[3] / "docs/operating.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `lineside_")]
    documented: set[str] = set()
    for row in rows:
        first, *rest = re.findall(r"`([a-z_…]+)`", row.split("|")[1])
        stem = first.removesuffix("_total_bytes")
        documented |= {first, *(name.replace("…", stem) for name in rest)}
    assert documented == page_names
