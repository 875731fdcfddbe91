"""The agent: all parts of a station, started, watched and stopped."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lineside.errors import CameraError, StorageError
from lineside.extras import require
from lineside.settings import Settings
from lineside_agent.sources import Source, make_source
from lineside_agent.station import Station
from lineside_agent.supervision import Notifier

log = logging.getLogger(__name__)

BEAT_S: Final = 0.1
"""Seconds between two looks of the main loop."""

SAY_S: Final = 10.0
"""Seconds between two lines about what is being waited for."""


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
        vitals = Path(settings.outbox.path).parent / "vitals"
        self._sources = {
            camera.name: given.get(camera.name) or make_source(camera, vitals=vitals)
            for camera in settings.camera
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
            InputError: a key that is trusted can't be read.
            MissingExtraError: no engine is installed, or `cryptography` where a key is trusted.
            CameraError: a finite source is not there, or failed before its end.
            StorageError: the outbox is used by another agent, or at the end results could not
                be written.
        """
        # Before any child is started: it would inherit whom to notify.
        notifier = Notifier.from_environment()
        with contextlib.ExitStack() as opened:
            # Cameras open while models load: both take their time.
            for name in dict.fromkeys(stream.camera for stream in self._settings.stream):
                opened.callback(self._sources[name].close)
                self._sources[name].open()
            # Streams share the cores: OpenCV's own threads would only wait for each other.
            require("cv2", extra="runtime").setNumThreads(1)
            station = Station(self._settings, self.boot, self._sources, notifier)
            station.open()
            opened.pop_all()
        try:
            station.start()
            self._watch(station)
        except BaseException:
            self._hurry.set()
            raise
        finally:
            self._shut_down(station)
        failed = next((stream.failure for stream in station.streams if stream.failure), None)
        if failed is not None:
            raise CameraError(failed)

    def _watch(self, station: Station) -> None:
        """Until there is nothing more to look at, or somebody asks to stop."""
        while not self._stopping.wait(BEAT_S):
            station.tick()
            if all(stream.ended for stream in station.streams):
                return

    def _shut_down(self, station: Station) -> None:
        """Finish what is in hand, publish what is left, and say goodbye.

        Raises:
            StorageError: results are left that could not be written.
        """
        keeper, client = station.keeper, station.client
        written = False
        try:
            station.rest(self._stopped_by)
            self._drain(station)
        finally:  # whatever failed, what is in memory goes to disk, and the broker hears of it
            try:
                written = keeper.stop()
            finally:
                station.close()
        left = keeper.pending
        if not written:
            msg = f"{keeper.waiting} messages could not be written and are lost: {keeper.problem}"
            raise StorageError(msg)
        if left:
            log.warning(
                "%d messages wait in %s for the next start: %s",
                left,
                self._settings.outbox.path,
                client.error or "there was no time to publish them",
            )

    def _drain(self, station: Station) -> None:
        """Wait for the broker to take what is left.

        At a stop that was asked for, for `outbox.drain_s` at most; where all sources have ended,
        as long as it takes, or until somebody asks to stop.
        """
        keeper, client = station.keeper, station.client
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
            station.tick()
            self._hurry.wait(0.02)
