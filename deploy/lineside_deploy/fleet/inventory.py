"""The stations that there should be: one TOML file.

stations = ["ulm/press4", "ulm/press5"]

[mqtt]
url = "mqtts://broker.ulm.example"
ca_file = "ca.pem"
cert_file = "ann.pem"
key_file = "ann.pem"
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from lineside.errors import InputError, SettingsError
from lineside.settings import MqttSettings, absolute_mqtt, check_mqtt, parse_table, read_toml
from lineside_deploy.plant.names import station_name


class Inventory(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which stations there should be, and where they are heard."""

    stations: Annotated[list[str], Meta(min_length=1)]
    """Each as `SITE/STATION`."""
    mqtt: MqttSettings
    """How to connect, as a station's `[mqtt]` says it."""


def read_inventory(path: Path) -> Inventory:
    """Read the file; relative paths in it are relative to it.

    Raises:
        SettingsError: it can't be read, an unknown or missing key, a wrong type, a name that is
            none or is there twice, or settings of the broker that contradict themselves.
    """
    text = read_toml(path, "the list of stations, such as inventory.toml")
    found = parse_table(text, Inventory, name=str(path))
    try:
        for name in found.stations:
            station_name(name)
        check_mqtt(found.mqtt)
    except InputError as error:
        msg = f"{path}: {error}"
        raise SettingsError(msg) from error
    twice = [name for name, count in Counter(found.stations).items() if count > 1]
    if twice:
        msg = f"{path}: {twice[0]} is there twice"
        raise SettingsError(msg)
    mqtt = absolute_mqtt(found.mqtt, path.absolute().parent)
    return msgspec.structs.replace(found, mqtt=mqtt)
