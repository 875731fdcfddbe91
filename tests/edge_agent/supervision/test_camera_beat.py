"""A camera's beat: it moves with frames and with each failure, and with nothing else."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from lineside.settings import CameraSettings
from lineside_agent.capture.line import Wish, ask
from lineside_agent.sources import make_source
from tests.support.broker import wait_for
from tests.support.line import line, plain_pictures, take


def test_a_camera_that_hangs_moves_by_its_failures(tmp_path: Path) -> None:
    folder = plain_pictures(tmp_path / "line", 2)
    source = line(folder)
    source.open()
    try:
        take(source)
        before = source.moved
        assert source.failures == 0
        wait_for(lambda: source.moved > before, what="frames that nobody takes")
        ask(folder, Wish(fault="hang"))
        # Its process is killed, and so are the ones that follow it.
        wait_for(lambda: source.failures >= 2, 20.0, "two failures")
        before = source.moved
        assert source.state == "lost"
        ask(folder, Wish())
        wait_for(lambda: source.state == "ok", 20.0, "its return")
        assert source.moved > before
    finally:
        source.close()
    assert source.moved == 0


def test_between_the_last_frame_and_the_failure_nothing_moves(tmp_path: Path) -> None:
    """What the watchdog is for: neither a frame nor an attempt."""
    source = line(plain_pictures(tmp_path / "line", 2))
    source.open()
    try:
        take(source)
        pid = source.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        # Frames end at once; until the process is killed for it, nothing moves.
        time.sleep(0.1)
        before = source.moved
        time.sleep(0.5)
        assert source.moved == before
        wait_for(lambda: source.failures == 1, what="a failure")
        assert source.moved > before
    finally:
        source.close()


def test_a_camera_that_is_not_there_moves_by_its_attempts(tmp_path: Path) -> None:
    source = make_source(CameraSettings(name="top", source=f"v4l2:{tmp_path}/video0"))
    source.open()
    try:
        wait_for(lambda: source.failures >= 2, 20.0, "two failures")
        assert source.moved == source.failures
    finally:
        source.close()
