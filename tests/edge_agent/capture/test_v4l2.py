"""The Video4Linux2 backend over a device in memory. No hardware: see tests/support/videodev.py."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from lineside.errors import CameraError, ImageError
from lineside.image import Decode, Frame, decode
from lineside.jpeg import decode_strict
from lineside_agent.capture import videodev
from lineside_agent.capture.v4l2 import V4l2
from lineside_agent.capture.wire import Order
from tests.support.pictures import colourful
from tests.support.program import program
from tests.support.videodev import ERROR, LAYOUTS, MONOTONIC, START, Camera

cv2 = pytest.importorskip("cv2", reason="OpenCV comes with the extra 'runtime'")

WIDTH, HEIGHT = 64, 48
EXPOSURE_MENU, EXPOSURE, AUTOGAIN, GAIN, WHITE = 0x9A0901, 0x9A0902, 0x980912, 0x980913, 0x98091A


def jpeg() -> bytes:
    _, encoded = cv2.imencode(".jpg", colourful(HEIGHT, WIDTH))
    return bytes(encoded.tobytes())


def backend(camera: Camera, rate: float = 0.0, **controls: float) -> V4l2:
    """A backend on `camera`; not opened yet. Its device exists and may be read and written."""
    order = Order(camera="cam0", scheme="v4l2", where="/dev/null", rate=rate, controls=controls)
    return V4l2(order, lambda _: camera)


def room(height: int, width: int) -> Frame:
    return np.zeros((height, width, 3), np.uint8)


def test_a_jpeg_comes_with_the_drivers_stamp_and_number() -> None:
    camera = Camera(WIDTH, HEIGHT)
    source = backend(camera)
    source.open()
    assert camera.chosen == videodev.MJPEG
    assert camera.idle == 3
    stamp = camera.shoot(jpeg() + b"\0" * 64)  # drivers pad their buffers
    grab = source.grab()
    assert (grab.mono_ns, grab.stamp, grab.frame_id, grab.flagged) == (stamp, "driver", 7, None)
    place = room(HEIGHT, WIDTH)
    frame = source.fill(lambda _height, _width: place)
    assert frame is place  # decoded to where it is wanted, and not copied there
    assert np.array_equal(frame, decode_strict(jpeg()))
    expected = cv2.imdecode(np.frombuffer(jpeg(), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(frame.astype(int) - expected).mean() < 1.0
    source.close()
    assert camera.closed


def test_yuyv_is_converted_line_by_line() -> None:
    camera = Camera(WIDTH, HEIGHT, formats=(b"H264", b"YUYV"))
    source = backend(camera)
    source.open()
    grey = np.arange(HEIGHT, dtype=np.uint8)[:, None].repeat(WIDTH, 1) * 4 + 16
    lines = np.full((HEIGHT, 2 * WIDTH + 32), 255, np.uint8)  # with padding at each line's end
    lines[:, 0 : 2 * WIDTH : 2], lines[:, 1 : 2 * WIDTH : 2] = grey, 128
    camera.shoot(lines.tobytes())
    source.grab()
    place = room(HEIGHT, WIDTH)
    frame = source.fill(lambda _height, _width: place)
    assert frame is place
    expected = np.clip((grey.astype(float) - 16) * 255 / 219, 0, 255)
    assert np.abs(frame - expected[..., None]).max() <= 2
    camera.shoot(lines.tobytes()[:-1])
    source.grab()
    with pytest.raises(ImageError, match="7680 bytes are expected, the driver gave 7679"):
        source.fill(room)


def test_only_the_newest_buffer_is_taken_and_all_go_back() -> None:
    camera = Camera(WIDTH, HEIGHT)
    source = backend(camera)
    source.open()
    for number in range(20):
        stamps = [camera.shoot(jpeg()) for _ in range(2)]
        grab = source.grab()
        assert grab.mono_ns == stamps[-1]
        assert grab.frame_id == 8 + 2 * number
        assert camera.idle == 2


def test_what_the_driver_marks_and_what_the_decoder_refuses() -> None:
    camera = Camera(WIDTH, HEIGHT)
    source = backend(camera)
    source.open()
    camera.shoot(jpeg(), flags=MONOTONIC | START | ERROR)
    assert source.grab().flagged == "driver: the frame is marked as damaged"
    for data in (jpeg()[:-200], b"", b"\xff\xd8 no picture"):
        camera.shoot(data)
        assert source.grab().flagged is None
        with pytest.raises(ImageError):
            source.fill(room)


def test_stamps_of_another_clock_and_of_the_frames_end() -> None:
    camera = Camera(WIDTH, HEIGHT)
    source = backend(camera, rate=20.0)
    source.open()
    assert camera.period == (1000, 20_000)
    camera.shoot(jpeg(), flags=START, ns=1_700_000_000 * 10**9)
    before = time.monotonic_ns()
    grab = source.grab()
    assert grab.stamp == "read"
    assert before <= grab.mono_ns <= time.monotonic_ns()
    stamp = camera.shoot(jpeg(), flags=MONOTONIC)  # its exposure began before
    assert source.grab().mono_ns == stamp - 50_000_000


def test_controls_are_set_locked_and_read_back() -> None:
    controls = {
        EXPOSURE_MENU: (0, 3, 3),
        EXPOSURE: (1, 5000, 150),
        AUTOGAIN: (0, 1, 1),
        GAIN: (0, 100, 7),
        WHITE: (2800, 6500, 4600),
    }
    camera = Camera(WIDTH, HEIGHT, controls=controls)
    source = backend(camera, exposure_us=2040.0, gain=12.0)
    source.open()
    assert source.controls == {"exposure_us": 2000.0, "gain": 12.0, "white_balance_k": 4600.0}
    assert [controls[key][2] for key in (EXPOSURE_MENU, EXPOSURE, AUTOGAIN)] == [1, 20, 0]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"gain": 200.0}, "gain = 200, this camera takes 0 to 100"),
        ({"exposure_us": 10.0}, "exposure_us = 10, this camera takes 100 to 500000"),
        ({"white_balance_k": 5000.0}, "has no control for white_balance_k; leave it out"),
        ({"exposure_us": 900.0}, "keeps its automatic, so exposure_us can't be set"),
    ],
)
def test_controls_that_the_camera_does_not_take(wanted: dict[str, float], words: str) -> None:
    controls = {EXPOSURE_MENU: (0, 3, 3), EXPOSURE: (1, 5000, 150), GAIN: (0, 100, 7)}
    camera = Camera(WIDTH, HEIGHT, controls=controls, stubborn=(EXPOSURE_MENU,))
    source = backend(camera, **wanted)
    with pytest.raises(CameraError, match=re.escape(words)):
        source.open()
    source.close()
    assert camera.closed


def test_devices_that_are_no_camera_or_have_no_format_that_is_known() -> None:
    with pytest.raises(CameraError, match="gives no video"):
        backend(Camera(WIDTH, HEIGHT, capabilities=0x04000002)).open()
    with pytest.raises(CameraError, match="MJPG, JPEG or YUYV is expected, /dev/null has H264"):
        backend(Camera(WIDTH, HEIGHT, formats=(b"H264",))).open()
    order = Order(camera="cam0", scheme="v4l2", where="/dev/null", rate=0.0, controls={})
    with pytest.raises(CameraError, match="/dev/null is no camera"):
        V4l2(order).open()  # the real thing, on something else


def test_unplugged() -> None:
    camera = Camera(WIDTH, HEIGHT)
    source = backend(camera)
    source.open()
    camera.shoot(jpeg())
    source.grab()
    camera.unplugged = True
    with pytest.raises(CameraError, match="camera 'cam0': /dev/null was unplugged"):
        source.grab()
    source.close()


HEADER = Path("/usr/include/linux/videodev2.h")
NAMES = {
    **{
        f"VIDIOC_{name}": getattr(videodev, name)
        for name in (
            "QUERYCAP",
            "ENUM_FMT",
            "G_FMT",
            "S_FMT",
            "REQBUFS",
            "QUERYBUF",
            "QBUF",
            "DQBUF",
            "STREAMON",
            "G_PARM",
            "S_PARM",
            "QUERYCTRL",
            "G_CTRL",
            "S_CTRL",
        )
    },
    **{
        f"V4L2_CID_{name}": getattr(videodev, name)
        for name in (
            "EXPOSURE_AUTO",
            "EXPOSURE_ABSOLUTE",
            "EXPOSURE_AUTO_PRIORITY",
            "AUTOGAIN",
            "GAIN",
            "AUTO_WHITE_BALANCE",
            "WHITE_BALANCE_TEMPERATURE",
        )
    },
    **{
        f"V4L2_{name}": getattr(videodev, name)
        for name in (
            "CAP_VIDEO_CAPTURE",
            "CAP_STREAMING",
            "CAP_DEVICE_CAPS",
            "EXPOSURE_MANUAL",
        )
    },
    "V4L2_BUF_TYPE_VIDEO_CAPTURE": videodev.CAPTURE,
    "V4L2_MEMORY_MMAP": videodev.MMAP,
    "V4L2_BUF_FLAG_ERROR": videodev.FLAG_ERROR,
    "V4L2_BUF_FLAG_TIMESTAMP_MASK": videodev.TIMESTAMP_MASK,
    "V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC": videodev.TIMESTAMP_MONOTONIC,
    "V4L2_BUF_FLAG_TSTAMP_SRC_MASK": videodev.SOURCE_MASK,
    "V4L2_BUF_FLAG_TSTAMP_SRC_SOE": videodev.SOURCE_START,
    "V4L2_PIX_FMT_MJPEG": videodev.MJPEG,
    "V4L2_PIX_FMT_JPEG": videodev.JPEG,
    "V4L2_PIX_FMT_YUYV": videodev.YUYV,
    "V4L2_CTRL_FLAG_DISABLED": videodev.CONTROL_DISABLED,
}
OFFSETS = {  # what the kernel calls a member -> what the device in memory calls it
    "v4l2_capability.device_caps": (0, "device_caps"),
    "v4l2_fmtdesc.pixelformat": (2, "pixelformat"),
    "v4l2_format.fmt.pix.width": (4, "width"),
    "v4l2_format.fmt.pix.bytesperline": (4, "bytesperline"),
    "v4l2_requestbuffers.count": (8, "count"),
    "v4l2_buffer.bytesused": (9, "bytesused"),
    "v4l2_buffer.flags": (9, "flags"),
    "v4l2_buffer.timestamp.tv_sec": (9, "seconds"),
    "v4l2_buffer.timestamp.tv_usec": (9, "micros"),
    "v4l2_buffer.sequence": (9, "sequence"),
    "v4l2_buffer.memory": (9, "memory"),
    "v4l2_buffer.m.offset": (9, "offset"),
    "v4l2_buffer.length": (9, "length"),
    "v4l2_streamparm.parm.capture.timeperframe.numerator": (21, "numerator"),
    "v4l2_control.value": (27, "value"),
    "v4l2_queryctrl.minimum": (36, "minimum"),
    "v4l2_queryctrl.flags": (36, "flags"),
}


def test_numbers_and_layouts_are_those_of_the_kernels_header(tmp_path: Path) -> None:
    compiler = program("cc", "gcc")
    if not HEADER.exists():
        pytest.skip(f"{HEADER} is not there: apt-get install linux-libc-dev")
    lines = [f'printf("%lu\\n", (unsigned long)({name}));' for name in NAMES]
    for name in OFFSETS:
        struct, _, member = name.partition(".")
        lines.append(f'printf("%lu\\n", (unsigned long)offsetof(struct {struct}, {member}));')
    source = tmp_path / "show.c"
    source.write_text(
        "#include <stdio.h>\n#include <stddef.h>\n#include <linux/videodev2.h>\n"
        f"int main(void) {{ {' '.join(lines)} return 0; }}\n"
    )
    subprocess.run([compiler, str(source), "-o", str(tmp_path / "show")], check=True, timeout=60)
    done = subprocess.run([str(tmp_path / "show")], check=True, capture_output=True, timeout=10)
    expected = [NAMES[name] for name in NAMES]
    expected += [getattr(LAYOUTS[number], field).offset for number, field in OFFSETS.values()]
    assert [int(text) & 0xFFFFFFFF for text in done.stdout.split()] == expected


def test_a_jpeg_is_decoded_at_the_fraction_that_is_allowed() -> None:
    camera = Camera(WIDTH, HEIGHT)
    source = backend(camera)
    source.open()
    for reduce in (4, 1, 2):
        source.reduce = reduce
        camera.shoot(jpeg() + bytes(64))
        source.grab()
        frame = source.fill(room)
        assert np.array_equal(frame, decode(jpeg(), Decode(reduce)))
        assert frame.shape == (HEIGHT // reduce, WIDTH // reduce, 3)
        assert source.whole == (None if reduce == 1 else (HEIGHT, WIDTH))


def test_a_camera_without_jpeg_gives_its_frames_whole() -> None:
    camera = Camera(WIDTH, HEIGHT, formats=(b"YUYV",))
    source = backend(camera)
    source.open()
    source.reduce = 4
    camera.shoot(bytes(HEIGHT * (2 * WIDTH + 32)))
    source.grab()
    assert source.fill(room).shape == (HEIGHT, WIDTH, 3)
    assert source.whole is None
