"""The agent's end of a camera's frames, against a child that this test plays itself."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineside.errors import CameraError
from lineside.image import Preprocess, to_tensor
from lineside_agent.capture import memory
from lineside_agent.capture.channel import Channel, ChannelEndedError
from lineside_agent.capture.supervisor import Supervisor
from lineside_agent.capture.wire import END, REDUCE, Header, Order, encode
from tests.support.broker import wait_for
from tests.support.line import gone, plain_pictures


class Child:
    """Writes what it is told to, right or wrong."""

    def __init__(self) -> None:
        shared = memory.create()
        mine, self.socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.frames = memory.Frames(shared, writable=True)
        self.channel = Channel(mine, memory.Frames(shared, writable=False))
        os.close(shared)
        self._sent = 0

    def send(self, to: int, value: int = 0, **header: Any) -> None:  # noqa: ANN401 - a field
        self._sent += 1
        self.frames.frame(to, 48, 64)[:] = value
        self.frames.words[memory.Word.SENT] = self._sent
        fields = {"number": self._sent, "slot": to, "height": 48, "width": 64, "mono_ns": 1}
        known = {**fields, "wall_ns": 1, "stamp": "driver", "frame_id": None, "flagged": None}
        self.socket.send(encode(list({**known, **header}.values())))

    def returned(self) -> list[int]:
        """The slots that came back."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(1, socket.MSG_DONTWAIT)[0])
            except BlockingIOError:  # noqa: PERF203 - that is how it ends
                return found


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.channel.close()
    child.socket.close()


def test_the_newest_is_taken_and_the_others_go_back_at_once(child: Child) -> None:
    assert child.channel.take(0.01) is None
    for slot in range(3):
        child.send(slot, 10 * slot)
    taken = child.channel.take(0.0)
    assert taken is not None
    header, frame = taken
    assert isinstance(header, Header)
    assert frame is not None
    assert (header.slot, frame[5, 5, 1], child.channel.dropped) == (2, 20, 2)
    assert child.returned() == [0, 1]
    child.send(0, 40)
    assert child.returned() == []  # what is held is not given back
    assert frame[5, 5, 1] == 20
    child.channel.take(0.0)
    assert child.returned() == [2]


def test_what_nobody_took_is_counted_at_the_end(child: Child) -> None:
    child.send(0)
    assert child.channel.take(0.0) is not None
    child.send(1)
    child.send(2)
    child.channel.close()
    assert child.channel.dropped == 2


def test_frames_that_were_sent_before_the_child_died_are_taken_first(child: Child) -> None:
    child.send(1, 9)
    child.socket.close()
    taken = child.channel.take(0.0)
    assert taken is not None
    assert taken[0].slot == 1
    with pytest.raises(ChannelEndedError):
        child.channel.take(0.0)


def test_a_flagged_frame_has_no_pixels(child: Child) -> None:
    child.send(0, 9, flagged="driver: the frame is marked as damaged")
    taken = child.channel.take(0.0)
    assert taken is not None
    assert taken[1] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"slot": 3},
        {"slot": -1},
        {"height": 0},
        {"height": 5000, "width": 5001},
        {"width": -64},
        {"stamp": "guessed"},
        {"mono_ns": "yesterday"},
    ],
)
def test_a_child_that_says_what_it_may_not(child: Child, wrong: dict[str, Any]) -> None:
    child.send(0, **wrong)
    with pytest.raises(CameraError, match="the capture process said what it may not"):
        child.channel.take(0.0)


def test_a_child_that_is_refused_is_killed_and_replaced(tmp_path: Path) -> None:
    folder = plain_pictures(tmp_path / "line", 1)
    order = Order(camera="cam0", scheme="line", where=str(folder), rate=25.0, controls={})
    channels: list[Channel] = []
    supervisor = Supervisor(order, channels.append)
    supervisor.start()
    wait_for(lambda: supervisor.last_good_ns > 0)
    first = supervisor.pid
    assert first is not None
    supervisor.refuse("it said what it may not")
    wait_for(lambda: supervisor.trouble == "camera 'cam0': it said what it may not")
    assert gone(first)
    wait_for(lambda: supervisor.trouble is None)
    assert supervisor.pid != first
    supervisor.stop()
    for channel in channels:
        channel.close()


def test_a_frame_that_cannot_be_written_to_becomes_a_tensor(child: Child) -> None:
    child.send(0, 77)
    taken = child.channel.take(0.0)
    assert taken is not None
    assert taken[1] is not None
    assert not taken[1].flags.writeable
    tensor = to_tensor(taken[1], Preprocess(crop=(8, 8, 32, 32)), (16, 16))
    assert (tensor == 77).all()
    assert isinstance(tensor, np.ndarray)


def test_the_child_is_asked_to_end(child: Child) -> None:
    child.channel.ask_to_end()
    assert child.socket.recv(1) == END
    child.socket.close()
    child.channel.ask_to_end()  # nobody is there any more


def test_the_child_is_told_once_how_far_it_may_reduce(child: Child) -> None:
    for reduce in (1, 4, 4, 4, 1, 8):
        child.channel.allow(reduce)
    assert child.returned() == [REDUCE + 4, REDUCE + 1, REDUCE + 8]


def test_a_header_says_how_far_its_frame_is_reduced(child: Child) -> None:
    child.send(0, doubt=None, reduced=4, whole=(190, 255))
    taken = child.channel.take(0.0)
    assert taken is not None
    assert (taken[0].reduced, taken[0].whole) == (4, (190, 255))
    child.send(1, doubt=None, reduced=3, whole=(190, 255))
    with pytest.raises(CameraError, match="said what it may not: Invalid enum value 3"):
        child.channel.take(0.0)
