"""What a station is told: one TOML file, types with defaults.

Kept here and not in the agent, so that deploy refuses what the agent would. Unknown keys, wrong
types and contradictions are refused, naming the key. Relative paths are relative to the file.
`docs/configuration.md` and `docs/station.schema.json` are generated from these structs.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn, get_args
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

Check = Literal["black", "overexposed", "frozen", "blurred", "moved"]
CHECKS: Final[tuple[Check, ...]] = get_args(Check)
DOUBTS: Final[tuple[Check, ...]] = ("black", "overexposed", "frozen")

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
    """Seconds of silence after which the connection is tried."""
    home_assistant: bool = False
    """Whether Home Assistant at the same broker is to find this station by itself."""
    home_assistant_prefix: Annotated[str, Meta(pattern=PREFIX_PATTERN)] = "homeassistant"
    """The first levels of the topics where Home Assistant looks for devices."""

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return urlsplit(self.url).scheme == "mqtts"

    @property
    def host(self) -> str:
        """The broker's host name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The broker's TCP port."""
        return urlsplit(self.url).port or (8883 if self.tls else 1883)


class ModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model."""

    name: Name
    """What streams call it."""
    bundle: str
    """Path of the bundle: a folder or a zip file."""
    trust: str = ""
    """PEM of the public key that must have signed the bundle. Empty: unsigned ones run too."""
    bundles: str = ""
    """A folder: the command `use_bundle` may name bundles below it. Empty: it is refused."""
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    """Threads of the interpreter."""


class ControlSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is set and locked of a `v4l2:` camera. What is left out stays as the camera has it."""

    exposure_us: Annotated[float, Meta(gt=0, le=60_000_000)] | None = None
    """Microseconds of exposure; its automatic is switched off."""
    gain: Annotated[float, Meta(ge=0, le=1_000_000)] | None = None
    """Gain in the camera's own unit; its automatic is switched off."""
    white_balance_k: Annotated[float, Meta(ge=1000, le=20_000)] | None = None
    """White balance in kelvin; its automatic is switched off."""

    @property
    def chosen(self) -> dict[str, float]:
        """What is to be set, by its key."""
        values = msgspec.structs.asdict(self)
        return {key: value for key, value in values.items() if value is not None}


class CameraSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where frames come from."""

    name: Name
    """What streams and messages call it."""
    source: str
    """`images:FOLDER`, `file:VIDEO`, `v4l2:/dev/video0`, `rtsp://…`, or `line:FOLDER`, the virtual
    line: a camera that does not exist."""
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
    """Frames a second: of `images:` and `file:` at most (0: no limit), of `line:` (0: 25), and of
    `v4l2:` what the camera is asked for (0: nothing)."""
    controls: ControlSettings = ControlSettings()
    """Of a `v4l2:` camera: `exposure_us`, `gain`, `white_balance_k`."""
    max_delay_ms: Annotated[float, Meta(ge=0, le=60_000)] | None = None
    """Milliseconds by which a frame may be read later than it was captured, where no driver stamps
    it. Left out: 500 for `rtsp:`, 200 for a `v4l2:` device that does not stamp, 0 for others."""
    checks: list[Check] | None = None
    """The faults that a live camera's pictures are looked at for: `black`, `overexposed`,
    `frozen`, `blurred`, `moved`. Left out: all of them. Each that lasts is an event and in the
    status."""
    doubts: list[Check] | None = None
    """Those of `checks` with which each part is a `no_read`. Left out: `black`, `overexposed` and
    `frozen`, as far as they are looked for."""

    @property
    def looked_for(self) -> tuple[Check, ...]:
        """`checks`, or what it is where it is left out."""
        return CHECKS if self.checks is None else tuple(self.checks)

    @property
    def doubted(self) -> tuple[Check, ...]:
        """`doubts`, or what it is where it is left out."""
        wanted = DOUBTS if self.doubts is None else self.doubts
        return tuple(check for check in wanted if check in self.looked_for)


class StreamSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera looked at by one model."""

    name: Name
    """The last level of the topic of its results."""
    camera: Name
    """The name of a `[[camera]]`; each stream has its own."""
    model: Name
    """The name of a `[[model]]`."""
    trigger: Annotated[str, Meta(pattern=r"^(frame|command|interval:\d+(\.\d+)?)$(?!\n)")] = "frame"
    """`frame`: each frame is a part. `interval:SECONDS`: one part every so many seconds.
    `command`: a part is there when the command `trigger` says so."""
    queue: Annotated[int, Meta(ge=1, le=10_000)] = 16
    """Parts that wait to be looked at, at most; one more is a `no_read` at once."""


class OutboxSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where results are kept until the broker has them, and afterwards."""

    path: str = "state/outbox.sqlite"
    """The SQLite file."""
    commit_ms: Annotated[int, Meta(ge=0, le=1000)] = 50
    """Milliseconds from one commit to the next, at least: what came meanwhile shares one."""
    waiting: Annotated[int, Meta(ge=100, le=1_000_000)] = 10_000
    """Results that wait in memory at most, while the disk is slow, full or read-only."""
    retention_h: Annotated[float, Meta(gt=0, le=8760)] = 72.0
    """Hours of running that a result is kept after it was published."""
    max_results: Annotated[int, Meta(ge=1000, le=100_000_000)] = 1_000_000
    """Results that are kept at most; then the oldest go, and an event says which."""
    max_mb: Annotated[float, Meta(ge=1, le=1_000_000)] = 2000.0
    """What all files of the outbox may use of the disk, in 1,000,000 bytes, and at most four fifths
    of it; then the oldest results go, published ones first, and an event says which."""
    drain_s: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    """Seconds to wait at a stop for the broker to take what is left."""


class AuditSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log of commands, and of changes of models and limits."""

    path: str = "state/audit.jsonl"
    """The file of what was done; what was refused is beside it."""
    max_mb: Annotated[float, Meta(ge=1, le=1000)] = 8.0
    """What all its files may use of the disk, in 1,000,000 bytes; then the oldest go."""


class MetricsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page for Prometheus."""

    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """The TCP port on 127.0.0.1. 0: no page."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A station's configuration."""

    station: StationSettings
    mqtt: MqttSettings
    model: Annotated[list[ModelSettings], Meta(min_length=1)]
    camera: Annotated[list[CameraSettings], Meta(min_length=1)]
    stream: list[StreamSettings] = []
    """With one camera and one model it may be left out; the stream is then called as the camera."""
    outbox: OutboxSettings = OutboxSettings()
    audit: AuditSettings = AuditSettings()
    metrics: MetricsSettings = MetricsSettings()
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
    except tomllib.TOMLDecodeError as error:
        msg = f"{name} is no TOML: {error}"
        raise SettingsError(msg) from error
    try:
        settings = msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        msg = f"{name}: {_readable(str(error), raw, Settings)}"
        raise SettingsError(msg) from error
    settings = _with_default_stream(settings)
    try:
        _check(settings)
        check_mqtt(settings.mqtt)
    except SettingsError as error:
        msg = f"{name}: {error}"
        raise SettingsError(msg) from error
    return _absolute(settings, folder)


def check_mqtt(mqtt: MqttSettings) -> MqttSettings:
    """Return `mqtt` if it does not contradict itself, also where it came from no file.

    Raises:
        SettingsError: naming the key.
    """
    raw = msgspec.to_builtins(mqtt)
    try:
        msgspec.convert(raw, MqttSettings)
    except msgspec.ValidationError as error:
        msg = f"mqtt.{_readable(str(error), raw, MqttSettings)}"
        raise SettingsError(msg) from error
    url = urlsplit(mqtt.url)
    try:
        port = url.port
    except ValueError:
        port = -1
    if url.scheme not in {"mqtt", "mqtts"} or not url.hostname or port == -1 or url.path.strip("/"):
        _refuse(
            f"mqtt.url: mqtt://HOST[:PORT] or mqtts://HOST[:PORT] is expected, got {mqtt.url!r}"
        )
    if url.username or url.password:
        _refuse("mqtt.url: no name or password in the URL; use mqtt.username and password_file")
    if mqtt.password_file and not mqtt.username:
        _refuse("mqtt.password_file is set without mqtt.username")
    if bool(mqtt.cert_file) != bool(mqtt.key_file):
        _refuse("mqtt.cert_file and mqtt.key_file go together: set both or none")
    if url.scheme == "mqtt" and (mqtt.ca_file or mqtt.cert_file):
        _refuse("mqtt.ca_file and mqtt.cert_file need TLS: use mqtts:// in mqtt.url")
    return mqtt


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


def _refuse(text: str) -> NoReturn:
    raise SettingsError(text)


def _readable(text: str, raw: Any, root: type[Struct]) -> str:  # noqa: ANN401 - TOML of any kind
    """A complaint of msgspec with the key in front, the value found, and the key that was meant."""
    reason, _, path = text.partition(" - at `")
    steps = re.findall(r"\w+|\[\d+\]", path.removeprefix("$").rstrip("`"))
    found = raw
    for step in steps:
        found = found[int(step[1:-1])] if step.startswith("[") else found[step]
    key = re.sub(r"\.\[", "[", ".".join(steps))
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", reason)
    if unknown is not None:
        meant = difflib.get_close_matches(unknown[1], _keys(root, steps), n=1)
        hint = f", did you mean {meant[0]!r}?" if meant else ""
        return f"unknown key {unknown[1]!r}{f' in {key}' if key else ''}{hint}"
    if reason == "Expected `array`, got `object`":
        return f"{key}: a list is expected, so it is written [[{key}]] with two brackets"
    if repr(NAME_PATTERN) in reason:
        reason = "1 to 64 of the characters A-Z a-z 0-9 _ - are expected"
    if not isinstance(found, (dict, list)):
        reason = f"{reason.split(', got')[0]}, got {found!r}"
    return f"{key}: {reason}" if key else reason


def _keys(root: type[Struct], steps: Sequence[str]) -> list[str]:
    """The keys that the table at `steps` may hold."""
    table: type[Struct] = root
    for step in steps:
        if step.startswith("["):
            continue
        kind = next(f.type for f in msgspec.structs.fields(table) if f.name == step)
        table = next(t for t in _types(kind) if isinstance(t, type) and issubclass(t, Struct))
    return list(table.__struct_fields__)


def _types(kind: Any) -> Iterator[Any]:  # noqa: ANN401 - an annotation
    """`kind` and what it is made of: list[Annotated[T, ...]] gives T too."""
    yield kind
    for part in get_args(kind):
        yield from _types(part)


def _check(settings: Settings) -> None:
    """Refuse what contradicts itself."""
    if not settings.stream:
        _refuse("[[stream]] is expected, since there are several cameras or models")
    for kind in ("model", "camera", "stream"):
        names = [entry.name for entry in getattr(settings, kind)]
        for twice in sorted({n for n in names if names.count(n) > 1}):
            _refuse(f"[[{kind}]] {twice!r} comes twice: each needs a name of its own")
    for stream in settings.stream:
        for kind in ("camera", "model"):
            known = [entry.name for entry in getattr(settings, kind)]
            wanted = getattr(stream, kind)
            if wanted not in known:
                _refuse(
                    f"[[stream]] {stream.name!r}: no {kind} {wanted!r}, there is {', '.join(known)}"
                )
    for camera in settings.camera:
        _check_camera(camera)
    cameras = [stream.camera for stream in settings.stream]
    for twice in sorted({c for c in cameras if cameras.count(c) > 1}):
        _refuse(
            f"[[stream]]: camera {twice!r} is used by two streams; give each stream its own camera"
        )


def _check_camera(camera: CameraSettings) -> None:
    """Refuse a camera that contradicts itself."""
    if camera.controls.chosen and not camera.source.startswith(("v4l2:", "line:")):
        _refuse(
            f"[[camera]] {camera.name!r}: controls can be set of v4l2: cameras only, "
            f"got {camera.source!r}"
        )
    if 0 < camera.rate < 1 and camera.source.startswith(("v4l2:", "line:")):
        _refuse(
            f"[[camera]] {camera.name!r}: rate {camera.rate:g}: a live camera gives at least "
            "1 frame a second, or it counts as lost"
        )
    _check_looks(camera)


def _check_looks(camera: CameraSettings) -> None:
    """Refuse looks at pictures that are not made."""
    for key in ("checks", "doubts"):
        if getattr(camera, key) and camera.source.startswith(("images:", "file:")):
            _refuse(
                f"[[camera]] {camera.name!r}: {key} are for live cameras only, "
                f"got {camera.source!r}"
            )
    for doubt in camera.doubts or ():
        if doubt not in camera.looked_for:
            _refuse(
                f"[[camera]] {camera.name!r}: {doubt!r} is among doubts and not among checks, "
                "so it is never looked for; add it to checks"
            )


def _absolute(settings: Settings, folder: Path) -> Settings:
    """Settings whose paths are absolute."""

    def path(text: str) -> str:
        return str(folder / text) if text else ""

    replace = msgspec.structs.replace
    mqtt = settings.mqtt
    cameras = []
    for camera in settings.camera:
        scheme, _, rest = camera.source.partition(":")
        local = scheme in {"images", "file", "line"}
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
