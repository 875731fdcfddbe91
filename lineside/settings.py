"""What a station is told: one TOML file, types with defaults.

Kept here and not in the agent, so that deploy refuses what the agent would. Unknown keys, wrong
types and contradictions are refused, naming the key. Relative paths are relative to the file.
`docs/configuration.md` and `docs/station.schema.json` are generated from these structs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from lineside.errors import SettingsError
from lineside.topics import NAME_PATTERN, PREFIX_PATTERN

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]

MAX_CONFIG_BYTES: Final = 1024 * 1024


class StationSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who this station is: the levels of its topics."""

    site: Name
    """The plant or the hall."""
    name: Name
    """The station's own name, unique in its site."""


class MqttSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The broker that results go to. Secrets are in files, never in this text."""

    url: str
    """`mqtt://HOST[:1883]`, or `mqtts://HOST[:8883]` for TLS."""
    prefix: Annotated[str, Meta(pattern=PREFIX_PATTERN)] = "lineside"
    """The first levels of every topic."""
    protocol: Literal["5", "3.1.1"] = "5"
    """The version of MQTT. Under 3.1.1 results are confirmed by their own echo."""
    username: str = ""
    """Empty: none."""
    password_file: str = ""
    """A file that holds only the password."""
    ca_file: str = ""
    """PEM of the authority that signed the broker's certificate. Empty: the system's."""
    cert_file: str = ""
    """PEM of this station's certificate, where the broker asks for one."""
    key_file: str = ""
    """PEM of this station's private key."""
    keepalive_s: Annotated[int, Meta(ge=5, le=3600)] = 60
    """Seconds."""


class ModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model."""

    name: Name
    """What streams call it."""
    bundle: str
    """Path of the bundle: a folder or a zip file."""
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    """Threads of the interpreter."""


class CameraSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where frames come from."""

    name: Name
    """What streams and messages call it."""
    source: str
    """`images:FOLDER`, `file:VIDEO`, `v4l2:/dev/video0` or `rtsp://…`."""
    roi: (
        tuple[
            Annotated[int, Meta(ge=0)],
            Annotated[int, Meta(ge=0)],
            Annotated[int, Meta(ge=1)],
            Annotated[int, Meta(ge=1)],
        ]
        | None
    ) = None
    """x, y, width, height in pixels: the part of the frame to look at. Left out: all of it."""
    rate: Annotated[float, Meta(ge=0.0, le=10_000.0)] = 0.0
    """Frames a second at most, of `images:` and `file:`. 0: no limit."""


class StreamSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera looked at by one model."""

    name: Name
    """The last level of the topic of its results."""
    camera: Name
    """The name of a `[[camera]]`; each stream has its own."""
    model: Name
    """The name of a `[[model]]`."""
    trigger: Annotated[str, Meta(pattern=r"^(frame|interval:\d+(\.\d+)?)$")] = "frame"
    """`frame`: each frame is a part. `interval:SECONDS`: one part every so many seconds."""


class OutboxSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where results are kept until the broker has them, and afterwards."""

    path: str = "state/outbox.sqlite"
    """The SQLite file."""
    commit_ms: Annotated[int, Meta(ge=0, le=1000)] = 50
    """Milliseconds to gather results for one commit, at most. 0: none."""
    retention_h: Annotated[float, Meta(gt=0, le=8760)] = 72.0
    """Hours that a published result is kept."""
    max_results: Annotated[int, Meta(ge=1000, le=100_000_000)] = 1_000_000
    """Results that are kept at most; then the oldest go, and an event says which."""
    drain_s: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    """Seconds to wait at a stop for the broker to take what is left."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A station's configuration."""

    station: StationSettings
    mqtt: MqttSettings
    model: Annotated[list[ModelSettings], Meta(min_length=1)]
    camera: Annotated[list[CameraSettings], Meta(min_length=1)]
    stream: list[StreamSettings] = []
    """With one camera and one model it may be left out; the stream is then called as the camera."""
    outbox: OutboxSettings = OutboxSettings()
    health_s: Annotated[float, Meta(ge=1, le=3600)] = 10.0
    """Seconds between health messages."""


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
    try:
        raw: Any = tomllib.loads(text)
        settings = msgspec.convert(raw, Settings)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        msg = f"{name}: {error}"
        raise SettingsError(msg) from error
    settings = _with_default_stream(settings)
    _check(settings, name)
    return _absolute(settings, folder)


def read_settings(path: Path) -> Settings:
    """Read a station's configuration file.

    Raises:
        SettingsError: it is not there, is too large, or see `parse_settings`.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            msg = f"{path}: larger than {MAX_CONFIG_BYTES} bytes, that is no configuration"
            raise SettingsError(msg)
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} can't be read: {error}"
        raise SettingsError(msg) from error
    return parse_settings(text, folder=path.absolute().parent, name=str(path))


def _with_default_stream(settings: Settings) -> Settings:
    if settings.stream or len(settings.camera) != 1 or len(settings.model) != 1:
        return settings
    camera, model = settings.camera[0], settings.model[0]
    stream = StreamSettings(name=camera.name, camera=camera.name, model=model.name)
    return msgspec.structs.replace(settings, stream=[stream])


def _check(settings: Settings, name: str) -> None:
    """Refuse what contradicts itself."""

    def refuse(text: str) -> None:
        msg = f"{name}: {text}"
        raise SettingsError(msg)

    if not settings.stream:
        refuse("[[stream]] is expected, since there are several cameras or models")
    for kind in ("model", "camera", "stream"):
        names = [entry.name for entry in getattr(settings, kind)]
        for twice in sorted({n for n in names if names.count(n) > 1}):
            refuse(f"[[{kind}]] {twice!r} comes twice: each needs a name of its own")
    for stream in settings.stream:
        for kind in ("camera", "model"):
            known = [entry.name for entry in getattr(settings, kind)]
            wanted = getattr(stream, kind)
            if wanted not in known:
                refuse(
                    f"[[stream]] {stream.name!r}: no {kind} {wanted!r}, there is {', '.join(known)}"
                )
    cameras = [stream.camera for stream in settings.stream]
    for twice in sorted({c for c in cameras if cameras.count(c) > 1}):
        refuse(
            f"[[stream]]: camera {twice!r} is used by two streams; give each stream its own camera"
        )
    _check_mqtt(settings.mqtt, refuse)


def _check_mqtt(mqtt: MqttSettings, refuse: Any) -> None:  # noqa: ANN401 - a local closure
    url = urlsplit(mqtt.url)
    try:
        port = url.port
    except ValueError:
        port = -1
    if url.scheme not in {"mqtt", "mqtts"} or not url.hostname or port == -1 or url.path.strip("/"):
        refuse(f"mqtt.url: mqtt://HOST[:PORT] or mqtts://HOST[:PORT] is expected, got {mqtt.url!r}")
    if url.username or url.password:
        refuse("mqtt.url: no name or password in the URL; use mqtt.username and mqtt.password_file")
    if mqtt.password_file and not mqtt.username:
        refuse("mqtt.password_file is set without mqtt.username")
    if bool(mqtt.cert_file) != bool(mqtt.key_file):
        refuse("mqtt.cert_file and mqtt.key_file go together: set both or none")
    if url.scheme == "mqtt" and (mqtt.ca_file or mqtt.cert_file):
        refuse("mqtt.ca_file and mqtt.cert_file need TLS: use mqtts:// in mqtt.url")


def _absolute(settings: Settings, folder: Path) -> Settings:
    """Settings whose paths are absolute."""

    def path(text: str) -> str:
        return str(folder / text) if text else ""

    replace = msgspec.structs.replace
    mqtt = settings.mqtt
    cameras = []
    for camera in settings.camera:
        scheme, _, rest = camera.source.partition(":")
        local = scheme in {"images", "file"}
        cameras.append(replace(camera, source=f"{scheme}:{path(rest)}") if local else camera)
    return replace(
        settings,
        mqtt=replace(
            mqtt,
            password_file=path(mqtt.password_file),
            ca_file=path(mqtt.ca_file),
            cert_file=path(mqtt.cert_file),
            key_file=path(mqtt.key_file),
        ),
        model=[replace(model, bundle=path(model.bundle)) for model in settings.model],
        camera=cameras,
        outbox=replace(settings.outbox, path=path(settings.outbox.path)),
    )
