"""The tables of a station's configuration: types with defaults, and nothing else.

`docs/configuration.md` and `docs/station.schema.json` are generated from these structs: the
docstring under a field is what people read of it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from lineside.topics import NAME_PATTERN, PREFIX_PATTERN

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]

Check = Literal["black", "overexposed", "frozen", "blurred", "moved"]
CHECKS: Final[tuple[Check, ...]] = get_args(Check)
SOURCES: Final = ("images", "file", "v4l2", "rtsp", "line")
"""What `camera.source` begins with; the agent has something behind each."""
DOUBTS: Final[tuple[Check, ...]] = ("black", "overexposed", "frozen")


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
    """x, y, width, height in pixels of the whole frame: what to look at. Left out: all of it."""
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
    """The faults with which each part is a `no_read`. Left out: `black`, `overexposed` and
    `frozen`, as far as they are among `checks`. Where one of these three is named here and not
    in `checks`, a picture that shows it by itself gives no verdict, and that is no fault however
    long it lasts: for a light that flashes with the trigger."""

    @property
    def looked_for(self) -> tuple[Check, ...]:
        """`checks`, or what it is where it is left out."""
        return CHECKS if self.checks is None else tuple(self.checks)

    @property
    def doubted(self) -> tuple[Check, ...]:
        """`doubts`, or what it is where it is left out."""
        if self.doubts is not None:
            return tuple(self.doubts)
        return tuple(check for check in DOUBTS if check in self.looked_for)


class StreamSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera looked at by one model."""

    name: Name
    """The last level of the topic of its results."""
    camera: Name
    """The name of a `[[camera]]`; each stream has its own."""
    model: Name
    """The name of a `[[model]]`."""
    trigger: Annotated[
        str,
        Meta(
            pattern=r"^(frame|command|interval:\d+(\.\d+)?)$(?!\n)",
            extra={"expected": "frame, command or interval:SECONDS"},
        ),
    ] = "frame"
    """`frame`: each frame is a part. `interval:SECONDS`: one part every so many seconds.
    `command`: a part is there when the command `trigger` says so."""
    queue: Annotated[int, Meta(ge=1, le=10_000)] = 16
    """Parts that wait to be looked at, at most; one more is a `no_read` at once."""
    max_wait_ms: Annotated[int, Meta(ge=1, le=60_000)] = 1000
    """Milliseconds after its trigger within which a part's frame must be captured. One that comes
    later, from a live camera, shows where the part has been: a `no_read` with `no_frame`."""


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
