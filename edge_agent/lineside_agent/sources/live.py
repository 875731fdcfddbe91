"""A live camera: its newest frame, read by a process of its own, and a connection that heals."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import ClassVar

from typing_extensions import override

from lineside.errors import CameraError
from lineside.image import Frame
from lineside_agent.capture.channel import Channel, ChannelEndedError
from lineside_agent.capture.supervisor import Supervisor
from lineside_agent.capture.wire import Header, Order
from lineside_agent.sources.base import Shot, Source, State
from lineside_agent.vitals import Kind


class LiveSource(Source):
    """A camera that does not wait, of one of the kinds in `lineside_agent.capture.BACKENDS`.

    Its frames are views into memory that is shared with the camera's process, and stay as they
    are until the next `take`. A frame that is flagged has no pixels.

    Args:
        order: what its process shall do.
        max_delay_ms: how much later than its capture a frame with the stamp `read` may be read.
    """

    finite: ClassVar[bool] = False

    def __init__(self, order: Order, *, max_delay_ms: float = 0.0) -> None:
        super().__init__(order.camera, order.where, rate=order.rate)
        self.max_delay_ms = max_delay_ms
        self.scheme = order.scheme
        self._order = order
        self._dropped_before = 0
        self._supervisor: Supervisor | None = None
        self._renewed = threading.Condition()
        self._new: Channel | None = None
        self._channel: Channel | None = None

    @property
    @override
    def state(self) -> State:
        return "lost" if self.trouble else "ok"

    @property
    @override
    def starting(self) -> bool:
        return not self.moved and self.trouble is None

    @property
    @override
    def trouble(self) -> str | None:
        supervisor = self._supervisor
        return f"camera {self.name!r} is not open" if supervisor is None else supervisor.trouble

    @property
    @override
    def findings(self) -> Mapping[Kind, str]:
        return {} if self._supervisor is None else self._supervisor.findings

    @property
    @override
    def failures(self) -> int:
        return 0 if self._supervisor is None else self._supervisor.failures

    @property
    @override
    def moved(self) -> int:
        supervisor = self._supervisor
        return 0 if supervisor is None else supervisor.failures + supervisor.last_good_ns

    @property
    @override
    def controls(self) -> Mapping[str, float]:
        return {} if self._supervisor is None else self._supervisor.controls

    @property
    def pid(self) -> int | None:
        """The process that reads the camera; None while there is none."""
        return None if self._supervisor is None else self._supervisor.pid

    @override
    def _open(self) -> None:
        # A camera that is not there yet is no reason to wait or to fail.
        self._supervisor = Supervisor(self._order, self._renew)
        self._supervisor.start()

    def _renew(self, channel: Channel) -> None:
        """Take over the frames of a new process; on the supervisor's thread."""
        with self._renewed:
            unseen, self._new = self._new, channel
            self._renewed.notify()
            if unseen is not None:
                unseen.close()
                self._dropped_before += unseen.dropped

    @override
    def _take(self, timeout_s: float) -> Shot | None:
        until = time.monotonic() + timeout_s
        while True:
            left = max(0.0, until - time.monotonic())
            channel = self._channel or self._next_channel(left)
            if channel is None:
                return None
            try:
                channel.allow(self.reduce)
                taken = channel.take(left)
            except ChannelEndedError:
                self._forget(channel)
            except CameraError as error:
                if self._supervisor is not None:
                    self._supervisor.refuse(str(error))
                self._forget(channel)
            else:
                self.dropped = self._dropped_before + channel.dropped
                if taken is not None and taken[0].reduced > self.reduce:
                    self._dropped_before += 1  # decoded for another model, and too small for this
                    continue
                return None if taken is None else _shot(*taken)

    def _next_channel(self, timeout_s: float) -> Channel | None:
        """The frames of a new process; None if none is started within the time."""
        with self._renewed:
            self._renewed.wait_for(lambda: self._new is not None, timeout_s)
            self._channel, self._new = self._new, None
            return self._channel

    def _forget(self, channel: Channel) -> None:
        """Drop the frames of a process that has ended."""
        channel.close()
        self._dropped_before += channel.dropped
        self.dropped = self._dropped_before
        self._channel = None

    @override
    def _close(self) -> None:
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.stop()
        for channel in (self._channel, self._new):
            if channel is not None:
                self._forget(channel)
        self._new = None


def _shot(header: Header, frame: Frame | None) -> Shot:
    captured_at = datetime.fromtimestamp(header.wall_ns / 1e9, timezone.utc)
    return Shot(
        frame,
        header.mono_ns,
        captured_at,
        problem=header.flagged,
        stamp=header.stamp,
        flagged=header.flagged,
        frame_id=header.frame_id,
        doubt=header.doubt,
        reduced=header.reduced,
        whole=header.whole,
    )
