from __future__ import annotations

import json
from pathlib import Path

import pytest

from lineside.errors import SettingsError
from lineside.logins import hide_login
from lineside.settings import (
    CHECKS,
    MqttSettings,
    check_mqtt,
    parse_settings,
    read_settings,
)

SOURCE = "images:photos"
TEXT = """
[station]
site = "ulm"
name = "press4"
[mqtt]
url = "mqtts://broker:8884"
username = "ann"
password_file = "password"
ca_file = "/etc/ca.pem"
[[model]]
name = "cells"
bundle = "bundles/cells"
trust = "keys/plant.pub.pem"
[[camera]]
name = "top"
source = "images:photos"
"""
FOLDER = Path("/srv/station")


def test_defaults_and_absolute_paths() -> None:
    settings = parse_settings(TEXT, folder=FOLDER)
    assert settings.mqtt.password_file == "/srv/station/password"  # noqa: S105 - a path
    assert settings.mqtt.ca_file == "/etc/ca.pem"
    assert settings.model[0].bundle == "/srv/station/bundles/cells"
    assert settings.model[0].trust == "/srv/station/keys/plant.pub.pem"
    assert settings.camera[0].source == "images:/srv/station/photos"
    assert settings.outbox.path == "/srv/station/state/outbox.sqlite"
    stream = settings.stream[0]
    assert (stream.name, stream.camera, stream.model, stream.trigger) == (
        "top",
        "top",
        "cells",
        "frame",
    )


def test_an_address_is_no_path() -> None:
    assert (
        parse_settings(TEXT.replace("images:", "line:"), folder=FOLDER).camera[0].source
        == f"line:{FOLDER / 'photos'}"
    )
    for source in ("v4l2:/dev/video0", "rtsp://cam/stream"):
        text = TEXT.replace("images:photos", source)
        assert parse_settings(text, folder=FOLDER).camera[0].source == source


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("mqtt://broker", "broker", 1883, False),
        ("mqtts://broker", "broker", 8883, True),
        ("mqtt://10.0.0.7:1884", "10.0.0.7", 1884, False),
        ("mqtt://[::1]:1885", "::1", 1885, False),
    ],
)
def test_the_broker_in_the_url(url: str, host: str, port: int, *, tls: bool) -> None:
    mqtt = check_mqtt(MqttSettings(url=url))
    assert (mqtt.host, mqtt.port, mqtt.tls) == (host, port, tls)


SECOND = '[[camera]]\nname = "side"\nsource = "v4l2:/dev/video1"\n'
STREAM = '[[stream]]\nname = "a"\ncamera = "top"\nmodel = "cells"\n'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("url =", "ulr =", "unknown key 'ulr' in mqtt, did you mean 'url'?"),
        ("[mqtt]", "[mqqt]", "unknown key 'mqqt', did you mean 'mqtt'?"),
        ("source =", "sorce =", "unknown key 'sorce' in camera[0], did you mean 'source'?"),
        ("", "health = 3\n", "unknown key 'health', did you mean 'health_s'?"),
        ('name = "press4"', "", "station: 'name' is missing"),
        ("press4", "press#4", "station.name: 1 to 64 of the characters A-Z a-z 0-9 _ -"),
        ("press4", "press#4", "got 'press#4'"),
        ('"ulm"', "7", "station.site: a text is expected, got 7"),
        ("[[camera]]", "[camera]", "camera: a list is expected, so it is written [[camera]]"),
        ("mqtts://broker:8884", "http://x", "mqtts://HOST[:PORT] is expected, got 'http://x'"),
        ("mqtts://broker:8884", "mqtts://x:99999", "got 'mqtts://x:99999'"),
        ("mqtts://broker:8884", "mqtts://x/path", "got 'mqtts://x/path'"),
        ("mqtts://broker:8884", "mqtts://[::1", "got 'mqtts://[::1'"),
        ("mqtts:", "mqtt:", "need TLS: use mqtts://"),
        ('username = "ann"', "", "mqtt.password_file is set without mqtt.username"),
        ("ca_file", "cert_file", "go together: set both or none"),
        ("[[model]]", SECOND + "[[model]]", "[[stream]] is expected"),
        ("[[model]]", STREAM.replace("top", "up") + "[[model]]", "no camera 'up', there is top"),
        ("[[model]]", STREAM + STREAM + "[[model]]", "'a' comes twice"),
        (
            "[[model]]",
            STREAM + STREAM.replace('"a"', '"b"') + "[[model]]",
            "camera 'top' is used by two streams",
        ),
        *(
            (f'"{SOURCE}"', f'"{source}"', "is none of images:…, file:…, v4l2:…, rtsp:…, line:…")
            for source in ("gst:x", "images", "images:", "/dev/video0", "")
        ),
        (SOURCE, "rtsps://ann:s3cret@cam/1", "source 'rtsps://***@cam/1' is none of"),
        (
            "[[model]]",
            STREAM + 'trigger = "gpio"\n[[model]]',
            "stream[0].trigger: frame, command or interval:SECONDS is expected, got 'gpio'",
        ),
        (
            "[[model]]",
            STREAM + 'trigger = "interval:0.0"\n[[model]]',
            "'a': trigger 'interval:0.0': more than 0 and a finite number of seconds is expected",
        ),
        (
            "[[model]]",
            STREAM + f'trigger = "interval:{"9" * 400}"\n[[model]]',
            "9': more than 0 and a finite number of seconds",
        ),
        ("[[model]]", STREAM + 'trigger = "interval:-1"\n[[model]]', "got 'interval:-1'"),
        (
            "[[model]]",
            '[outbox]\npath = "state/../kept"\n[audit]\npath = "/srv/station/kept"\n[[model]]',
            "outbox.path and audit.path are the same file, '/srv/station/state/../kept'",
        ),
        (
            '"images:photos"',
            '"images:photos"\ncontrols = {gain = 2}',
            "[[camera]] 'top': controls can be set of v4l2: cameras only, got 'images:photos'",
        ),
        (
            '"images:photos"',
            '"v4l2:/dev/video0"\ncontrols = {exposure = 2}',
            "unknown key 'exposure' in camera[0].controls, did you mean 'exposure_us'?",
        ),
        (
            '"images:photos"',
            '"line:photos"\nrate = 0.5',
            "rate 0.5: a live camera gives at least 1 frame a second, or it counts as lost",
        ),
        (
            '"images:photos"',
            '"images:photos"\nchecks = ["black"]',
            "[[camera]] 'top': checks are for live cameras only, got 'images:photos'",
        ),
        (
            '"images:photos"',
            '"line:photos"\nchecks = ["dark"]',
            "checks[0]: one of black, overexposed, frozen, blurred, moved is expected, got 'dark'",
        ),
        (
            '"images:photos"',
            '"line:photos"\nchecks = ["black"]\ndoubts = ["moved"]',
            "[[camera]] 'top': 'moved' is among doubts and not among checks",
        ),
        (
            '"images:photos"',
            '"line:photos"\nroi = [0, 0, 0, 9]',
            "camera[0].roi[2]: a whole number of at least 1 is expected, got 0",
        ),
        (
            '"images:photos"',
            '"line:photos"\nroi = [0, 9]',
            "camera[0].roi: a list of 4 is expected, got a list of 2",
        ),
        ("[station]", "[station", "is no TOML"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, message: str) -> None:
    text = TEXT.replace(old, new, 1) if old else new + TEXT
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, folder=FOLDER, name="station.toml")
    assert str(caught.value).startswith("station.toml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"images:photos"',
            '"rtsp://ann:s3cret@cam/1"\ncontrols = {gain = 2}',
            "controls can be set of v4l2: cameras only, got 'rtsp://***@cam/1'",
        ),
        (
            '"images:photos"',
            '"file://ann:s3cret@cam/1"\nchecks = ["black"]',
            "checks are for live cameras only, got 'file://***@cam/1'",
        ),
        ("mqtts://broker:8884", "mqtt://ann:s3cret@broker:99999", "'mqtt://***@broker:99999'"),
        ("mqtts://broker:8884", "mqtt://ann:s3cret/s3cret@broker", "'mqtt://***@broker'"),
        ("mqtts://broker:8884", "mqtt:ann:s3cret@broker", "'mqtt:***@broker'"),
        ("mqtts://broker:8884", "mqtt://ann:s3cret@[::1", "'mqtt://***@[::1'"),
        ("mqtts://broker:8884", "mqtt://ann:s3cret@broker", "no name or password in the URL"),
        ('"top"', '"rtsp://ann:s3cret@cam/1"', "camera[0].name: 1 to 64 of the characters"),
        ("press4", "ann:s3cret@cam", "got 'ann:***@cam'"),
    ],
)
def test_no_password_is_shown(old: str, new: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(TEXT.replace(old, new, 1), folder=FOLDER)
    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://ann:secret@cam:554/live?a=b", "rtsp://***@cam:554/live?a=b"),
        ("rtsp://token@cam/live", "rtsp://***@cam/live"),
        ("rtsp://ann:se@c/r#e?t@cam/live", "rtsp://***@cam/live"),
        ("rtsp:/ann:secret@cam", "rtsp:/***@cam"),
        ("rtsps:ann:secret@cam", "rtsps:***@cam"),
        ("ann:se/cret@cam", "ann:***@cam"),
        ("rtsp://cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://cam/live@1", "rtsp://cam/live@1"),
        ("/photos/a@b", "/photos/a@b"),
        ("", ""),
    ],
)
def test_a_url_as_it_is_shown(url: str, shown: str) -> None:
    assert hide_login(url) == shown


@pytest.mark.parametrize(
    ("keys", "looked_for", "doubted"),
    [
        ("", CHECKS, ("black", "overexposed", "frozen")),
        ("checks = []", (), ()),
        ('checks = ["moved", "frozen"]', ("moved", "frozen"), ("frozen",)),
        ("doubts = []", CHECKS, ()),
        ('doubts = ["moved"]', CHECKS, ("moved",)),
        ('checks = ["moved"]\ndoubts = ["black"]', ("moved",), ("black",)),
    ],
)
def test_what_pictures_are_looked_at_for(
    keys: str, looked_for: tuple[str, ...], doubted: tuple[str, ...]
) -> None:
    text = TEXT.replace('"images:photos"', f'"line:photos"\n{keys}')
    (camera, *_) = parse_settings(text, folder=FOLDER).camera
    assert (camera.looked_for, camera.doubted) == (looked_for, doubted)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no-such\.toml: no such file; name the"):
        read_settings(tmp_path / "no-such.toml")
    with pytest.raises(SettingsError, match="is a folder; name the configuration file in it"):
        read_settings(tmp_path)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"binary\.toml can't be read"):
        read_settings(binary)
    huge = tmp_path / "huge.toml"
    huge.write_bytes(b"#" * 2_000_000)
    with pytest.raises(SettingsError, match="that is no configuration"):
        read_settings(huge)


@pytest.mark.parametrize("name", ["press4\n", "\n", "press 4", "press#", "+", "", "a" * 65])
@pytest.mark.parametrize("key", ["name", "prefix"])
def test_a_name_is_one_level_of_a_topic(key: str, name: str) -> None:
    place = "site" if key == "name" else "password_file"
    text = TEXT.replace(f'{place} = "', f'{key} = {json.dumps(name)}\n{place} = "', 1)
    if key == "name":
        text = text.replace('name = "press4"\n', "", 1)
    with pytest.raises(SettingsError, match=r"(station\.name|mqtt\.prefix): .*, got '"):
        parse_settings(text, folder=Path())
