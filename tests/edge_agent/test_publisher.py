"""The publisher alone: what it holds is what is on disk, or says that it is not."""
# ruff: noqa: SLF001 - what it holds is tested

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.mqtt import Delivery, Incoming, Outgoing
from lineside.settings import OutboxSettings
from lineside.topics import Topics
from lineside_agent.housekeeping import Housekeeping
from lineside_agent.outbox import Outbox
from lineside_agent.publisher import WINDOW, Publisher
from lineside_agent.records import EVENTS, Entry, Row, State
from lineside_agent.room import Room
from lineside_agent.underway import Gate

TOPICS = Topics("ulm", "press4")
OK = Delivery(ok=True, reason="Success")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.sqlite", "boot-1")
    yield outbox
    outbox.close(clean=True)


def test_events_that_go_from_disk_are_held_no_more(outbox: Outbox, tmp_path: Path) -> None:
    """Otherwise the publisher waits for them, and reads nothing else from disk."""
    given: list[Outgoing] = []
    publisher = Publisher(given.append, TOPICS, echo=False)
    room = Room(tmp_path / "outbox.sqlite", 1.0)
    housekeeping = Housekeeping(OutboxSettings(path=str(outbox.path)), room, publisher)
    publisher.offer(outbox.commit([Entry(EVENTS, n, b"%d" % n) for n in range(1, 401)]))
    outbox.commit([Entry("top", n, b"%d" % n) for n in range(1, 21)])  # held by nobody
    for _ in range(400):
        housekeeping.prune(outbox)
    assert set(outbox.surplus(125, 1000)) <= set(publisher._sent)
    on_disk = {row.id for row in outbox.backlog((0, 0), 1000)}
    assert publisher._held <= on_disk
    assert len(publisher._held) <= 125 + WINDOW
    # What is on its way is not deleted under the feet of who sends it.
    assert {message.payload for message in given} == {b"%d" % n for n in range(1, WINDOW + 1)}
    assert set(publisher._sent) <= on_disk
    assert publisher.wants_backlog(outbox.pending)


def test_what_a_lost_file_left_behind_hides_nothing_of_the_new_one() -> None:
    given: list[Outgoing] = []
    publisher = Publisher(given.append, TOPICS, echo=False)
    publisher.offer([Row(n, 1, n, "top", b"%d" % n) for n in range(1, 11)])
    assert not publisher.wants_backlog(10)
    publisher.orphan()
    assert publisher.wants_backlog(1)
    for message in given:
        assert message.on_done is not None
        message.on_done(OK)
    publisher.forget(publisher.take_done())
    assert not publisher.wants_backlog(0)


def test_two_equal_events_are_each_confirmed_by_an_echo_of_their_own() -> None:
    given: list[Outgoing] = []
    publisher = Publisher(given.append, TOPICS, echo=True)
    publisher.offer([Row(1, 1, 1, EVENTS, b"same"), Row(2, 1, 2, EVENTS, b"same")])
    for count in (1, 2):
        assert len(given) == count  # the second one goes when the first is done
        message = given[-1]
        assert message.on_done is not None
        message.on_done(OK)
        publisher.on_message(Incoming(message.topic, message.payload, retained=False, mono_ns=0))
    assert publisher.take_done() == [(1, State.CONFIRMED), (2, State.CONFIRMED)]


def test_events_that_are_refused_hold_no_result_up() -> None:
    """A broker may allow results alone: those of an outage go all the same."""
    given: list[Outgoing] = []
    publisher = Publisher(given.append, TOPICS, echo=False)
    publisher.refill([Row(n, 1, n, EVENTS, b"event %d" % n) for n in range(1, 201)])
    publisher.refill([Row(n, 2, n, "top", b"result %d" % n) for n in range(201, 601)])
    taken: list[bytes] = []
    for message in given:  # it grows meanwhile
        assert message.on_done is not None
        refused = message.topic == TOPICS.event()
        if not refused:
            taken.append(message.payload)
        message.on_done(Delivery(ok=False, reason="Not authorized") if refused else OK)
    assert taken == [b"result %d" % n for n in range(201, 601)]
    assert (publisher.events.reason, publisher.results.reason) == ("Not authorized", None)
    # The window was full of events before the first answer; then they are asked for one by one.
    assert WINDOW <= publisher.refused <= WINDOW + 2


def test_a_broker_that_refuses_for_days_is_still_asked() -> None:
    gate = Gate()
    for _ in range(5000):
        gate.refused("Not authorized")
    assert not gate.is_open
    gate.taken()
    assert gate.is_open
