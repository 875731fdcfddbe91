"""What a station says: one struct for each message, encoded as JSON.

`verdict` is a closed set; `task`, `reasons` and every `kind` are open, and unknown fields are
ignored, so that an older subscriber reads a newer station. `docs/messages/` holds the JSON
Schemas that are generated from these structs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from lineside.commands import Name, Response
from lineside.errors import MessageError

Verdict = Literal["ok", "ng", "review", "no_read"]
"""`ok`; `ng`, not good; `review`, the model is not sure; `no_read`, no trustworthy answer."""

Score = Annotated[float, Meta(ge=0.0, le=1.0)]

MAX_MESSAGE_BYTES: Final = 256 * 1024
"""A message longer than this is refused before it is parsed."""


class Part(Struct, kw_only=True):
    """The part that a verdict is about."""

    n: int
    """The station's own count of parts on this stream since the agent started, from 1."""
    id: str | None = None
    """What the part is called: a serial number, or the name of the image file."""
    context: dict[str, str] = {}
    """What the plant wants carried along, such as an order number."""


class Trigger(Struct, kw_only=True):
    """Why a frame was looked at."""

    kind: str
    """`frame` (every frame is a part), `interval`, or `command` (somebody said so)."""
    id: str | None = None
    """What whoever triggered calls it: the command's id."""
    mono_ns: int
    """When, in ns of the station's monotonic clock."""


class Input(Struct, kw_only=True):
    """A picture (or, later, a series) that went into a verdict."""

    name: str
    """The camera's name."""
    kind: str = "image"
    mono_ns: int
    """When it was captured, in ns of the station's monotonic clock."""
    stamp: str
    """Who said when: `driver` (the camera's own stamp) or `read` (the time it was read)."""
    max_delay_ms: float | None = None
    """With `read`: how much later than its capture the frame was read, in milliseconds, at most."""
    frame_id: int | None = None
    """The driver's number of the frame, where there is one."""
    size: tuple[int, int]
    """Width and height of the source frame, in pixels."""
    roi: tuple[int, int, int, int] | None = None
    """The region looked at: x, y, width, height in pixels of the source frame."""
    frames: int = 1
    """How many frames the verdict rests on."""
    controls: dict[str, float] = {}
    """How the camera is set, read back from it: `exposure_us`, `gain`, `white_balance_k`."""


class Limits(Struct, kw_only=True):
    """The limits that were in force. A limit that is null is not used."""

    review: float | None
    ng: float | None
    origin: str = msgspec.field(default="bundle", name="from")


class ModelRef(Struct, kw_only=True):
    """A model that was asked."""

    role: str
    name: str
    version: str
    digest: str
    """`sha256:` and the hash of the bundle's manifest.json."""


class LoadedModel(Struct, kw_only=True):
    """A model that a station runs."""

    role: str
    name: str
    version: str
    digest: str
    """`sha256:` and the hash of the bundle's manifest.json."""
    parity: Literal["measured", "unknown"] | None = None
    """Whether the bundle's maker measured it on images; null from a station that does not say."""
    origin: Literal["configuration", "command", "last_good"] | None = msgspec.field(
        default=None, name="from"
    )
    """Why this bundle: the configuration or a command names it, or it is the last good one, since
    what they name can't be used; null from a station that does not say."""


class Latency(Struct, kw_only=True):
    """Where the time went, in ms; where there is no frame, from the trigger instead of capture."""

    queue: float
    """From capture to the start of the work."""
    preprocess: float
    invoke: float
    total: float
    """From capture to the verdict."""


class Finding(Struct, kw_only=True):
    """Something found in a part, where the task says where."""

    label: str | None = None
    score: float | None = None
    box: tuple[int, int, int, int] | None = None
    """x, y, width, height in pixels of the source frame, before any region of interest."""


class Evidence(Struct, kw_only=True):
    """A file kept beside the verdict."""

    kind: str
    name: str
    sha256: str


class Result(Struct, kw_only=True):
    """One verdict for one part. (site, station, boot, stream, seq) is its key."""

    schema: Literal["lineside.result/1"] = "lineside.result/1"
    site: Name
    station: Name
    stream: Name
    boot: str
    """A UUID made anew at each start of the agent."""
    seq: Annotated[int, Meta(ge=1)]
    """Counts up from 1 without a gap within a boot and a stream."""
    part: Part
    trigger: Trigger
    captured_at: datetime | None
    """UTC; null if there is no frame. For people: see `clock_synced`."""
    clock_synced: bool
    """Whether the station's clock was set by a time server."""
    inputs: list[Input]
    task: str
    verdict: Verdict
    reasons: list[str]
    """Why, such as `score>=ng`; never empty."""
    label: str | None
    score: Score | None
    """The defect score; higher is worse."""
    limits: Limits
    scores: list[tuple[str, float]]
    """The five most probable labels."""
    findings: list[Finding] = []
    models: list[ModelRef]
    latency_ms: Latency
    evidence: list[Evidence] = []


class Ledger(Struct, kw_only=True):
    """What a station still holds of one boot and stream, and how far it has published."""

    boot: str
    stream: Name
    first: int
    """The oldest sequence number that is kept."""
    last: int
    """The newest that was given."""
    published_through: int
    """Everything up to here is done: the broker confirmed it or, where `delivery` is unconfirmed,
    acknowledged it. What a subscriber does not have of it is missing."""


class Status(Struct, kw_only=True):
    """Whether a station is there. Retained; the last will is one of these too."""

    schema: Literal["lineside.status/1"] = "lineside.status/1"
    site: Name
    station: Name
    boot: str
    state: Literal["online", "offline", "degraded"]
    reasons: list[str] = []
    """Why it is degraded (`camera_starting:CAMERA`: no frame yet; `camera_lost:CAMERA`,
    `camera_fault:CAMERA:FAULT`, `stream_failed:STREAM`, `outbox:WHY`, `results_refused:WHY`,
    `events_refused:WHY`, `model_fallback:MODEL`, `no_model:MODEL`, `paused:STREAM`) or offline
    (`stopped`, `connection_lost`)."""
    delivery: Literal["confirmed", "unconfirmed"] = "confirmed"
    """`unconfirmed`: over MQTT 3.1.1 and the station can't hear its own results back."""
    version: str
    models: list[LoadedModel] = []
    ledger: list[Ledger] = []


class StreamHealth(Struct, kw_only=True):
    """How one stream is doing."""

    stream: Name
    results: int
    """Since the agent started."""
    dropped_frames: int
    """Frames of a live camera that were replaced by a newer one before they were looked at."""
    overflows: int = 0
    """Parts that came while too many waited already: each is a `no_read`."""
    faults: dict[str, int] = {}
    """How many frames could not be trusted, by why, such as `stale`."""
    rate_hz: float
    """Results a second since the last health message."""
    camera: str
    """`ok`, `lost` or `ended`."""
    findings: list[str] = []
    """What lasts that is wrong with its pictures: `black`, `overexposed`, `frozen`, `blurred`,
    `moved`."""


class Health(Struct, kw_only=True):
    """How a station is doing, every few seconds."""

    schema: Literal["lineside.health/1"] = "lineside.health/1"
    site: Name
    station: Name
    boot: str
    uptime_s: float
    streams: list[StreamHealth]
    outbox_pending: int
    """Results that the broker has not confirmed yet."""
    disk_free_mb: float
    """Where the outbox is, in 1,000,000 bytes."""
    cpu_temperature_c: float | None
    throttled: list[str] = []
    """Why the device is slower than it could be just now, where it tells: `under_voltage`…"""
    clock_synced: bool
    xnnpack: dict[str, bool]
    """For each model: whether XNNPACK runs it. Without it, int8 answers may differ."""


class Event(Struct, kw_only=True):
    """Something that happened at a station."""

    schema: Literal["lineside.event/1"] = "lineside.event/1"
    site: Name
    station: Name
    boot: str
    at: datetime
    kind: str
    """`started`, `stopped`, `cut_off` (the run before ended without a stop), `camera_lost`,
    `camera_back`, `camera_fault` (its pictures are black, over-exposed, frozen, blurred or moved),
    `camera_fault_over`, `results_refused`, `results_lost`, `outbox_failed`, `outbox_back`,
    `outbox_quarantined`, `broker_fault`, `model_changed`, `model_refused`, `model_taken_back`,
    `model_store_failed`, `limits_changed`, `checked`; others may come."""
    message: str
    """One sentence for a person."""
    details: dict[str, Any] = {}


Message = Result | Status | Health | Event | Response
KINDS: Final[dict[str, type[Message]]] = {
    "result": Result,
    "status": Status,
    "health": Health,
    "event": Event,
    "response": Response,
}
"""The message that each kind of topic carries."""

_DECODERS: Final = {kind: msgspec.json.Decoder(struct) for kind, struct in KINDS.items()}
_ENCODER: Final = msgspec.json.Encoder()


def encode(message: Message) -> bytes:
    """The message as JSON, UTF-8."""
    return _ENCODER.encode(message)


def decode(kind: str, payload: bytes) -> Message:
    """Read the payload of a topic of `kind`.

    Raises:
        MessageError: the kind carries no message of a station, the payload is too long, is not
            JSON, or is not what its schema says.
    """
    decoder = _DECODERS.get(kind)
    if decoder is None:
        msg = f"message kind {kind!r} is refused: one of {', '.join(KINDS)} is expected"
        raise MessageError(msg)
    if len(payload) > MAX_MESSAGE_BYTES:
        msg = f"{kind} of {len(payload)} bytes is refused: at most {MAX_MESSAGE_BYTES}"
        raise MessageError(msg)
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{kind} is refused: {error}"
        raise MessageError(msg) from error
