"""The agent: streams, keeper, publisher and MQTT client, started, watched and stopped."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from lineside.errors import CameraError, LinesideError, StorageError
from lineside.inspector import Inspector
from lineside.keys import read_public_key
from lineside.mqtt import Hooks, MqttClient
from lineside.runtime.trial import load_bundle
from lineside.settings import ModelSettings, Settings
from lineside.topics import Topics
from lineside_agent.assemble import Context
from lineside_agent.keeper import Keeper
from lineside_agent.publisher import Publisher
from lineside_agent.sources import Source, make_source
from lineside_agent.stream import Stream
from lineside_agent.voice import Voice

log = logging.getLogger(__name__)

BEAT_S: Final = 0.1
"""Seconds between two looks of the main loop."""

SAY_S: Final = 10.0
"""Seconds between two lines about what is being waited for."""


def load_model(model: ModelSettings) -> Inspector:
    """Open a station's bundle, try it in a child process, and load it.

    Raises:
        InputError: the key that is trusted can't be read.
        LinesideError: as `lineside.runtime.trial.load_bundle` says.
    """
    trust = read_public_key(Path(model.trust)) if model.trust else None
    return load_bundle(Path(model.bundle), threads=model.threads, trust=trust)


class Agent:
    """A station's agent, from start to stop.

    Args:
        settings: of the station.
        sources: sources to use instead of what the settings name, by camera; for tests and for
            trying things out: see `lineside_agent.sources.memory`.

    Attributes:
        boot: the UUID of this start.
    """

    def __init__(self, settings: Settings, *, sources: Mapping[str, Source] | None = None) -> None:
        self.boot = str(uuid.uuid4())
        self._settings = settings
        self._stopping = threading.Event()
        self._hurry = threading.Event()
        self._stopped_by = "its sources have ended"
        given = sources or {}
        self._sources = {
            camera.name: given.get(camera.name) or make_source(camera) for camera in settings.camera
        }

    def stop(self, why: str) -> None:
        """Ask the agent to stop; asked twice, it does not wait for the broker any more.

        May be called from a signal handler.
        """
        if self._stopping.is_set():
            self._hurry.set()
        self._stopped_by = why
        self._stopping.set()

    def run(self) -> None:
        """Run until all sources have ended or `stop` is called, then publish what is left.

        Raises:
            BundleError: a bundle is refused.
            EngineError: a model does not load, run or answer as it must.
            CameraError: a finite source is not there, or failed before its end.
            StorageError: the outbox is used by another agent, or at the end results could not
                be written.
        """
        mqtt, station = self._settings.mqtt, self._settings.station
        echo = mqtt.protocol == "3.1.1"
        topics = Topics(station.site, station.name, mqtt.prefix)
        client = MqttClient(
            mqtt,
            f"lineside-{station.site}-{station.name}",
            subscriptions=Publisher.subscriptions(topics) if echo else (),
        )
        publisher = Publisher(client.publish, topics, echo=echo)
        names = [stream.name for stream in self._settings.stream]
        keeper = Keeper(self._settings.outbox, station, self.boot, publisher, names)
        streams = self._make_streams(keeper)
        voice = Voice(
            self._settings,
            self.boot,
            streams=streams,
            keeper=keeper,
            publisher=publisher,
            send=client.publish,
        )
        hooks = Hooks(
            on_connect=voice.greet,
            on_subscribed=publisher.on_subscribed,
            on_message=publisher.on_message,
            on_disconnect=publisher.on_disconnect,
        )
        try:
            for stream in streams:
                stream.open()
            keeper.start()
        except LinesideError:
            for stream in streams:
                stream.stop()
            raise
        try:
            keeper.event("started", f"the agent has started: {', '.join(names)}")
            client.start(hooks, will=voice.will)
            for stream in streams:
                stream.start()
            self._watch(streams, voice, client)
        except BaseException:
            self._hurry.set()
            raise
        finally:
            self._shut_down(streams, keeper, voice, client)
        failed = next((stream.failure for stream in streams if stream.failure), None)
        if failed is not None:
            raise CameraError(failed)

    def _make_streams(self, keeper: Keeper) -> list[Stream]:
        """Load what each stream needs."""
        models = {model.name: model for model in self._settings.model}
        cameras = {camera.name: camera for camera in self._settings.camera}
        streams = []
        for stream in self._settings.stream:
            inspector = load_model(models[stream.model])
            for remark in inspector.bundle.manifest.remarks:
                log.warning("stream %s, model %s: %s", stream.name, stream.model, remark)
            context = Context.of(
                inspector,
                station=self._settings.station,
                boot=self.boot,
                stream=stream.name,
                camera=stream.camera,
                roi=cameras[stream.camera].roi,
            )
            source = self._sources[stream.camera]
            streams.append(Stream(context, source, stream.trigger, inspector, keeper.put))
        return streams

    def _watch(self, streams: Sequence[Stream], voice: Voice, client: MqttClient) -> None:
        """Until there is nothing more to look at, or somebody asks to stop."""
        while not self._stopping.wait(BEAT_S):
            voice.tick(connected=client.connected)
            if all(stream.ended for stream in streams):
                return

    def _shut_down(
        self, streams: Sequence[Stream], keeper: Keeper, voice: Voice, client: MqttClient
    ) -> None:
        """Finish what is in hand, publish what is left, and say goodbye.

        Raises:
            StorageError: results are left that could not be written.
        """
        for stream in streams:
            stream.stop()
        keeper.event("stopped", f"the agent stops: {self._stopped_by}")
        self._drain(keeper, voice, client)
        written = keeper.stop()
        if client.connected:
            voice.goodbye()
        client.stop()
        left = keeper.pending
        if not written:
            msg = f"{keeper.waiting} results could not be written and are lost: {keeper.problem}"
            raise StorageError(msg)
        if left:
            log.warning(
                "%d messages wait in %s for the next start: %s",
                left,
                self._settings.outbox.path,
                client.error or "there was no time to publish them",
            )

    def _drain(self, keeper: Keeper, voice: Voice, client: MqttClient) -> None:
        """Wait for the broker to take what is left.

        At a stop that was asked for, for `outbox.drain_s` at most; where all sources have ended,
        as long as it takes, or until somebody asks to stop.
        """
        said_at = time.monotonic()
        asked_at: float | None = None
        while keeper.pending and not self._hurry.is_set():
            now = time.monotonic()
            if self._stopping.is_set():
                asked_at = now if asked_at is None else asked_at
                if now - asked_at >= self._settings.outbox.drain_s:
                    return
            if now - said_at >= SAY_S:
                said_at = now
                log.info("%d messages wait for %s", keeper.pending, client.error or "the broker")
            voice.tick(connected=client.connected)
            self._hurry.wait(0.02)
