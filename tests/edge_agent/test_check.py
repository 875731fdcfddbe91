"""`lineside agent check`: what is right, what is wrong, without starting."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest

from lineside.image import Box
from lineside.settings import read_settings
from lineside_agent.capture.line import Fault, Wish, ask
from lineside_agent.check import Finding, check_station
from tests.support import models
from tests.support.broker import Mosquitto
from tests.support.bundles import edit_manifest
from tests.support.command import lineside
from tests.support.line import plain_pictures
from tests.support.pictures import colourful, photo
from tests.support.station import write_config


@pytest.mark.broker
def test_check_says_that_all_is_right(
    broker: Mosquitto, tmp_path: Path, photos: Path, bundle_folder: Path
) -> None:
    source = f"images:{photos}"
    config = write_config(tmp_path, url=broker.url, bundle=bundle_folder, source=source)
    done = lineside("agent", "check", config)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ok"] * 5
    assert "golden images pass" in lines[1]
    assert "gives frames of 300x300 pixels; stream top says" in lines[2]
    assert "can be written" in lines[3]
    assert "accepts us and our messages over MQTT 5" in lines[4]
    assert "as lineside:ulm:press4::check (" in broker.log  # never as a station


@pytest.mark.broker
def test_check_says_all_that_is_wrong(tmp_path: Path, photos: Path, bundle_folder: Path) -> None:
    acl = {"acl": "topic read #\n"}
    path = tmp_path / "broker"
    with Mosquitto(path, f"acl_file {path / 'acl'}", files=acl) as broker:
        config = write_config(
            tmp_path,
            url=broker.url,
            bundle=tmp_path / "none",
            source="rtsp://ann:pw@127.0.0.1:1/live",
            outbox='path = "/proc/outbox.sqlite"',
        )
        done = lineside("agent", "check", config, ok=False)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ok", "WRONG", "WRONG", "WRONG", "WRONG"]
    assert "none" in lines[1]
    assert "no camera at rtsp://***@127.0.0.1:1/live: nothing listens there" in lines[2]
    assert "/proc" in lines[3]
    assert "does not take messages on lineside/ulm/press4/event: Not authorized" in lines[4]
    (photos / "000.png").write_bytes(b"")
    config = write_config(tmp_path, url=broker.url, bundle=bundle_folder, source=f"images:{photos}")
    done = lineside("agent", "check", config, "--no-broker", ok=False)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ok", "ok", "WRONG", "ok"]
    assert "000.png can't be read: image: the file is empty" in lines[2]
    config = write_config(
        tmp_path,
        url=broker.url,
        bundle=bundle_folder,
        source=f"images:{photos}",
        camera="roi = [200, 200, 200, 50]",
    )
    (photos / "000.png").unlink()
    done = lineside("agent", "check", config, ok=False)
    lines = done.stdout.splitlines()
    assert "the region (200, 200, 200, 50) reaches outside the 300x300 frame" in lines[2]
    assert "no broker at 127.0.0.1" in lines[4]


def camera_line(tmp_path: Path, fault: Fault | None, camera: str = "") -> Finding:
    """What is said of a virtual line that does so, with noise, and of no other thing."""
    folder = plain_pictures(tmp_path / "line", 3)
    ask(folder, Wish(fault=fault))
    config = write_config(
        tmp_path,
        url="mqtt://127.0.0.1:1",
        bundle=tmp_path / "none",
        source=f"line:{folder}",
        camera=camera,
    )
    (found,) = (
        finding
        for finding in check_station(read_settings(config), broker=False)
        if finding.what.startswith("camera")
    )
    return found


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("black", "its pictures are black: the brightest 1 % of the picture is at "),
        ("overexposed", "its pictures are overexposed: 100% of the picture is saturated"),
        ("freeze", " are frozen"),
    ],
)
def test_check_says_what_is_wrong_with_the_pictures(
    tmp_path: Path, fault: Fault, words: str
) -> None:
    found = camera_line(tmp_path, fault)
    assert not found.ok
    assert words in found.line
    assert "\n" not in found.line


def test_check_finds_nothing_wrong_with_good_pictures_and_counts_those_that_are_meant_so(
    tmp_path: Path,
) -> None:
    found = camera_line(tmp_path, None)
    assert (found.ok, found.line) == (True, "gives frames of 64x48 pixels")
    flash = 'checks = ["frozen"]\ndoubts = ["black", "frozen"]'
    found = camera_line(tmp_path, "black", flash)
    assert found.ok
    dark = re.fullmatch(
        r"gives frames of 64x48 pixels, of which (\d+) of (\d+) are black", found.line
    )
    assert dark is not None
    assert dark[1] == dark[2]


@pytest.mark.parametrize(
    ("reduce", "crop", "words"),
    [
        (1, None, ""),
        (2, None, ""),  # 20 x 9: less than training would choose, and enough
        (4, None, "--reduce 4: that leaves 10x5 pixels of what it looks at, less than its 8x8; "),
        (2, (4, 2, 15, 12), "--reduce 2: that leaves 8x6 pixels of what it looks at, less than "),
        (1, (4, 2, 6, 6), ""),  # it was trained with so little
    ],
)
def test_check_says_where_too_little_is_left_of_a_reduced_picture(
    tmp_path: Path, reduce: int, crop: Box | None, words: str
) -> None:
    models.plain(tmp_path / "bundle", crop=crop)

    def change(manifest: dict[str, Any]) -> None:
        manifest["inputs"][0]["preprocess"].update(decode={"reduce": reduce}, resize="stretch")

    edit_manifest(tmp_path / "bundle", change)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(photo(colourful(18, 40), "JPEG"))
    config = write_config(
        tmp_path, url="mqtt://127.0.0.1:1", bundle=tmp_path / "bundle", source=f"images:{photos}"
    )
    lines = [finding.line for finding in check_station(read_settings(config), broker=False)]
    said = next(line for line in lines if line.startswith("gives frames of 40x18 pixels"))
    if words:
        assert f"; its model was trained with {words}" in said
        assert said.endswith("; --reduce 1 would do")
    else:
        assert "--reduce" not in said


def test_an_unknown_kind_of_camera_is_an_error_of_the_settings(
    tmp_path: Path, bundle_folder: Path
) -> None:
    config = write_config(
        tmp_path, url="mqtt://127.0.0.1:1", bundle=bundle_folder, source="lines:line"
    )
    done = lineside("agent", "check", config, ok=False)
    assert done.stdout == ""
    assert done.stderr.startswith(
        f"error: {config}: [[camera]] 'top': source 'lines:line' is none of images:…"
    )


def test_check_looks_whether_the_metrics_port_is_free(
    tmp_path: Path, photos: Path, bundle_folder: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = write_config(
            tmp_path, url="mqtt://127.0.0.1:1", bundle=bundle_folder, source=f"images:{photos}"
        )
        config.write_text(config.read_text() + f"[metrics]\nport = {port}\n")
        settings = read_settings(config)
        finding = list(check_station(settings, broker=False))[-1]
        assert (finding.what, finding.note) == ("metrics", True)
        assert f"port {port} of 127.0.0.1 can't be had (Address already in use)" in finding.line
    finding = list(check_station(settings, broker=False))[-1]
    assert (finding.ok, finding.note) == (True, False)
    assert finding.line == f"port {port} of 127.0.0.1 is free"
