"""From the agent's wish to a header: a child that reads a Motion JPEG camera, in a thread."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from typing_extensions import override

from lineside.image import Decode, Frame, Reduction, decode
from lineside.jpeg import decode_strict, jpeg_size
from lineside_agent.capture import BACKENDS, Kind, memory
from lineside_agent.capture.backend import Backend, Grab, Room
from lineside_agent.capture.channel import Channel
from lineside_agent.capture.child import Child, EndError
from lineside_agent.capture.wire import Header, Order
from lineside_agent.sources.live import LiveSource
from tests.support.broker import wait_for
from tests.support.pictures import colourful, photo

pytest.importorskip("simplejpeg", reason="strict JPEG needs the extra agent")

JPEG = photo(colourful(121, 163), "JPEG")
ORDER = Order(camera="cam0", scheme="jpegs", where="", rate=0.0, controls={})


class Jpegs(Backend):
    """A camera that sends the same JPEG again, a hundred times a second."""

    @override
    def open(self) -> None:
        self._number = 0

    @override
    def grab(self) -> Grab:
        threading.Event().wait(0.01)
        self._number += 1
        return Grab(self._number, "read", self._number)

    @override
    def fill(self, room: Room) -> Frame:
        self.whole = None if self.reduce == 1 else jpeg_size(JPEG)
        return decode_strict(JPEG, room=room, reduce=self.reduce)

    @override
    def close(self) -> None:
        pass


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Channel]:
    monkeypatch.setitem(BACKENDS, "jpegs", Kind(f"{__name__}:Jpegs", max_delay_ms=0.0))
    shared = memory.create()
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    words, its_words = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    unread = mine.dup()
    child = Child(
        ORDER,
        frames=its,
        unread=unread,
        words=its_words,
        memory=memory.Frames(shared, writable=True),
    )

    def run() -> None:
        with contextlib.suppress(EndError):
            child.run()

    thread = threading.Thread(target=run)
    thread.start()
    channel = Channel(mine, memory.Frames(shared, writable=False))
    yield channel
    channel.ask_to_end()
    thread.join(10.0)
    assert not thread.is_alive()
    channel.close()
    for one in (its, unread, words, its_words):
        one.close()
    os.close(shared)


def next_of(channel: Channel, reduced: Reduction) -> tuple[Header, Frame]:
    """The first frame that is reduced so far."""
    found: list[tuple[Header, Frame]] = []

    def came() -> bool:
        taken = channel.take(0.5)
        if taken is not None and taken[0].reduced == reduced and taken[1] is not None:
            found.append((taken[0], taken[1]))
        return bool(found)

    wait_for(came)
    return found[0]


@pytest.mark.parametrize("reduce", [8, 2])
def test_frames_are_reduced_once_that_is_allowed_and_whole_again(
    channel: Channel, reduce: Reduction
) -> None:
    header, frame = next_of(channel, 1)
    assert (header.whole, frame.shape) == (None, (121, 163, 3))
    channel.allow(reduce)
    header, frame = next_of(channel, reduce)
    assert np.array_equal(frame, decode(JPEG, Decode(reduce)))
    assert header.whole == (121, 163)
    channel.allow(1)
    header, frame = next_of(channel, 1)
    assert np.array_equal(frame, decode(JPEG))


def test_a_source_gives_no_frame_that_is_too_small_for_who_looks_now(channel: Channel) -> None:
    source = LiveSource(ORDER)
    source._renew(channel)  # noqa: SLF001 - as its supervisor does
    source.reduce = 8
    wait_for(lambda: (shot := source.take(0.5)) is not None and shot.reduced == 8)
    source.reduce = 2
    shots = [shot for _ in range(10) if (shot := source.take(0.5)) is not None]
    assert shots
    assert {shot.reduced for shot in shots} <= {1, 2}
    assert shots[-1].reduced == 2
    assert shots[-1].size == (121, 163)
