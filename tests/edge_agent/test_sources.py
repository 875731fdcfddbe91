"""Every source against the same rules, then what is special about each."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lineside.errors import CameraError
from lineside.image import Decode, Frame, decode
from lineside.settings import CameraSettings
from lineside.settings.tables import SOURCES
from lineside_agent.capture import BACKENDS
from lineside_agent.sources import FINITE as FINITE_KINDS
from lineside_agent.sources import EndOfSourceError, Source, make_source
from lineside_agent.sources.live import LiveSource
from lineside_agent.sources.memory import MemorySource
from tests.support.broker import free_port, rude_server, wait_for
from tests.support.line import take
from tests.support.pictures import colourful, photo
from tests.support.rtsp import rtsp_camera

cv2 = pytest.importorskip("cv2", reason="OpenCV comes with the extra 'runtime'")


def picture(number: int) -> Frame:
    frame = np.full((48, 64, 3), 10 * number, np.uint8)
    frame[:, :, 0] = 255
    return frame


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in (1, 2, 3):
        cv2.imwrite(str(folder / f"{number}.png"), picture(number))
    return folder


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "belt.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for number in (1, 2, 3):
        writer.write(picture(number))
    writer.release()
    return path


Make = Callable[..., Source]


FINITE = ["images", "file", "memory"]
LIVE = ["line", "rtsp", "v4l2"]


@pytest.fixture(params=[*FINITE, *LIVE])
def make(request: pytest.FixtureRequest, folder: Path, video: Path) -> Iterator[Make]:
    """Makes a source of each kind; the finite ones give three frames.

    `v4l2` needs a camera: LINESIDE_TEST_V4L2 names it (/dev/video0 if it is not set). Any that
    gives MJPEG or YUYV will do, whatever it looks at.
    """
    made: list[Source] = []
    with contextlib.ExitStack() as stack:
        where = {"images": folder, "file": video, "line": folder}.get(request.param)
        if request.param == "rtsp":
            where = stack.enter_context(rtsp_camera(picture(1)))
        elif request.param == "v4l2":
            where = Path(os.environ.get("LINESIDE_TEST_V4L2", "/dev/video0"))
            if not where.exists():
                pytest.skip(f"no camera at {where}: LINESIDE_TEST_V4L2 names one")

        def build(rate: float = 0.0) -> Source:
            if request.param == "memory":
                source: Source = MemorySource("cam0", [picture(n) for n in (1, 2, 3)], rate=rate)
            else:
                camera = CameraSettings(name="cam0", source=f"{request.param}:{where}", rate=rate)
                source = make_source(camera)
            made.append(source)
            return source

        yield build
        for source in made:
            source.close()


def is_camera(source: Source) -> bool:
    """Whether it is a real one, that looks at who knows what."""
    return isinstance(source, LiveSource) and source.scheme == "v4l2"


def test_conformance_a_frame_is_a_picture_with_a_time(make: Make) -> None:
    source = make()
    before = time.monotonic_ns()
    source.open()
    shot = take(source)
    assert shot.problem is None
    assert shot.frame is not None
    assert (shot.frame.dtype, shot.frame.ndim, shot.frame.shape[2]) == (np.uint8, 3, 3)
    if not is_camera(source):
        assert shot.frame.shape == (48, 64, 3)
        assert abs(int(shot.frame[20, 20, 0]) - 255) < 12  # blue comes first
    assert shot.stamp in {"driver", "read"}
    assert shot.flagged is None
    assert before <= shot.mono_ns <= time.monotonic_ns()
    assert shot.captured_at.tzinfo is not None
    assert (source.state, source.trouble) == ("ok", None)


def test_conformance_time_goes_on_and_nothing_is_given_twice(make: Make) -> None:
    source = make()
    source.open()
    times = [take(source).mono_ns for _ in range(3)]
    assert times == sorted(set(times))


@pytest.mark.parametrize("make", FINITE, indirect=True)
def test_conformance_a_finite_source_ends_and_says_so_again(make: Make) -> None:
    source = make()
    source.open()
    assert source.finite
    shots = [take(source) for _ in range(3)]
    assert all(shot.part_id for shot in shots)
    for _ in range(2):
        with pytest.raises(EndOfSourceError):
            source.take(0.05)
    assert source.state == "ended"
    assert source.dropped == 0


@pytest.mark.parametrize("make", FINITE, indirect=True)
def test_conformance_rate_paces_what_is_finite(make: Make) -> None:
    source = make(rate=20.0)
    source.open()
    take(source)
    start = time.monotonic()
    take(source)
    take(source)
    assert 0.09 <= time.monotonic() - start < 1.0
    with pytest.raises(EndOfSourceError):
        take(source)


def test_conformance_close_may_come_twice_and_before_open(make: Make) -> None:
    source = make()
    source.close()
    source.close()


@pytest.mark.parametrize("make", LIVE, indirect=True)
def test_conformance_a_live_source_gives_its_newest_frame_and_counts_the_others(
    make: Make,
) -> None:
    source = make()
    source.open()
    assert not source.finite
    take(source)
    before = source.dropped
    time.sleep(0.5)
    old = time.monotonic_ns()
    shot = take(source)
    assert old - shot.mono_ns < 150_000_000  # ns: the newest, not one that has waited
    assert source.dropped - before >= 3


@pytest.mark.parametrize("make", LIVE, indirect=True)
def test_conformance_a_live_source_holds_the_frame_until_the_next_call(make: Make) -> None:
    source = make()
    source.open()
    frame = take(source).frame
    assert frame is not None
    before = frame.copy()
    time.sleep(0.3)
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize("make", LIVE, indirect=True)
def test_conformance_a_live_source_whose_process_dies_comes_back(make: Make) -> None:
    source = make()
    assert isinstance(source, LiveSource)
    source.open()
    take(source)
    pid = source.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    killed_ns = time.monotonic_ns()
    wait_for(lambda: source.state == "lost")
    while take(source).mono_ns <= killed_ns:  # what it had sent before is given too
        pass
    assert source.pid != pid
    assert source.state == "ok"


def test_every_scheme_of_the_settings_is_made() -> None:
    for scheme in [*FINITE_KINDS, *BACKENDS]:
        source = make_source(CameraSettings(name="cam0", source=f"{scheme}:x", rate=3))
        assert isinstance(source, Source)
        assert source.finite is (scheme in FINITE_KINDS)


def test_the_delay_of_a_camera_is_that_of_its_kind_unless_it_is_set() -> None:
    def delay(source: str, ms: float | None = None) -> float:
        return make_source(CameraSettings(name="cam0", source=source, max_delay_ms=ms)).max_delay_ms

    assert [delay(f"{kind}:x") for kind in ("rtsp", "v4l2", "line", "images")] == [500, 200, 0, 0]
    assert delay("rtsp:x", 80.0) == 80


def test_each_kind_that_the_settings_know_is_there() -> None:
    assert (*FINITE_KINDS, *BACKENDS) == SOURCES


def images(folder: Path) -> Source:
    source = make_source(CameraSettings(name="cam0", source=f"images:{folder}"))
    source.open()
    return source


def test_images_come_sorted_with_their_names_and_bad_ones_are_not_skipped(folder: Path) -> None:
    (folder / "0 empty.png").write_bytes(b"")
    (folder / "2b.jpg").write_bytes((folder / "2.png").read_bytes()[:100])
    (folder / "9 Prüfling 检查.JPG").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not an image")
    (folder / "later").mkdir()
    (folder / "later" / "1.png").write_bytes((folder / "1.png").read_bytes())
    with open(os.fsencode(folder) + b"/zz\xff.png", "wb") as file:  # noqa: PTH123 - no text
        file.write((folder / "1.png").read_bytes())
    source = images(folder)
    shots = [take(source) for _ in range(8)]
    with pytest.raises(EndOfSourceError):
        source.take(0.05)
    assert [(shot.part_id, shot.problem) for shot in shots] == [
        ("0 empty.png", "image: the file is empty (0 bytes)"),
        ("1.png", None),
        ("2.png", None),
        ("2b.jpg", "image: the picture is truncated (its end marker is missing)"),
        ("3.png", None),
        ("9 Prüfling 检查.JPG", "image: no picture, or a damaged one (10 bytes)"),
        ("later/1.png", None),
        ("zz\ufffd.png", None),
    ]


def test_an_image_that_vanished_is_a_problem_and_no_end(folder: Path) -> None:
    source = images(folder)
    (folder / "2.png").unlink()
    shots = [take(source) for _ in range(3)]
    assert [shot.problem for shot in shots] == [None, "No such file or directory", None]


def test_a_folder_that_is_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="no folder"):
        images(tmp_path / "nowhere")
    with pytest.raises(CameraError, match="holds no image"):
        images(tmp_path)


def test_a_video_that_is_not_there_or_none(tmp_path: Path) -> None:
    for name, text in [("no.mp4", "no file"), ("bad.mp4", "is no video that can be read")]:
        (tmp_path / "bad.mp4").write_bytes(b"no video" * 100)
        source = make_source(CameraSettings(name="cam0", source=f"file:{tmp_path / name}"))
        with pytest.raises(CameraError, match=text):
            source.open()


def test_memory_gives_problems_and_errors_too() -> None:
    source = MemorySource("cam0", ["the lens cap is on", ValueError("driver"), picture(1)])
    source.open()
    assert take(source).problem == "the lens cap is on"
    with pytest.raises(CameraError, match="camera 'cam0' failed: driver"):
        source.take(0.05)
    assert take(source).frame is not None


def live_trouble(source: str) -> str:
    camera = make_source(CameraSettings(name="cam0", source=source))
    camera.open()
    wait_for(lambda: camera.state == "lost", 20)
    trouble = camera.trouble
    camera.close()
    return trouble or ""


def test_a_device_that_is_not_there() -> None:
    text = live_trouble("v4l2:/dev/video-nowhere")
    assert text.startswith("camera 'cam0': no device /dev/video-nowhere; there is ")
    assert text.endswith("is it plugged in?")


def test_a_device_that_is_no_camera() -> None:
    assert "/dev/null is no camera" in live_trouble("v4l2:/dev/null")


def test_a_network_camera_that_is_not_there() -> None:
    port = free_port()
    text = live_trouble(f"rtsp://ann:secret@127.0.0.1:{port}/live")
    place = f"rtsp://***@127.0.0.1:{port}/live"
    assert text == f"camera 'cam0': no camera at {place}: nothing listens there"
    assert "can't be resolved" in live_trouble("rtsp://no-such-host.invalid/live")
    assert "rtsp://HOST[:PORT]/PATH is expected" in live_trouble("rtsp://cam:99999/live")
    text = live_trouble("rtsp://ann:sec/ret@[cam/live")
    assert text == "camera 'cam0': rtsp://HOST[:PORT]/PATH is expected, got rtsp://***@[cam/live"


def test_something_that_is_no_network_camera() -> None:
    with rude_server() as port:
        text = live_trouble(f"rtsp://ann:secret@127.0.0.1:{port}/live")
    assert "answers and gives no picture; check the path, the name and the password" in text
    assert "secret" not in text


# Reduced JPEGs


@pytest.mark.parametrize("turned", [1, 6])
def test_images_are_decoded_as_far_reduced_as_allowed(tmp_path: Path, turned: int) -> None:
    jpeg = photo(colourful(121, 163), "JPEG", turned=turned)
    (tmp_path / "a.jpg").write_bytes(jpeg)
    (tmp_path / "b.png").write_bytes(photo(colourful(121, 163), "PNG"))
    (tmp_path / "c.jpg").write_bytes(jpeg)
    source = make_source(CameraSettings(name="cam0", source=f"images:{tmp_path}"))
    source.open()
    source.reduce = 4
    shot = take(source)
    assert shot.frame is not None
    assert np.array_equal(shot.frame, decode(jpeg, Decode(4)))
    assert (shot.reduced, shot.size) == (4, (121, 163) if turned == 1 else (163, 121))
    shot = take(source)  # it is no JPEG
    assert (shot.reduced, shot.whole, shot.size) == (1, None, (121, 163))
    source.reduce = 1
    shot = take(source)
    assert shot.frame is not None
    assert (shot.reduced, shot.whole, shot.size) == (1, None, shot.frame.shape[:2])


def test_a_header_that_training_accepts_is_no_reason_to_refuse_an_image(tmp_path: Path) -> None:
    jpeg = photo(colourful(121, 163), chroma=444)
    first = 4 + int.from_bytes(jpeg[4:6], "big")  # where the first segment ends
    (tmp_path / "stray.jpg").write_bytes(jpeg[:first] + b"ab" + jpeg[first:])
    sampling = jpeg.index(b"\xff\xc0") + 11
    rare = jpeg[:sampling] + b"\x31" + jpeg[sampling + 1 :]  # three times as fine across
    (tmp_path / "rare.jpg").write_bytes(rare)
    source = make_source(CameraSettings(name="cam0", source=f"images:{tmp_path}"))
    source.open()
    source.reduce = 2
    for size in ((122, 164), (121, 163)):
        shot = take(source)
        assert shot.problem is None
        assert (shot.reduced, shot.size) == (2, size)
