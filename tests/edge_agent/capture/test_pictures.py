"""A camera's pictures are looked at in its process: each fault of the virtual line."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from lineside.image import Frame
from lineside.settings import CameraSettings
from lineside_agent.capture import pictures
from lineside_agent.capture.line import Fault, Wish, ask
from lineside_agent.capture.pictures import Pictures
from lineside_agent.capture.wire import News, Order
from lineside_agent.sources import make_source
from lineside_agent.sources.live import LiveSource
from lineside_agent.vitals import Kind, Vitals
from tests.support.broker import wait_for
from tests.support.line import done, take

PERIOD_NS = 50_000_000
PARTS = 8
SEEN_S, OVER_S = 3.0, 10.0
DOUBTS: list[Kind] = ["black", "overexposed", "frozen"]
CALLED: dict[Fault, Kind] = {
    "black": "black",
    "overexposed": "overexposed",
    "freeze": "frozen",
    "blurred": "blurred",
    "moved": "moved",
}


def scene(part: int) -> Frame:
    """A bench with fixed edges, and a part on its way across: uint8, 180 x 320 x 3."""
    random = np.random.default_rng(3)
    frame = np.full((180, 320, 3), 70, np.uint8)
    for x, y in random.integers((0, 0), (300, 165), (60, 2)).tolist():
        frame[y : y + 12, x : x + 16] = random.integers(30, 200, 3)
    cv2.circle(frame, (40 * part, 90), 22, (60, 90, 160), -1)
    return frame


def order(
    learned: Path | None = None,
    doubts: list[Kind] | None = None,
    checks: list[Kind] | None = None,
) -> Order:
    return Order(
        camera="cam0",
        scheme="line",
        where="/nowhere",
        rate=20.0,
        controls={},
        checks=list(CALLED.values()) if checks is None else checks,
        doubts=DOUBTS if doubts is None else doubts,
        learned="" if learned is None else str(learned),
    )


def noisy(frame: Frame, random: np.random.Generator) -> Frame:
    return frame ^ random.integers(0, 2, frame.shape, np.uint8)


@pytest.fixture(scope="module")
def learned() -> bytes:
    """What is learned of the scene in 75 s."""
    vitals, random = Vitals(), np.random.default_rng(1)
    scenes = [scene(part) for part in range(PARTS)]
    for index in range(1500):
        vitals.look(noisy(scenes[index % PARTS], random), mono_ns=index * PERIOD_NS)
        assert not vitals.findings, (index, vitals.findings)
    kept = vitals.learned()
    assert kept is not None
    return kept


@pytest.fixture
def file(tmp_path: Path, learned: bytes) -> Path:
    """Where it is kept."""
    file = tmp_path / "state" / "vitals" / "cam0.npz"
    file.parent.mkdir(parents=True)
    file.write_bytes(learned)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "line"
    folder.mkdir()
    for part in range(PARTS):
        cv2.imwrite(str(folder / f"{part}.png"), scene(part))
    ask(folder, Wish())
    return folder


def opened(folder: Path, file: Path) -> LiveSource:
    camera = CameraSettings(name="cam0", source=f"line:{folder}", rate=20.0)
    source = make_source(camera, vitals=file.parent)
    assert isinstance(source, LiveSource)
    source.open()
    take(source)
    return source


@pytest.fixture
def source(folder: Path, file: Path) -> Iterator[LiveSource]:
    """A camera whose pictures were learned by an earlier process."""
    source = opened(folder, file)
    yield source
    source.close()


def trusted(source: LiveSource, folder: Path, seconds: float) -> dict[str | None, int]:
    """How many frames came without a doubt, by what the line did to them."""
    counts: dict[str | None, int] = {}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        shot = source.take(0.1)
        if shot is not None and shot.doubt is None and shot.flagged is None:
            fault = next(e["fault"] for e in done(folder)[::-1] if e["frame"] == shot.frame_id)
            counts[fault] = counts.get(fault, 0) + 1
    return counts


def test_each_fault_is_seen_within_3_s_and_over_within_10_s_of_its_return(
    source: LiveSource, folder: Path
) -> None:
    assert trusted(source, folder, 1.0).keys() == {None}
    for fault, kind in CALLED.items():
        begun = time.monotonic()
        ask(folder, Wish(fault=fault))
        wait_for(lambda kind=kind: kind in source.findings, SEEN_S, f"{fault} seen")
        assert time.monotonic() - begun < SEEN_S
        assert set(source.findings) == {kind}
        assert source.state == "ok"  # it gives frames, and is not started again
        while source.take(0.0) is not None:  # what came before
            pass
        assert bool(trusted(source, folder, 0.5)) == (kind not in DOUBTS)
        ask(folder, Wish())
        wait_for(lambda: not source.findings, OVER_S, f"{fault} over")
        assert trusted(source, folder, 0.3)[None] > 0
    assert source.failures == 0


def test_black_and_overexposed_frames_are_doubted_from_the_first(
    source: LiveSource, folder: Path
) -> None:
    for fault in ("black", "overexposed"):
        ask(folder, Wish(fault=fault))  # type: ignore[arg-type] # one of them
        assert not trusted(source, folder, 0.7).get(fault)
        ask(folder, Wish())
        wait_for(lambda: done(folder)[-1]["fault"] is None)


def test_a_stall_is_flagged_and_no_frame_of_it_is_trusted(source: LiveSource, folder: Path) -> None:
    ask(folder, Wish(fault="stall"))
    wait_for(lambda: source.state == "lost", SEEN_S, "lost")
    # The picture that it stands at is a good one, once.
    assert trusted(source, folder, 0.5).get("stall", 0) <= 1
    ask(folder, Wish())
    wait_for(lambda: source.state == "ok", OVER_S, "back")


def test_a_frozen_camera_repeats_no_picture_that_is_trusted_after_its_process_died(
    source: LiveSource, folder: Path
) -> None:
    ask(folder, Wish(fault="freeze"))
    wait_for(lambda: "frozen" in source.findings, SEEN_S, "seen")
    pid = source.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: source.pid not in {None, pid}, OVER_S, "another process")
    assert not trusted(source, folder, 1.5)
    assert "frozen" in source.findings


def test_a_new_camera_that_freezes_has_no_picture_that_is_trusted(
    folder: Path, tmp_path: Path
) -> None:
    source = opened(folder, tmp_path / "nothing" / "cam0.npz")
    assert trusted(source, folder, 0.5).keys() == {None}
    ask(folder, Wish(fault="freeze"))
    wait_for(lambda: done(folder)[-1]["fault"] == "freeze")
    assert trusted(source, folder, 1.0).get("freeze", 0) <= 1  # the one that the others repeat
    assert not trusted(source, folder, 1.5)
    assert not source.findings  # nothing is known of its noise yet
    ask(folder, Wish())
    wait_for(lambda: trusted(source, folder, 0.2).get(None), 3.0, "trusted again")
    source.close()


def test_what_was_learned_is_kept_at_the_end_and_used_by_the_next(
    folder: Path, file: Path, learned: bytes
) -> None:
    source = opened(folder, file)
    source.close()
    kept = file.read_bytes()
    assert kept != learned
    assert [path.name for path in file.parent.iterdir()] == ["cam0.npz"]
    before, after = Vitals(learned), Vitals(kept)  # neither is damaged
    assert before.learned() is not None
    assert after.learned() is not None


def test_a_damaged_file_is_a_line_in_the_log_and_a_new_beginning(
    folder: Path, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_bytes(b"no zip")
    source = opened(folder, file)
    wait_for(lambda: "learned anew" in caplog.text)
    assert "what was learned of a camera is damaged" in caplog.text
    source.close()
    Vitals(file.read_bytes())


def test_a_camera_that_was_moved_on_purpose_is_forgotten_with_its_file(
    source: LiveSource, folder: Path, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ask(folder, Wish(fault="moved"))
    wait_for(lambda: "moved" in source.findings, SEEN_S, "seen")
    file.unlink()
    wait_for(lambda: not source.findings, SEEN_S, "forgotten")
    assert "cam0': the file of what was learned of its pictures is gone" in caplog.text
    assert trusted(source, folder, 2.0).keys() == {"moved"}
    assert not source.findings
    source.close()
    # What is kept at the end is of the camera as it is now.
    again = opened(folder, file)
    assert trusted(again, folder, 2.0).keys() == {"moved"}
    assert not again.findings
    again.close()


def test_what_is_forgotten_at_the_last_moment_is_not_written_again(file: Path) -> None:
    subject = Pictures(order(file), lambda _: True)
    looks(subject, scene(0), 3)
    file.unlink()
    subject.close()
    assert not file.exists()


def told(said: list[News]) -> list[dict[Kind, str]]:
    return [news.findings for news in said if news.findings is not None]


def looks(subject: Pictures, frame: Frame, count: int, since: int = 0) -> list[Kind | None]:
    """So many looks at a picture with noise."""
    random = np.random.default_rng(since)
    return [
        subject.doubt(noisy(frame, random), mono_ns=(since + index) * PERIOD_NS, frame_id=None)
        for index in range(count)
    ]


def test_news_come_when_the_faults_change_and_again_when_there_was_no_room() -> None:
    said: list[News] = []
    room = iter([False, True, True])

    def say(news: News) -> bool:
        said.append(news)
        return next(room)

    subject = Pictures(order(), say)
    assert looks(subject, scene(0), 60) == [None] * 60
    assert said == []  # too early to say that there is nothing
    black = np.full((180, 320, 3), 2, np.uint8)
    assert looks(subject, black, 60, since=60) == ["black"] * 60
    assert [set(found) for found in told(said)] == [{"black"}, {"black"}]
    assert "the brightest 1 % of the picture" in told(said)[0]["black"]
    looks(subject, scene(0), 60, since=120)
    assert told(said)[-1] == {}
    assert len(said) == 3


def test_only_chosen_faults_are_doubts() -> None:
    subject = Pictures(order(doubts=["overexposed"]), lambda _: True)
    black = np.full((180, 320, 3), 2, np.uint8)
    assert looks(subject, black, 60) == [None] * 60
    white = np.full((180, 320, 3), 255, np.uint8)
    assert looks(subject, white, 3, since=60) == ["overexposed"] * 3


def flashes(
    subject: Pictures, count: int, since: int, shift: int = 0, *, fails: bool = False
) -> tuple[set[Kind | None], set[Kind | None]]:
    """What is doubted of dark pictures and of lit ones, of which each tenth is one."""
    random = np.random.default_rng(since)
    found: tuple[set[Kind | None], set[Kind | None]] = (set(), set())
    for index in range(since, since + count):
        lit = index % 10 == 0
        picture = np.roll(scene(index // 10 % PARTS), shift, axis=1)
        frame = noisy(picture if lit and not fails else np.full_like(picture, 2), random)
        doubt = subject.doubt(frame, mono_ns=index * PERIOD_NS, frame_id=index)
        found[lit].add(doubt)
    return found


def test_a_triggered_flash_leaves_the_dark_without_a_fault_and_the_lit_pictures_trusted() -> None:
    said: list[News] = []

    def say(news: News) -> bool:
        said.append(news)
        return True

    camera = CameraSettings(
        name="cam0",
        source="line:/nowhere",
        checks=["overexposed", "frozen", "blurred", "moved"],
        doubts=["black", "overexposed", "frozen"],
    )
    subject = Pictures(order(doubts=[*camera.doubted], checks=[*camera.looked_for]), say)
    assert flashes(subject, 2000, 0) == ({"black"}, {None})
    assert flashes(subject, 50, 2000, fails=True) == ({"black"}, {"black"})
    assert told(said) == [{}]
    assert flashes(subject, 100, 2050, shift=60) == ({"black"}, {None})
    assert [set(found) for found in told(said)] == [set(), {"moved"}]  # what it is like is learned
    by_default = Pictures(order(), say)
    assert flashes(by_default, 200, 0)[1] == {None, "black"}


@pytest.mark.parametrize("known", [False, True])
def test_the_first_frame_is_only_to_compare_with(file: Path, *, known: bool) -> None:
    assert not Pictures(order(doubts=["black"]), lambda _: True).first
    subject = Pictures(order(file if known else None), lambda _: True)
    assert subject.first
    frozen = scene(1)
    doubts = [
        subject.doubt(frozen, mono_ns=index * PERIOD_NS, frame_id=index) for index in range(5)
    ]
    assert not subject.first
    assert doubts[1:] == ["frozen"] * 4


def test_a_full_disk_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[News] = []

    def say(news: News) -> bool:
        said.append(news)
        return True

    monkeypatch.setattr(pictures, "SPARE_BYTES", 2**62)
    file = tmp_path / "vitals" / "cam0.npz"
    subject = Pictures(order(file), say)
    looks(subject, scene(0), 3)
    subject.close()
    assert not file.exists()
    monkeypatch.setattr(pictures, "SPARE_BYTES", 0)
    (tmp_path / "file").touch()
    subject = Pictures(order(tmp_path / "file" / "cam0.npz"), say)  # no folder can be made there
    looks(subject, scene(0), 3)
    subject.close()
    assert said == []


@pytest.mark.parametrize("shape", [(8, 8), (8, 3000), (3000, 8), (1080, 1920)])
def test_frames_of_any_size_are_looked_at(shape: tuple[int, int]) -> None:
    said: list[News] = []

    def say(news: News) -> bool:
        said.append(news)
        return True

    subject = Pictures(order(), say)
    random = np.random.default_rng(0)
    for index in range(300 if shape[0] < 1000 else 30):
        frame = random.integers(60, 200, (*shape, 3), np.uint8)
        subject.doubt(frame, mono_ns=index * PERIOD_NS, frame_id=index)
    assert [news.note for news in said if news.note is not None] == []
