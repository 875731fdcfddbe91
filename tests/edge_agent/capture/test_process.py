"""The camera's process and its memory: what kills it, what it leaves, what it never tears."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from lineside_agent.capture import memory
from lineside_agent.capture.line import LOG, Wish, ask
from lineside_agent.capture.supervisor import Process
from lineside_agent.capture.timing import STALL_S
from lineside_agent.capture.wire import Order
from lineside_agent.sources.live import LiveSource
from tests.support.broker import wait_for
from tests.support.line import gone, level, line, pixels, plain_pictures, take

RETURN_S = 10.0
"""A camera that is there again has to deliver within so many seconds."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return plain_pictures(tmp_path / "line", 4)


@pytest.fixture
def source(folder: Path) -> Iterator[LiveSource]:
    source = line(folder)
    source.open()
    take(source)
    yield source
    source.close()


def child(source: LiveSource) -> int:
    assert source.pid is not None
    return source.pid


def seen_after(source: LiveSource, since: float) -> float:
    """Seconds until the source said that it is lost."""
    wait_for(lambda: source.state == "lost", 5.0, "lost")
    return time.monotonic() - since


def test_a_killed_process_is_replaced_and_frames_go_on(source: LiveSource) -> None:
    first, held = child(source), pixels(take(source))
    before = held.copy()
    os.kill(first, signal.SIGKILL)
    killed_ns = time.monotonic_ns()
    assert seen_after(source, time.monotonic()) < 1.0
    assert "its process ended (SIGKILL" in (source.trouble or "")
    wait_for(lambda: source.pid not in {None, first}, RETURN_S)
    np.testing.assert_array_equal(held, before)  # what is held outlives its process
    while take(source, RETURN_S).mono_ns <= killed_ns:  # what it had sent before is given too
        pass
    assert (source.state, source.trouble) == ("ok", None)
    assert gone(first)


def test_a_stopped_process_is_noticed_within_3_s_and_killed(source: LiveSource) -> None:
    first = child(source)
    os.kill(first, signal.SIGSTOP)
    since = time.monotonic()
    assert STALL_S - 0.5 < seen_after(source, since) < 3.0
    assert "gives no frames: nothing for 2 s" in (source.trouble or "")
    wait_for(lambda: gone(first), 3.0, "killed")
    while source.take(0.01) is not None:  # what it had sent before
        pass
    take(source, RETURN_S)
    assert source.state == "ok"


def descriptors() -> list[str]:
    """What this process has open."""
    paths = Path("/proc/self/fd").iterdir()
    found = [str(path.readlink()).partition(":")[0] for path in paths if path.is_symlink()]
    return sorted(name for name in found if "/proc" not in name)  # not that of the listing


def children() -> set[str]:
    """The processes that this thread has started and not yet buried."""
    return set(Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split())


def order(where: str) -> Order:
    return Order(camera="cam0", scheme="line", where=where, rate=25.0, controls={})


def start_and_end(wanted: Order) -> None:
    process = Process(wanted)
    process.channel.close()
    process.end(0.0, threading.Event())


def test_a_process_that_can_not_be_told_what_to_do_is_ended() -> None:
    before, others = descriptors(), children()
    with pytest.raises(OSError, match="Message too long"):
        Process(order("x" * 10_000_000))
    assert descriptors() == before
    assert children() == others


def test_wherever_descriptors_run_out_none_is_left_open(folder: Path) -> None:
    before, others = descriptors(), children()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    failed = 0
    for more in range(30):
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + more, hard))
        try:
            start_and_end(order(str(folder)))
        except OSError as error:
            assert error.errno == errno.EMFILE  # noqa: PT017 - the limit has to be lifted first
            failed += 1
        else:
            break
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert descriptors() == before
        assert children() == others
    assert failed > 7  # two pairs, a pipe, the memory, and what it takes to start a process
    assert descriptors() == before


def test_close_ends_the_process_and_leaves_nothing(folder: Path) -> None:
    before = descriptors()
    for _ in range(3):
        source = line(folder)
        source.open()
        pid = child_of(source)
        take(source)
        since = time.monotonic()
        source.close()
        assert time.monotonic() - since < 1.5
        assert gone(pid)
        source.close()
    assert descriptors() == before
    assert "lineside-frames" not in Path("/proc/self/maps").read_text()


def child_of(source: LiveSource) -> int:
    wait_for(lambda: source.pid is not None)
    return child(source)


def test_a_process_that_hangs_does_not_hold_up_close(source: LiveSource) -> None:
    pid = child(source)
    os.kill(pid, signal.SIGSTOP)
    since = time.monotonic()
    source.close()
    assert time.monotonic() - since < 3.0
    assert gone(pid)


def test_a_process_whose_agent_is_killed_ends(folder: Path) -> None:
    script = (
        "import sys, time\n"
        "from tests.support.line import line, take\n"
        "from pathlib import Path\n"
        "source = line(Path(sys.argv[1]))\n"
        "source.open(); take(source); print(source.pid, flush=True); time.sleep(60)\n"
    )
    root = Path(__file__).parents[3]
    agent = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert agent.stdout is not None
    pid = int(agent.stdout.readline())
    assert not gone(pid)
    agent.kill()
    agent.wait(5)
    agent.stdout.close()
    wait_for(lambda: gone(pid), 3.0, "the camera's process ended")


def test_a_frame_is_whole_and_stays_while_it_is_held(tmp_path: Path) -> None:
    folder = plain_pictures(tmp_path / "line", 12, 1080, 1920)
    source = line(folder, rate=1000.0)  # as fast as it can
    source.open()
    take(source)
    taken, last = 0, 0
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        shot = take(source)
        frame, number = pixels(shot), shot.frame_id
        assert number is not None
        assert number > last
        last = number
        for _ in range(2):  # at once, and after the camera could have written some more frames
            sample = frame[::9, ::7]
            assert sample.min() == sample.max() == level(number % 12)
            time.sleep(0.004 * (taken % 3))
        taken += 1
    assert taken > 20
    assert source.dropped > 0
    source.close()


def test_frames_that_are_dropped_are_counted_each(tmp_path: Path) -> None:
    folder = plain_pictures(tmp_path / "line", 4)
    source = line(folder, rate=100.0)
    source.open()
    first = take(source)
    dropped = source.dropped
    time.sleep(0.5)
    old = time.monotonic_ns()
    second = take(source)
    assert old - second.mono_ns < 30_000_000  # ns: the newest, not one that has waited
    assert first.frame_id is not None
    assert second.frame_id is not None
    assert second.frame_id - first.frame_id > 30
    counted = source.dropped - dropped
    source.close()
    # What was given in between, as the line wrote down: on a busy machine it skips a beat itself.
    given = [json.loads(line)["mono_ns"] for line in (folder / LOG).read_text().splitlines()]
    between = [stamp for stamp in given if first.mono_ns < stamp < second.mono_ns]
    assert len(between) > 20
    assert counted == len(between)


def test_frames_of_other_sizes_and_one_that_fits_in_no_slot(tmp_path: Path) -> None:
    folder = tmp_path / "line"
    folder.mkdir()
    for number, (height, width) in enumerate([(48, 64), (120, 160), (5001, 5000), (4, 9)]):
        picture = np.full((height, width, 3), 7 * number + 7, np.uint8)
        if min(picture.shape[:2]) >= 8:
            cv2.imwrite(str(folder / f"{number}.png"), picture)
    ask(folder, Wish(noise=False))
    source = line(folder)
    source.open()
    shapes, problems = set(), set()
    for _ in range(12):
        shot = take(source)
        if shot.frame is None:
            assert shot.flagged == shot.problem
            problems.add(shot.problem)
        else:
            shapes.add(shot.frame.shape)
    source.close()
    assert shapes == {(48, 64, 3), (120, 160, 3)}
    (problem,) = problems
    assert problem == "a frame of 5000x5001 pixels: 8x8 to 25,000,000 pixels are expected"


def test_shared_memory_can_be_neither_shrunk_nor_written_by_the_agent() -> None:
    shared = memory.create()
    mine = memory.Frames(shared, writable=False)
    its = memory.Frames(shared, writable=True)
    with pytest.raises(PermissionError):
        os.ftruncate(shared, 0)
    os.close(shared)
    its.frame(2, 100, 200)[:] = 9
    seen = mine.frame(2, 100, 200)
    assert (seen == 9).all()
    with pytest.raises(ValueError, match="read-only"):
        seen[0] = 1


@pytest.mark.parametrize(
    ("slot", "height", "width"), [(0, 0, 64), (0, 64, 7), (0, -8, -8), (3, 64, 64), (0, 10**6, 26)]
)
def test_what_is_no_frame_is_refused(slot: int, height: int, width: int) -> None:
    shared = memory.create()
    frames = memory.Frames(shared, writable=False)
    os.close(shared)
    with pytest.raises(ValueError, match="25,000,000 pixels are expected"):
        frames.frame(slot, height, width)
