"""A station's configuration, from how it is on the workstation to how the device reads it.

| on the workstation | on the device |
| --- | --- |
| `bundle`, `trust` | copied into the release: `bundles/MODEL`, `trust/MODEL.pem` |
| `ca_file` | copied into the release: `ca.pem` |
| `cert_file`, `key_file`, `password_file` | what is relative lies below /etc/lineside |
| `outbox.path`, `audit.path`, `bundles` | what is relative lies below /var/lib/lineside |
| a `source` of pictures | must be absolute: it is a folder of the device |

What is absolute stays as it is, but for what is copied.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lineside.errors import SettingsError
from lineside.extras import require
from lineside.settings import (
    AuditSettings,
    OutboxSettings,
    Settings,
    parse_settings,
    read_settings,
)
from lineside_device.places import IDENTITY, STATE

CONFIG: Final = "station.toml"
CA: Final = "ca.pem"
_PICTURES: Final = ("images", "file", "line")

Table = MutableMapping[str, Any]


@dataclass(frozen=True)
class DeviceConfig:
    """What a release holds of a configuration.

    Attributes:
        settings: as the workstation reads them, paths absolute.
        text: TOML for the device; comments are those of the original.
        bundles: of each model's name, where its bundle is on the workstation.
        files: of each other file of the release, where it is on the workstation.
        cert_file: of the device, empty: none.
    """

    settings: Settings
    text: str
    bundles: dict[str, Path]
    files: dict[str, Path]
    cert_file: str


def device_config(path: Path, bundle: Path | None = None) -> DeviceConfig:
    """Read a configuration, check it, and say it as the device must read it.

    Args:
        path: of the TOML file.
        bundle: instead of what the only `[[model]]` names.

    Raises:
        SettingsError: the agent would refuse it; or a path can't be meant for a device.
    """
    settings = read_settings(path)
    document = require("tomlkit", extra="deploy").parse(path.read_text(encoding="utf-8"))
    if bundle is not None and len(settings.model) > 1:
        names = ", ".join(model.name for model in settings.model)
        msg = f"--bundle can't be for all of the models {names}: name each in {path}"
        raise SettingsError(msg)
    bundles, files = {}, {}
    for model, table in zip(settings.model, document["model"], strict=True):
        bundles[model.name] = bundle or Path(model.bundle)
        table["bundle"] = f"bundles/{model.name}"
        if model.trust:
            table["trust"] = f"trust/{model.name}.pem"
            files[table["trust"]] = Path(model.trust)
        _move(path, table, "bundles", STATE)
    mqtt = document["mqtt"]
    if settings.mqtt.ca_file:
        mqtt["ca_file"] = CA
        files[CA] = Path(settings.mqtt.ca_file)
    for key in ("cert_file", "key_file", "password_file"):
        _move(path, mqtt, key, IDENTITY)
    for name, default in (("outbox", OutboxSettings().path), ("audit", AuditSettings().path)):
        table = document.setdefault(name, {})
        table.setdefault("path", default)
        _move(path, table, "path", STATE)
    for camera in document["camera"]:
        _check_source(camera["name"], camera["source"], path)
    text = document.as_string()
    parse_settings(text, folder=Path("/"), name=f"{path}, as the device reads it")
    return DeviceConfig(settings, text, bundles, files, str(mqtt.get("cert_file", "")))


def _move(config: Path, table: Table, key: str, folder: Path) -> None:
    """Put a relative path of a configuration below a folder of the device."""
    if table.get(key):
        moved = folder / table[key]
        if ".." in moved.parts:
            msg = (
                f"{config}: {key} {table[key]!r} leaves {folder}: "
                "name an absolute path of the device"
            )
            raise SettingsError(msg)
        table[key] = str(moved)


def _check_source(camera: str, source: str, path: Path) -> None:
    kind, _, where = source.partition(":")
    if kind in _PICTURES and not where.startswith("/"):
        msg = (
            f"{path}: [[camera]] {camera!r}: source {source!r} is a place on this workstation; "
            f"name an absolute path of the device, such as '{kind}:/srv/pictures'"
        )
        raise SettingsError(msg)
