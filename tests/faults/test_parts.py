"""The harness's own parts: what must be found wrong is found wrong."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.faults import cameras
from tests.faults.chaos import KINDS, make_schedule
from tests.faults.counting import History, judge
from tests.faults.plant import ROOT, faketime
from tests.faults.proxy import Proxy

SENT = {"1": "top", "2": "side", "3": "top", "4": "side"}
ACCEPTED = {"1": "top", "2": "side", "3": "top"}
REFUSED = {"4": "the disk is full"}


def payload(
    trigger: str, seq: int, *, boot: str = "a", stream: str = "top", **more: object
) -> bytes:
    """As much of a result as is counted."""
    result = {
        "boot": boot,
        "stream": stream,
        "seq": seq,
        "verdict": "ok",
        "reasons": ["score<review"],
        "trigger": {"kind": "command", "id": trigger, "mono_ns": 1},
    }
    return json.dumps(result | more).encode()


def found(*payloads: bytes) -> list[str]:
    history = History()
    for each in payloads:
        history.take(each)
    return judge(ACCEPTED, REFUSED, SENT, history)


GOOD = (payload("1", 1), payload("2", 1, stream="side"), payload("3", 2))


def test_a_history_without_a_fault() -> None:
    assert found(*GOOD, *GOOD) == []


def test_a_no_read_of_a_later_boot_is_a_result() -> None:
    late = payload("3", 1, boot="b", verdict="no_read", reasons=["cut_off"])
    assert found(*GOOD[:2], late) == []


@pytest.mark.parametrize(
    ("payloads", "line"),
    [
        (GOOD[:2], "missing: 3"),
        ((*GOOD, payload("3", 1, boot="b")), "twice: 3 has [('a', 'top', 2), ('b', 'top', 1)]"),
        ((*GOOD, payload("3", 3)), "twice: 3 has [('a', 'top', 2), ('a', 'top', 3)]"),
        ((*GOOD, payload("3", 2, verdict="ng")), "changed: ('a', 'top', 2)"),
        ((*GOOD, payload("9", 3)), "stranger: 9 on ['top']"),
        ((GOOD[0], payload("2", 3), GOOD[2]), "stranger: 2 on ['top']"),
        ((*GOOD, payload("4", 2, stream="side")), "refused: 4 (the disk is full)"),
    ],
)
def test_histories_that_are_wrong(payloads: tuple[bytes, ...], line: str) -> None:
    assert found(*payloads) == [line]


def test_many_violations_are_counted() -> None:
    accepted = {f"{n:03d}": "top" for n in range(100)}
    wrong = judge(accepted, {}, accepted, History())
    assert wrong == [f"missing: {n:03d}" for n in range(5)] + ["missing: and 95 more"]


def test_a_schedule_is_the_same_for_a_seed() -> None:
    counts = dict.fromkeys(KINDS, 20)
    one = make_schedule(0, counts, results=1000, streams=("top",))
    assert one == make_schedule(0, counts, results=1000, streams=("top",))
    assert one != make_schedule(1, counts, results=1000, streams=("top",))
    assert {kind: sum(fault.kind == kind for fault in one) for kind in KINDS} == counts
    assert all(a.at <= b.at for a, b in pairwise(one))


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that says what it hears."""
    program = """
import socket, threading
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
def serve(one):
    while data := one.recv(4096):
        one.sendall(data)
while True:
    threading.Thread(target=serve, args=server.accept()[:1], daemon=True).start()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdout is not None
        yield int(child.stdout.readline())
        child.kill()


def ended(sock: socket.socket) -> bool:
    """Whether the other side ends a connection, in one way or the other."""
    try:
        return sock.recv(10) == b""
    except ConnectionError:
        return True


def test_the_proxy_resets_and_stalls(echo: int) -> None:
    with Proxy(echo) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port)) as sock:
            sock.sendall(b"one")
            assert sock.recv(10) == b"one"
            proxy.stall()
            sock.settimeout(0.2)
            sock.sendall(b"two")
            with pytest.raises(TimeoutError):
                sock.recv(10)
            sock.settimeout(5)
            proxy.flow()
            assert sock.recv(10) == b"two"
            assert proxy.reset() == 1
            with pytest.raises(ConnectionResetError):
                sock.recv(10)
        proxy.shut()
        with socket.create_connection(("127.0.0.1", proxy.port)) as sock:
            assert ended(sock)
        proxy.open()
        with socket.create_connection(("127.0.0.1", proxy.port)) as sock:
            sock.sendall(b"three")
            assert sock.recv(10) == b"three"
        assert (proxy.connections, proxy.resets, proxy.stalls) == (2, 1, 1)


WRITER = """
import os, signal, sys
import apsw
from tests.faults.unsynced import install
install()
db = apsw.Connection(sys.argv[1])
for pragma in ("locking_mode = exclusive", "journal_mode = wal", f"synchronous = {sys.argv[2]}"):
    db.execute(f"PRAGMA {pragma}").fetchall()
db.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER)")
for n in range(50):
    db.execute("INSERT INTO t VALUES (?)", (n,))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("synchronous", "rows"), [("full", 50), ("off", None)])
def test_the_file_layer_loses_what_was_not_synced(
    tmp_path: Path, synchronous: str, rows: int | None
) -> None:
    apsw = pytest.importorskip("apsw", reason="apsw comes with the extra 'agent'")
    path = tmp_path / "file.sqlite"
    command = [sys.executable, "-c", WRITER, str(path), synchronous]
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=30).returncode == -9
    db = apsw.Connection(str(path))
    tables = db.execute("SELECT count(*) FROM sqlite_schema").get
    assert (db.execute("SELECT count(*) FROM t").get if tables else None) == rows
    db.close()


CLOCK = """
import sys, threading, time
sys.path.insert(0, "")
from tests.faults.runner import unfake_sleep
unfake_sleep()
def waits():
    while True:
        began = time.monotonic()
        threading.Event().wait(0.05)
        assert 0.04 < time.monotonic() - began < 5
threading.Thread(target=waits, daemon=True).start()
print(flush=True)
for line in sys.stdin:
    time.sleep(0.05)
    print(round(time.time()), time.monotonic_ns(), flush=True)
"""


def test_the_clock_of_one_process_is_set_and_its_monotonic_clock_is_not(tmp_path: Path) -> None:
    library = faketime()
    if library is None:
        pytest.skip("libfaketime is not installed (apt-get install faketime)")
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    env = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-c", CLOCK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
        cwd=ROOT,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        year = 365 * 86400
        for offset, seconds in (("+0", 0), ("+1y", year), ("-1y", -year), ("+0", 0)):
            clock.write_text(f"{offset}\n")
            child.stdin.write("\n")
            child.stdin.flush()
            wall, mono_ns = map(int, child.stdout.readline().split())
            assert abs(wall - seconds - time.time()) < 5
            assert abs(mono_ns - time.monotonic_ns()) < 5e9
        child.stdin.close()


def log_of(folder: Path, *entries: dict[str, object]) -> Path:
    (folder / ".line").mkdir(parents=True)
    healthy = {"fault": None, "refused": None}
    text = "".join(json.dumps(healthy | entry) + "\n" for entry in entries)
    (folder / ".line" / "log.jsonl").write_text(text + '{"frame": 9, "mo')
    return folder


def verdict(stamp: int, trigger: int, *, seq: int = 1) -> cameras.Look:
    return cameras.Look.of(
        {
            "stream": "top",
            "boot": "a" * 36,
            "seq": seq,
            "verdict": "ok",
            "trigger": {"kind": "command", "mono_ns": trigger},
            "inputs": [{"mono_ns": stamp}],
        }
    )


def test_verdicts_on_frames_that_must_not_be_used(tmp_path: Path) -> None:
    folder = log_of(
        tmp_path / "top",
        {"frame": 1, "shows": 1, "mono_ns": 100},
        {"frame": 2, "shows": 1, "mono_ns": 200, "fault": "freeze"},
        {"frame": 3, "shows": 3, "mono_ns": 300, "fault": "error"},
        {"frame": 4, "shows": 4, "mono_ns": 400, "fault": "corrupt", "refused": "bad code"},
    )
    wrong, counts = cameras.check([verdict(100, 50)], folder)
    assert (wrong, counts) == ([], {"healthy": 1})
    # A boot that begins with a frozen camera can't know it from its first picture.
    assert cameras.check([verdict(200, 150)], folder) == ([], {"freeze": 1})
    again = verdict(200, 150, seq=2)
    for others, one, kind in (
        ([], verdict(100, 101), "older"),
        ([verdict(100, 50)], again, "repeated"),
        ([], verdict(300, 250), "flagged"),
        ([], verdict(400, 350), "flagged"),
        ([], verdict(500, 450), "unknown"),
    ):
        wrong, _ = cameras.check([*others, one], folder)
        assert [line.split(":")[0] for line in wrong] == [kind]
