"""The virtual line: each fault, as the agent sees it, against what the line says it did."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lineside.settings import ControlSettings
from lineside_agent.capture.line import CONTROL, Wish, ask
from lineside_agent.sources import Shot
from lineside_agent.sources.live import LiveSource
from tests.support.broker import wait_for
from tests.support.line import done, line, pixels, plain_pictures, take
from tests.support.pictures import colourful

cv2 = pytest.importorskip("cv2", reason="OpenCV comes with the extra 'runtime'")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "line"
    folder.mkdir()
    for number in range(3):
        picture = colourful(120, 160, seed=number)
        picture[30:90:2] = 0  # edges, which a blurred picture has not
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    (folder / CONTROL).parent.mkdir()
    return folder


@pytest.fixture
def source(folder: Path) -> Iterator[LiveSource]:
    source = line(folder)
    source.open()
    take(source)
    yield source
    source.close()


def shots(source: LiveSource, folder: Path, wish: Wish, count: int) -> list[Shot]:
    """Shots that were given after `wish` was asked for."""
    ask(folder, wish)
    wait_for(lambda: done(folder)[-1]["fault"] == wish.fault)
    found: list[Shot] = []
    while len(found) < count:
        shot = take(source)
        if at(folder, shot) == wish.fault:
            frame = None if shot.frame is None else shot.frame.copy()
            found.append(
                Shot(
                    frame,
                    shot.mono_ns,
                    shot.captured_at,
                    problem=shot.problem,
                    flagged=shot.flagged,
                    frame_id=shot.frame_id,
                )
            )
    return found


def at(folder: Path, shot: Shot) -> object:
    """What fault the line says the newest frame of this number had."""
    return [entry["fault"] for entry in done(folder) if entry["frame"] == shot.frame_id][-1]


def test_frames_are_numbered_and_stamped_and_the_log_says_the_same(
    source: LiveSource, folder: Path
) -> None:
    seen = [take(source) for _ in range(10)]
    numbers = [shot.frame_id for shot in seen]
    assert numbers == sorted(set(numbers), key=lambda n: n or 0)
    log = {entry["frame"]: entry for entry in done(folder)}
    for shot in seen:
        entry = log[shot.frame_id]
        assert (entry["mono_ns"], entry["shows"], entry["fault"]) == (
            shot.mono_ns,
            shot.frame_id,
            None,
        )
        assert entry["file"] == f"{(shot.frame_id or 0) % 3}.png"
        assert shot.stamp == "driver"
        assert abs(shot.captured_at.timestamp() - time.time()) < 5


def test_no_two_frames_are_the_same_but_those_of_a_frozen_camera(
    source: LiveSource, folder: Path
) -> None:
    first = pixels(take(source)).copy()
    others = [pixels(take(source)).copy() for _ in range(3)]
    assert all((first != other).any() for other in others)
    frozen = shots(source, folder, Wish(fault="freeze"), 5)
    assert all(np.array_equal(pixels(frozen[0]), pixels(shot)) for shot in frozen)
    assert len({shot.mono_ns for shot in frozen}) == len({shot.frame_id for shot in frozen}) == 5
    assert source.state == "ok"  # only who looks at the pictures can know


@pytest.mark.parametrize("fault", ["stall", "error", "corrupt"])
def test_frames_that_cannot_be_trusted_are_flagged_and_the_camera_is_lost_and_comes_back(
    source: LiveSource, folder: Path, fault: str
) -> None:
    ask(folder, Wish(fault=fault, bits=200))  # type: ignore[arg-type] # one of them
    wait_for(lambda: done(folder)[-1]["fault"] == fault)
    begun = time.monotonic()
    reasons: set[str] = set()
    while source.state == "ok":
        shot = source.take(0.1)
        if shot is not None and at(folder, shot) == fault and shot.frame is None:
            reasons.add((shot.flagged or "").partition(":")[0])
    assert time.monotonic() - begun < 3.0
    assert "gives no frame that can be trusted" in (source.trouble or "")
    assert reasons == {{"stall": "stamp", "error": "driver", "corrupt": "frame"}[fault]}
    ask(folder, Wish())
    wait_for(lambda: source.state == "ok", 10.0, "back")
    while take(source).frame is None:
        pass


def test_what_the_strict_decoder_lets_pass_is_written_down(
    source: LiveSource, folder: Path
) -> None:
    seen = shots(source, folder, Wish(fault="corrupt", bits=1), 25)
    log = {entry["frame"]: entry["refused"] for entry in done(folder)}
    assert all((shot.frame is None) == (log[shot.frame_id] is not None) for shot in seen)


def test_a_stale_frame_has_its_old_stamp_and_is_flagged(source: LiveSource, folder: Path) -> None:
    seen = shots(source, folder, Wish(fault="stale", ms=60_000), 3)
    assert all(shot.frame is None for shot in seen)
    assert all("an old frame again" in (shot.flagged or "") for shot in seen)
    wait_for(lambda: source.pid is None, 5.0, "ended, since nothing of it can be trusted")
    again = [take(source, 10.0) for _ in range(3)]
    assert all("an old frame again" in (shot.flagged or "") for shot in again)
    assert all(time.monotonic_ns() - shot.mono_ns > 59e9 for shot in seen)


def test_a_late_frame_says_when_it_was_captured(source: LiveSource, folder: Path) -> None:
    ask(folder, Wish(fault="late", ms=300))
    wait_for(lambda: done(folder)[-1]["fault"] == "late")
    for _ in range(4):
        shot = take(source)
    age_ms = (time.monotonic_ns() - shot.mono_ns) / 1e6
    assert 300 <= age_ms < 600
    assert shot.frame is not None


@pytest.mark.parametrize(("fault", "low", "high"), [("black", 0, 1), ("overexposed", 254, 255)])
def test_black_and_overexposed(
    source: LiveSource, folder: Path, fault: str, low: int, high: int
) -> None:
    (shot,) = shots(source, folder, Wish(fault=fault), 1)  # type: ignore[arg-type] # one of them
    assert low <= pixels(shot).min() <= pixels(shot).max() <= high


def test_blurred_and_moved(source: LiveSource, folder: Path) -> None:
    def sharpness(shot: Shot) -> float:
        return float(cv2.Laplacian(pixels(shot), cv2.CV_64F).var())

    (sharp,) = shots(source, folder, Wish(), 1)
    (blurred,) = shots(source, folder, Wish(fault="blurred"), 1)
    assert sharpness(blurred) < 0.8 * sharpness(sharp)
    (moved,) = shots(source, folder, Wish(fault="moved", noise=False), 1)
    whole = cv2.imread(str(folder / f"{(moved.frame_id or 0) % 3}.png"))
    np.testing.assert_array_equal(np.roll(whole, (12, 32), axis=(0, 1)), pixels(moved))


def test_only_some_of_the_pictures_are_shown(source: LiveSource, folder: Path) -> None:
    ask(folder, Wish(pictures=(1, 1)))
    wait_for(lambda: [entry["file"] for entry in done(folder)[-5:]] == ["1.png"] * 5)
    first, second = (pixels(take(source)).copy() for _ in range(2))
    assert (first != second).any()  # each has its own noise
    ask(folder, Wish(pictures=(1, 3)))
    wait_for(lambda: "there are no pictures 1 to 3" in (source.trouble or ""))
    assert "has 3, counted from 0" in (source.trouble or "")


@pytest.mark.parametrize("fault", ["hang", "vanish", "crash"])
def test_a_camera_that_is_gone_is_seen_and_recovers(
    source: LiveSource, folder: Path, fault: str
) -> None:
    ask(folder, Wish(fault=fault))  # type: ignore[arg-type] # one of them
    begun = time.monotonic()
    while source.state == "ok":
        source.take(0.05)
    assert time.monotonic() - begun < 3.0
    noted = [entry for entry in done(folder) if entry["fault"] == fault]
    assert noted
    assert all(entry["file"] is None for entry in noted)
    words = {
        "hang": "gives no frames: nothing for 2 s",
        "vanish": "the virtual line is unplugged",
        "crash": "its process ended (SIGSEGV",
    }
    assert words[fault] in (source.trouble or "")
    time.sleep(1.0)  # long enough for another try that fails too
    assert source.state == "lost"
    ask(folder, Wish())
    begun = time.monotonic()
    while take(source, 10.0).mono_ns < begun * 1e9:
        pass
    assert time.monotonic() - begun < 10.0
    assert source.state == "ok"


def test_a_camera_that_is_not_there_yet_and_a_control_file_that_is_none(tmp_path: Path) -> None:
    source = line(tmp_path / "later")
    source.open()
    wait_for(lambda: source.state == "lost")
    assert source.trouble == f"camera 'cam0': no folder {tmp_path / 'later'}"
    plain_pictures(tmp_path / "later", 1)
    (tmp_path / "later" / CONTROL).write_text('{"fault": "explode"}')
    wait_for(lambda: "moved is expected, got 'explode'" in (source.trouble or ""))
    ask(tmp_path / "later", Wish())
    take(source, 10.0)
    source.close()


def test_controls_are_read_back(folder: Path) -> None:
    source = line(folder, controls=ControlSettings(exposure_us=2000.0, gain=3.0))
    source.open()
    take(source)
    wait_for(lambda: bool(source.controls))
    assert source.controls == {"exposure_us": 2000.0, "gain": 3.0}
    source.close()


def test_the_numbers_go_on_in_the_next_process(source: LiveSource) -> None:
    first = take(source).frame_id
    pid = source.pid
    assert pid is not None
    os.kill(pid, 9)
    wait_for(lambda: source.pid not in {None, pid}, 10.0)
    second = take(source).frame_id
    assert first is not None
    assert second is not None
    assert second > first
