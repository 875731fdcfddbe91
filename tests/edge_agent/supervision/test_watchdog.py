"""What feeds the watchdog, and what does not: real threads, a real outbox, a real socket."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lineside.settings import OutboxSettings, StationSettings
from lineside.topics import Topics
from lineside_agent.keeper import Keeper
from lineside_agent.publisher import Publisher
from lineside_agent.supervision import Beat, Notifier, Watchdog
from tests.support.broker import wait_for
from tests.support.disk import tiny_disk
from tests.support.examples import result

LIMIT_S = 0.4


class Manager:
    """What stands where systemd listens."""

    def __init__(self, path: Path) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._sock.bind(str(path))
        self.notifier = Notifier(str(path), watchdog_s=LIMIT_S)

    def heard(self) -> list[str]:
        """What has come since the last call."""
        found = []
        with contextlib.suppress(BlockingIOError):  # that is all
            while True:
                found.append(self._sock.recv(4096).decode())
        return found

    def fed(self) -> int:
        """How often the watchdog was fed since the last call."""
        return self.heard().count("WATCHDOG=1")

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


class Worker:
    """A thread that comes round, until it is held."""

    def __init__(self) -> None:
        self.turns = 0
        self.idle = False
        self.free = threading.Event()
        self.free.set()
        self._ending = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def beat(self) -> Beat:
        return Beat(self.turns, self.idle)

    def _run(self) -> None:
        while not self._ending:
            self.free.wait()
            self.turns += 1
            time.sleep(0.005)

    def end(self) -> None:
        self._ending = True
        self.free.set()
        self._thread.join()


@pytest.fixture
def worker() -> Iterator[Callable[[], Worker]]:
    made: list[Worker] = []

    def make() -> Worker:
        made.append(Worker())
        return made[-1]

    yield make
    for each in made:
        each.end()


def run(watchdog: Watchdog, seconds: float) -> None:
    """A main loop, for so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        watchdog.tick()
        time.sleep(0.01)


def test_it_is_fed_while_all_parts_move_and_only_then(
    manager: Manager, worker: Callable[[], Worker], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    capture, inference = worker(), worker()
    watchdog = Watchdog(
        {"capture:top": capture.beat, "stream:top": inference.beat}, manager.notifier
    )
    run(watchdog, 2 * LIMIT_S)
    assert 4 <= manager.fed() <= 8  # four times within the limit
    assert watchdog.age_s < LIMIT_S

    capture.free.clear()
    run(watchdog, LIMIT_S / 2)  # what had moved before may still count once
    manager.heard()
    run(watchdog, 1.5 * LIMIT_S)
    heard = manager.heard()
    assert "WATCHDOG=1" not in heard
    assert watchdog.age_s > LIMIT_S  # systemd would have ended it
    assert watchdog.still_s["capture:top"] > LIMIT_S > watchdog.still_s["stream:top"]
    told = [text for text in [*heard, *caplog.messages] if "capture:top has stood still" in text]
    assert len(told) == 2  # once in the log, once in the status

    capture.free.set()
    wait_for(lambda: watchdog.tick() or manager.fed(), what="a feeding")
    assert "capture:top moves again" in caplog.messages


def test_who_has_nothing_to_do_holds_nobody_up(
    manager: Manager, worker: Callable[[], Worker], caplog: pytest.LogCaptureFixture
) -> None:
    ended, outbox = worker(), worker()
    watchdog = Watchdog({"stream:top": ended.beat, "outbox": outbox.beat}, manager.notifier)
    run(watchdog, LIMIT_S / 4)
    ended.free.clear()
    ended.idle = True
    manager.heard()
    run(watchdog, 2 * LIMIT_S)
    assert manager.fed() >= 4
    assert caplog.messages == []


def test_a_main_loop_that_stands_still_feeds_nobody(
    manager: Manager, worker: Callable[[], Worker], caplog: pytest.LogCaptureFixture
) -> None:
    part = worker()
    watchdog = Watchdog({"outbox": part.beat}, manager.notifier)
    part.free.clear()
    run(watchdog, LIMIT_S / 8)
    time.sleep(1.5 * LIMIT_S)
    assert manager.fed() == 0
    assert watchdog.age_s > LIMIT_S
    watchdog.tick()
    # It was not looked at, so it is not blamed.
    assert caplog.messages == ["the main loop has stood still for 1 s"]
    part.free.set()
    wait_for(lambda: watchdog.tick() or manager.fed(), what="a feeding")


def test_without_systemd_the_age_is_known_all_the_same(worker: Callable[[], Worker]) -> None:
    watchdog = Watchdog({"outbox": worker().beat}, Notifier())
    assert watchdog.limit_s == 60
    run(watchdog, 0.05)
    assert 0.04 < watchdog.age_s < 5
    assert watchdog.still_s["outbox"] < 1


def _keeper(folder: Path) -> Keeper:
    publisher = Publisher(lambda _: None, Topics("ulm", "press4"), echo=False)
    settings = OutboxSettings(path=str(folder / "outbox.sqlite"), commit_ms=0, waiting=1000)
    station = StationSettings(site="ulm", name="press4")
    return Keeper(settings, station, str(uuid.uuid4()), publisher, ["top"])


def test_a_full_disk_is_no_stall(tmp_path: Path, manager: Manager) -> None:
    """The keeper tries again and again: a restart would not make room."""
    with tiny_disk(tmp_path / "disk", kib=1024) as disk:
        keeper = _keeper(disk)
        keeper.start()
        try:
            wait_for(lambda: keeper.turns > 1, what="the keeper's first turn")
            room = disk / "ballast"
            with room.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * 4096)
            for _ in range(200):
                keeper.put(result(boot=str(uuid.uuid4())), wait=False)
            wait_for(lambda: keeper.problem is not None, what="a full disk")
            watchdog = Watchdog(
                {"outbox": lambda: Beat(keeper.turns)},
                Notifier(str(tmp_path / "notify"), watchdog_s=4.0),
            )
            manager.heard()
            wait_for(lambda: watchdog.tick() or manager.fed() >= 1, what="a feeding")
            assert keeper.problem is not None
            room.unlink()
        finally:
            keeper.stop()
