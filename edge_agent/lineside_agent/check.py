"""`lineside agent check`: what is right and what is wrong with a station, tried for real."""

from __future__ import annotations

import os
import queue
import shutil
import socket
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from msgspec import structs

from lineside.bundle import Bundle
from lineside.errors import BrokerError, CameraError, LinesideError
from lineside.files import storage_error
from lineside.image import check_frame, is_enough, largest_reduction
from lineside.inspector import Inspector
from lineside.manifest import Manifest
from lineside.messages import Event, encode
from lineside.mqtt import Delivery, MqttClient, Outgoing
from lineside.runtime.trial import load_bundle
from lineside.settings import CameraSettings, ModelSettings, Settings, StreamSettings
from lineside.signature import SIGNATURE
from lineside.topics import Topics
from lineside_agent.models.loading import read_trust
from lineside_agent.sources import EndOfSourceError, Shot, Source, make_source
from lineside_agent.supervision.metrics import ADDRESS

FRAME_S: Final = 12.0
"""Seconds that a camera may take to give its first frame."""

LOOK_S: Final = 2.0
"""Seconds for which a live camera's pictures are looked at: a fault takes one to be one."""

BROKER_S: Final = 12.0
"""Seconds that the broker may take to accept the connection, and again a message."""


@dataclass(frozen=True)
class Finding:
    """One thing that was tried.

    Attributes:
        what: such as `camera cam0`.
        ok: whether it is right.
        line: what was found, or what is wrong and the way out.
        note: whether it is neither right nor wrong, but must be known.
    """

    what: str
    ok: bool
    line: str
    note: bool = False


def check_station(settings: Settings, *, broker: bool = True) -> Iterator[Finding]:
    """Try all that a station needs, one thing after the other.

    Args:
        settings: of the station.
        broker: whether to try the broker too.
    """
    inspectors: dict[str, Inspector] = {}
    for model in settings.model:

        def load() -> str:
            inspector = inspectors[model.name] = _load(model)  # noqa: B023 - called at once
            manifest, engine = inspector.bundle.manifest, inspector.engine
            count = len(manifest.golden)
            return (
                f"{manifest.name} {manifest.version} on {engine.name} {engine.version}, "
                f"{'with' if engine.xnnpack else 'without'} XNNPACK, {count} golden images pass, "
                f"{_signed(inspector.bundle)}"
            )

        yield _try(f"model {model.name}", load)
        if model.name in inspectors:
            for remark in inspectors[model.name].bundle.manifest.remarks:
                yield Finding(f"model {model.name}", ok=True, line=remark, note=True)
    cameras = {camera.name: camera for camera in settings.camera}
    for stream in settings.stream:
        camera, looks = cameras[stream.camera], inspectors.get(stream.model)
        yield _try(
            f"camera {stream.camera}",
            lambda: _camera(camera, looks, stream),  # noqa: B023 - called at once
        )
    yield _try("outbox", lambda: _outbox(Path(settings.outbox.path)))
    if settings.metrics.port:
        yield _metrics(settings.metrics.port)
    if broker:
        yield _try("broker", lambda: _broker(settings))


def _try(what: str, work: Callable[[], str]) -> Finding:
    try:
        return Finding(what, ok=True, line=work())
    except LinesideError as error:
        return Finding(what, ok=False, line=str(error))


def _load(model: ModelSettings) -> Inspector:
    return load_bundle(Path(model.bundle), threads=model.threads, trust=read_trust(model))


def _signed(bundle: Bundle) -> str:
    """Whether the bundle is known to be by whom it should be."""
    if bundle.signed_by is not None:
        return f"signed by {bundle.signed_by}"
    return (
        "not checked who signed it: no trust is set" if SIGNATURE in bundle.files else "not signed"
    )


def _camera(camera: CameraSettings, inspector: Inspector | None, stream: StreamSettings) -> str:
    """Take some frames, and look at one of them where there is a model."""
    shot, pictures = _shots(camera)
    if shot.frame is None:
        msg = f"camera {camera.name!r}: {shot.part_id or 'its frame'} can't be read: {shot.problem}"
        raise CameraError(msg)
    height, width = check_frame(shot.frame).shape[:2]
    line = f"gives frames of {width}x{height} pixels{pictures}"
    if inspector is None:
        return line
    found = inspector.inspect(shot.frame, camera.roi, shot.reduced)
    line = f"{line}; stream {stream.name} says {found.answer.verdict} of one"
    looked_at = (height, width) if camera.roi is None else (camera.roi[3], camera.roi[2])
    return f"{line}{_too_few(inspector.bundle.manifest, looked_at)}"


def _too_few(manifest: Manifest, picture: tuple[int, int]) -> str:
    """That too few pixels are left of a picture, of this height and width, once it is reduced."""
    spec, size = manifest.preprocess, manifest.input_size
    reduce = spec.decode.reduce
    seen = picture if spec.crop is None else (spec.crop[3], spec.crop[2])
    if reduce == 1 or is_enough(seen, reduce, spec.resize, size):
        return ""
    height, width = (-(-side // reduce) for side in seen)
    best = largest_reduction([picture], spec, size)
    return (
        f"; its model was trained with --reduce {reduce}: that leaves {width}x{height} "
        f"pixels of what it looks at, less than its {size[1]}x{size[0]}; --reduce {best} would do"
    )


def _shots(camera: CameraSettings) -> tuple[Shot, str]:
    """A frame of a camera, one that can be trusted if there is one, and what its pictures are like.

    Raises:
        CameraError: there is none, or none whose picture can be trusted.
    """
    source = make_source(camera)
    try:
        source.open()
        until = time.monotonic() + FRAME_S
        while time.monotonic() < until:
            shot = source.take(0.2)
            if shot is not None:
                return (shot, "") if source.finite else _look(source, camera, shot)
            if source.trouble is not None:
                raise CameraError(source.trouble)
    except EndOfSourceError as error:
        msg = f"camera {camera.name!r} gives no frame"
        raise CameraError(msg) from error
    finally:
        source.close()
    msg = f"camera {camera.name!r} gave no frame within {FRAME_S:g} s"
    raise CameraError(msg)


def _look(source: Source, camera: CameraSettings, first: Shot) -> tuple[Shot, str]:
    """Look at a live camera's pictures for a while.

    Raises:
        CameraError: none can be trusted, though nothing says that this is meant so; or a fault
            lasts.
    """
    chosen: Shot | None = None
    doubts: Counter[str | None] = Counter()
    shot: Shot | None = first
    until = time.monotonic() + LOOK_S
    while time.monotonic() < until:
        if shot is not None and shot.frame is not None:
            doubts[shot.doubt] += 1
            if chosen is None or (chosen.doubt is not None and shot.doubt is None):
                # A frame is a view, until the next one is taken.
                chosen = structs.replace(shot, frame=shot.frame.copy())
        shot = source.take(0.2)
    found = [f"{kind}: {seen}" for kind, seen in source.findings.items()]
    pictures, trusted = doubts.total(), doubts.pop(None, 0)
    said = [f"{count} of {pictures} are {kind}" for kind, count in doubts.items()]
    if found or (said and not trusted and set(doubts) <= set(camera.looked_for)):
        msg = f"camera {camera.name!r}: its pictures are {'; '.join(found or said)}"
        raise CameraError(msg)
    return chosen or first, f", of which {', '.join(said)}" if said else ""


def _outbox(path: Path) -> str:
    """Write beside the outbox. It is not opened: the agent may be running."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent) as file:
            file.write(b"\0" * 4096)
        free = shutil.disk_usage(path.parent).free / 1e6
    except OSError as error:
        raise storage_error(error, path) from error
    return f"{path.parent} can be written, {free:,.0f} MB are free"


def _metrics(port: int) -> Finding:
    """Whether the page can be served: it must not be in use, but by this station's own agent."""
    try:
        with socket.create_server((ADDRESS, port)):
            return Finding("metrics", ok=True, line=f"port {port} of {ADDRESS} is free")
    except OSError as error:
        line = (
            f"port {port} of {ADDRESS} can't be had ({os.strerror(error.errno or 0)}): unless this "
            "station's own agent has it, there will be no page; choose another metrics.port"
        )
        return Finding("metrics", ok=True, line=line, note=True)


def _broker(settings: Settings) -> str:
    """Connect, and publish an event.

    Raises:
        BrokerError: that fails.
    """
    station, mqtt = settings.station, settings.mqtt
    # A name of its own: that of the agent would end the running agent's connection.
    topics = Topics(station.site, station.name, mqtt.prefix)
    client = MqttClient(mqtt, f"{topics.client_id}::check")  # no station's: no name is empty
    client.start()
    try:
        if not client.wait_connected(BROKER_S, attempts=1):
            raise BrokerError(client.error)
        event = Event(
            site=station.site,
            station=station.name,
            boot=str(uuid.uuid4()),
            at=datetime.now(timezone.utc),
            kind="checked",
            message="the configuration was checked",
        )
        answers: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        topic = topics.event()
        client.publish(Outgoing(topic, encode(event), on_done=answers.put))
        try:
            delivery = answers.get(timeout=BROKER_S)
        except queue.Empty:
            delivery = Delivery(ok=False, reason=client.error or "no answer")
    finally:
        client.stop()
    if not delivery.ok:
        msg = f"broker {client.address} does not take messages on {topic}: {delivery.reason}"
        raise BrokerError(msg)
    return f"{client.address} accepts us and our messages over MQTT {mqtt.protocol}"
