"""From a TOML file to a station's settings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from lineside.complaints import readable
from lineside.errors import SettingsError
from lineside.settings.checks import check_files, check_mqtt, check_settings
from lineside.settings.tables import MqttSettings, Settings, StreamSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_CONFIG_BYTES: Final = 1024 * 1024

S = TypeVar("S", bound=msgspec.Struct)


def parse_settings(text: str, *, folder: Path, name: str = "config") -> Settings:
    """Read a station's configuration.

    Args:
        text: TOML.
        folder: what relative paths in it are relative to.
        name: what to call it in an error.

    Returns:
        The settings, with absolute paths and at least one stream.

    Raises:
        SettingsError: not TOML, an unknown or missing key, a wrong type, or a contradiction.
    """
    settings = parse_table(text, Settings, name=name)
    settings = _with_default_stream(settings)
    try:
        check_settings(settings)
        check_mqtt(settings.mqtt)
        settings = _absolute(settings, folder)
        check_files(settings)
    except SettingsError as error:
        msg = f"{name}: {error}"
        raise SettingsError(msg) from error
    return settings


def parse_table(text: str, kind: type[S], *, name: str) -> S:
    """Read TOML that is to be a struct, and say what is wrong with it as people need it.

    Raises:
        SettingsError: not TOML, an unknown or missing key, or a wrong type.
    """
    try:
        raw: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"{name} is no TOML: {error}"
        raise SettingsError(msg) from error
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        msg = f"{name}: {readable(str(error), raw, kind)}"
        raise SettingsError(msg) from error


def read_settings(path: Path) -> Settings:
    """Read a station's configuration file.

    Raises:
        SettingsError: it is not there, is too large, or see `parse_settings`.
    """
    text = read_toml(path, "the station's configuration, such as station.toml")
    return parse_settings(text, folder=path.absolute().parent, name=str(path))


def read_toml(path: Path, what: str) -> str:
    """The text of a TOML file that a person named.

    Args:
        path: of the file.
        what: is expected there.

    Raises:
        SettingsError: it is not there, can't be read, or is too large.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            msg = f"{path}: larger than {MAX_CONFIG_BYTES} bytes, that is no configuration"
            raise SettingsError(msg)
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        msg = f"{path}: no such file; name {what}"
        raise SettingsError(msg) from error
    except IsADirectoryError as error:
        msg = f"{path} is a folder; name the configuration file in it"
        raise SettingsError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path} can't be read: it is no UTF-8 text"
        raise SettingsError(msg) from error
    except OSError as error:
        msg = f"{path} can't be read: {error.strerror or error}"
        raise SettingsError(msg) from error


def absolute_mqtt(mqtt: MqttSettings, folder: Path) -> MqttSettings:
    """The same with absolute paths.

    Args:
        mqtt: how to connect.
        folder: what relative paths in it are relative to.
    """
    names = ("password_file", "ca_file", "cert_file", "key_file")
    found = {name: getattr(mqtt, name) for name in names}
    return msgspec.structs.replace(
        mqtt, **{name: str(folder / path) for name, path in found.items() if path}
    )


def _with_default_stream(settings: Settings) -> Settings:
    if settings.stream or len(settings.camera) != 1 or len(settings.model) != 1:
        return settings
    camera, model = settings.camera[0], settings.model[0]
    stream = StreamSettings(name=camera.name, camera=camera.name, model=model.name)
    return msgspec.structs.replace(settings, stream=[stream])


def _absolute(settings: Settings, folder: Path) -> Settings:
    """Settings whose paths are absolute."""

    def path(text: str) -> str:
        return str(folder / text) if text else ""

    replace = msgspec.structs.replace
    cameras = []
    for camera in settings.camera:
        scheme, _, rest = camera.source.partition(":")
        local = scheme in {"images", "file", "line"}
        cameras.append(replace(camera, source=f"{scheme}:{path(rest)}") if local else camera)
    return replace(
        settings,
        mqtt=absolute_mqtt(settings.mqtt, folder),
        model=[
            replace(
                model,
                bundle=path(model.bundle),
                bundles=path(model.bundles),
                trust=path(model.trust),
            )
            for model in settings.model
        ],
        camera=cameras,
        outbox=replace(settings.outbox, path=path(settings.outbox.path)),
        audit=replace(settings.audit, path=path(settings.audit.path)),
    )
