"""Results again: as they were, in order, behind all that is live, and what is gone is named."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lineside.commands import Response
from lineside.errors import StorageError
from lineside.mqtt import Delivery, Outgoing
from lineside_agent.commands.replay import MAX_GONE, PAGE, Replays
from lineside_agent.outbox import Outbox
from lineside_agent.publisher import REPLAYED, Publisher
from lineside_agent.records import Entry, Row
from tests.support.requests import TOPICS, Counter, command, incoming

BOOT = str(uuid.uuid4())
KEPT = [*range(1, 501), *range(600, 700)]
TOPIC = TOPICS.replay("hmi", "top")


class Client:
    """A client whose broker acknowledges when it is told to.

    Attributes:
        sent: all that it was given.
        open: what is not acknowledged.
    """

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.open: deque[Outgoing] = deque()

    def publish(self, message: Outgoing) -> None:
        self.sent.append(message)
        self.open.append(message)

    def acknowledge(self, count: int | None = None, *, ok: bool = True) -> None:
        """Acknowledge so many, or all that come."""
        while self.open and count != 0:
            message = self.open.popleft()
            assert message.on_done is not None
            message.on_done(Delivery(ok=ok, reason="Success" if ok else "Not authorized"))
            count = None if count is None else count - 1

    def replayed(self) -> list[bytes]:
        return [message.payload for message in self.sent if message.topic == TOPIC]


class Reader:
    """Asks a real outbox at once, where the keeper would do it soon.

    Attributes:
        trouble: why nothing can be read.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.trouble: StorageError | None = None

    def ask(self, work: Callable[[Outbox], Any], then: Callable[[Any], None]) -> None:
        then(self.trouble or work(self._outbox))


def payload(number: int) -> bytes:
    return b'{"seq":%d,"of":"top"}' % number


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    outbox = Outbox(tmp_path / "outbox.sqlite", BOOT)
    outbox.commit([Entry("top", number, payload(number)) for number in KEPT])
    yield Reader(outbox)
    outbox.close(clean=True)


class Desk:
    """The op at a desk, its publisher, and the client of both."""

    def __init__(self, folder: Path, reader: Reader) -> None:
        self.client = Client()
        self.publisher = Publisher(self.client.publish, TOPICS, echo=False)
        op = Replays(TOPICS, reader.ask, self.publisher.replay)
        self.counter = Counter(folder, {"replay": op})

    def ask(self, *ranges: tuple[int, int], **fields: Any) -> list[Response]:  # noqa: ANN401
        """Ask for a replay; what was answered so far."""
        args = {"stream": "top", "boot": BOOT, "ranges": ranges} | fields.pop("args", {})
        self.counter.desk.on_message(incoming(command("replay", args=args, **fields)))
        return self.answers

    @property
    def answers(self) -> list[Response]:
        return self.counter.outside.responses


@pytest.fixture
def desk(tmp_path: Path, reader: Reader) -> Desk:
    return Desk(tmp_path, reader)


def test_results_come_again_and_the_answer_comes_last(desk: Desk) -> None:
    assert desk.ask((3, 7), (12, 12)) == []
    assert len(desk.client.sent) == 5
    desk.client.acknowledge(4)
    assert desk.answers == []
    desk.client.acknowledge()
    (answer,) = desk.answers
    assert (answer.ok, answer.details) == (True, {"sent": 6, "gone": []})
    assert desk.client.replayed() == [payload(n) for n in (3, 4, 5, 6, 7, 12)]
    assert all((m.qos, m.retain) == (1, False) for m in desk.client.sent)


def test_what_is_gone_is_named(desk: Desk) -> None:
    desk.ask((490, 605), (698, 1000), (5000, 5001))
    desk.client.acknowledge()
    (answer,) = desk.answers
    gone = [[501, 599], [700, 1000], [5000, 5001]]
    assert answer.details == {"sent": 11 + 6 + 2, "gone": gone}


@pytest.mark.parametrize("args", [{"stream": "side"}, {"boot": "another"}])
def test_nothing_is_kept_of_it(desk: Desk, args: dict[str, str]) -> None:
    (answer,) = desk.ask((1, 3), args=args)
    assert answer.details == {"sent": 0, "gone": [[1, 3]]}


def test_many_pages(desk: Desk) -> None:
    desk.ask((1, 500), (1, 500))
    desk.client.acknowledge()
    assert desk.answers[0].details == {"sent": 1000, "gone": []}
    assert desk.client.replayed() == [payload(n) for n in range(1, 501)] * 2
    assert PAGE < 500


def test_only_a_few_are_on_their_way_and_live_results_go_first(desk: Desk) -> None:
    desk.ask((1, 500))
    assert len(desk.client.open) == REPLAYED
    desk.publisher.offer([Row(1, 1, 1, "top", b"live-1"), Row(2, 1, 2, "top", b"live-2")])
    assert [message.payload for message in desk.client.sent[REPLAYED:]] == [b"live-1", b"live-2"]
    desk.client.acknowledge(3)
    desk.publisher.offer([Row(3, 1, 3, "top", b"live-3")])
    assert desk.client.sent[-1].payload == b"live-3"
    desk.client.acknowledge()
    assert len(desk.client.replayed()) == 500
    assert desk.answers[0].ok
    assert len(desk.publisher.take_done()) == 3  # the replay changes nothing


def test_while_the_broker_refuses_results_nothing_is_replayed(desk: Desk) -> None:
    desk.publisher.offer([Row(1, 1, 1, "top", b"live-1")])
    desk.client.acknowledge(ok=False)
    desk.ask((1, 3))
    assert desk.client.replayed() == []
    assert desk.publisher.results.reason == "Not authorized"


def test_a_broker_that_refuses_the_replay(desk: Desk) -> None:
    desk.ask((1, 500))
    desk.client.acknowledge(3)
    desk.client.acknowledge(ok=False)
    (answer,) = desk.answers
    assert answer.reason == "the broker refuses lineside/ulm/press4/replay/hmi/…"
    assert answer.details == {"sent": 3}
    assert desk.publisher.results.reason is None  # it says nothing of results
    desk.ask((1, 1), id="c-2")
    desk.client.acknowledge()
    assert desk.answers[1].ok


def test_one_after_the_other(desk: Desk) -> None:
    desk.ask((1, 300))
    desk.ask((2, 2), id="c-2")
    desk.ask((3, 3), id="c-3", expires_s=0.01)
    threading.Event().wait(0.02)
    desk.counter.desk.tick()
    assert [answer.id for answer in desk.answers] == ["c-3"]
    assert "expired" in (desk.answers[0].reason or "")
    desk.client.acknowledge()
    assert [(answer.id, answer.ok) for answer in desk.answers[1:]] == [("c-1", True), ("c-2", True)]
    assert desk.client.replayed() == [payload(n) for n in (*range(1, 301), 2)]


def test_an_outbox_that_cant_be_read(desk: Desk, reader: Reader) -> None:
    reader.trouble = StorageError("the disk is gone")
    (answer,) = desk.ask((1, 3))
    assert answer.reason == "results can't be read: the disk is gone"
    reader.trouble = None
    desk.ask((1, 3), id="c-2")
    desk.client.acknowledge()
    assert desk.answers[1].ok


def test_a_replay_full_of_holes_ends_early(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "holes.sqlite", BOOT)
    odd = range(1, 4000, 2)
    outbox.commit([Entry("top", number, payload(number)) for number in odd])
    desk = Desk(tmp_path, Reader(outbox))
    desk.ask((1, 4000))
    desk.client.acknowledge()
    (answer,) = desk.answers
    assert len(answer.details["gone"]) == MAX_GONE
    assert MAX_GONE <= answer.details["sent"] < len(odd)
    outbox.close(clean=True)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ({"ranges": []}, "a list of at least 1 entries"),
        ({"ranges": [[1, 2]] * 101}, "a list of at most 100 entries"),
        ({"ranges": [[5, 4]]}, "range [5, 4] is refused: its last number is below its first"),
        ({"ranges": [[0, 4]]}, "of at least 1"),
        ({"ranges": [[1, 10**30]]}, "refused"),
        ({"ranges": [[1, 2, 3]]}, "a list of 2 is expected"),
        ({"ranges": [[1, 50_001], [1, 50_001]]}, "100002 results are too many for one replay"),
        ({"ranges": [["1", "2"]]}, "a whole number is expected, got '1'"),
        ({"stream": "+"}, "stream: "),
        ({"stream": "../status"}, "stream: "),
        ({"boot": ""}, "boot: "),
        ({"boot": "x' OR 1=1"}, "gone"),
        ({"more": 1}, "unknown key 'more'"),
    ],
)
def test_what_it_refuses(desk: Desk, args: dict[str, Any], text: str) -> None:
    (answer,) = desk.ask((1, 2), args=args)
    assert text in (answer.reason or f"{answer.details}")
    assert desk.client.sent == []
