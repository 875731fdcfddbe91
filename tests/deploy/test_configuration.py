"""A station's configuration, as the device reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.errors import SettingsError
from lineside.settings import parse_settings
from lineside_deploy.package.configuration import device_config
from tests.support.configuration import CONFIGURATION


def written(folder: Path, text: str) -> Path:
    path = folder / "station.toml"
    path.write_text(text)
    return path


def test_paths_become_those_of_the_device(tmp_path: Path) -> None:
    text = CONFIGURATION.replace(
        'url = "mqtt://localhost"',
        'url = "mqtts://broker"  # of the plant\nca_file = "ca/plant.pem"\n'
        'cert_file = "press4.pem"\nkey_file = "/etc/keys/press4.pem"\npassword_file = "word"\n'
        'username = "me"',
    ).replace('bundle = "bundle"', 'bundle = "bundle"\ntrust = "plant.pub"\nbundles = "more"')
    found = device_config(written(tmp_path, text + '[outbox]\npath = "/data/outbox.sqlite"\n'))
    assert "# of the plant" in found.text
    device = parse_settings(found.text, folder=Path("/opt/lineside/current"))
    assert device.model[0].bundle == "/opt/lineside/current/bundles/cells"
    assert device.model[0].trust == "/opt/lineside/current/trust/cells.pem"
    assert device.model[0].bundles == "/var/lib/lineside/more"
    assert device.mqtt.ca_file == "/opt/lineside/current/ca.pem"
    assert device.mqtt.cert_file == "/etc/lineside/press4.pem"
    assert device.mqtt.key_file == "/etc/keys/press4.pem"
    assert device.mqtt.password_file.endswith("/lineside/word")
    assert device.outbox.path == "/data/outbox.sqlite"
    assert device.audit.path == "/var/lib/lineside/state/audit.jsonl"
    assert found.bundles == {"cells": tmp_path / "bundle"}
    assert found.files == {
        "ca.pem": tmp_path / "ca/plant.pem",
        "trust/cells.pem": tmp_path / "plant.pub",
    }


def test_the_least_that_a_configuration_may_say(tmp_path: Path) -> None:
    found = device_config(written(tmp_path, CONFIGURATION), Path("elsewhere"))
    device = parse_settings(found.text, folder=Path("/opt/lineside/current"))
    assert device.outbox.path == "/var/lib/lineside/state/outbox.sqlite"
    assert found.bundles == {"cells": Path("elsewhere")}
    assert device.mqtt.cert_file == ""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("v4l2:/dev/video0", "images:pictures", "source 'images:pictures' is a place on this work"),
        ('bundle = "bundle"', 'bundle = "bundle"\nbundles = "../x"', "bundles '../x' leaves /var"),
        ("mqtt://localhost", "http://localhost", "station.toml: "),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        device_config(written(tmp_path, CONFIGURATION.replace(old, new)))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_one_bundle_is_not_for_two_models(tmp_path: Path) -> None:
    more = '[[model]]\nname = "caps"\nbundle = "b"\n[[stream]]\nname = "s"\ncamera = "top"\n'
    path = written(tmp_path, CONFIGURATION + more + 'model = "caps"\n')
    with pytest.raises(SettingsError, match="--bundle can't be for all of the models cells, caps"):
        device_config(path, Path("elsewhere"))
