"""Commands over a real broker, to a desk with a real outbox behind it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import Self

from lineside.commands import Response
from lineside.mqtt import Hooks, Incoming, MqttClient, Outgoing
from lineside.settings import MqttSettings
from lineside_agent.commands import Args, Reply, Request
from tests.support.broker import Mosquitto, wait_for
from tests.support.commanded import QUICK, CommandedStation
from tests.support.examples import result
from tests.support.malformed import malformed
from tests.support.requests import TOPICS, command, read_response

pytestmark = pytest.mark.broker


class EchoArgs(Args, frozen=True, kw_only=True):
    n: int


class Station(CommandedStation):
    """One that can `echo`.

    Attributes:
        done: ids of the commands that `echo` did.
    """

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(url, folder, str(uuid.uuid4()))
        self.done: list[str] = []
        self.ops["echo"] = self._echo

    def _echo(self, request: Request, reply: Reply) -> None:
        args = request.read(EchoArgs)
        self.done.append(request.command.id)
        reply.ok(n=args.n)


class Requester:
    """Somebody who asks.

    Attributes:
        heard: what came to it.
    """

    def __init__(self, url: str, name: str = "hmi") -> None:
        self.heard: list[Incoming] = []
        self._subscribed = False
        filters = (TOPICS.response(name), TOPICS.replay(name, "+"))
        self.client = MqttClient(
            MqttSettings(url=url), f"requester-{name}", subscriptions=filters, backoff_s=QUICK
        )

    def __enter__(self) -> Self:
        hooks = Hooks(on_message=self.heard.append, on_subscribed=self._on_subscribed)
        self.client.start(hooks)
        wait_for(lambda: self._subscribed)
        return self

    def _on_subscribed(self, _refused: tuple[str, ...]) -> None:
        self._subscribed = True

    def __exit__(self, *_exc: object) -> None:
        self.client.stop()

    def send(self, payload: bytes, **options: Any) -> None:  # noqa: ANN401 - of Outgoing
        self.client.publish(Outgoing(TOPICS.command(), payload, **options))

    @property
    def answers(self) -> list[Response]:
        return [read_response(m.payload) for m in self.heard if "/response/" in m.topic]

    def replayed(self) -> list[bytes]:
        return [m.payload for m in self.heard if "/replay/" in m.topic]

    def ask(self, payload: bytes, **options: Any) -> Response:  # noqa: ANN401 - of Outgoing
        """The answer to a command."""
        before = len(self.answers)
        self.send(payload, **options)
        wait_for(lambda: len(self.answers) > before, what="an answer")
        return self.answers[before]


@pytest.fixture
def station(broker: Mosquitto, tmp_path: Path) -> Iterator[Station]:
    with Station(broker.url, tmp_path / "state") as station:
        yield station


@pytest.fixture
def requester(broker: Mosquitto) -> Iterator[Requester]:
    with Requester(broker.url) as requester:
        yield requester


def test_a_command_is_answered_with_its_correlation(station: Station, requester: Requester) -> None:
    answer = requester.ask(command(args={"n": 1}), correlation=b"\x007", expiry_s=30)
    assert (answer.ok, answer.boot, answer.details) == (True, station.boot, {"n": 1})
    assert requester.heard[0].correlation == b"\x007"
    assert not requester.heard[0].retained


def test_hundreds_of_malformed_ones(station: Station, requester: Requester) -> None:
    # On its way a message has no age, and our client sends no response topic and no retain.
    sent = [
        bad
        for bad in malformed(500, seed=1)
        if not bad.message.retained and bad.message.response_topic is None and bad.text != "expired"
    ]
    assert len(sent) > 300
    for bad in sent:
        requester.send(bad.message.payload)
    requester.send(b" " * 10_000_000)
    requester.send(command(id="last", args={"n": 1}))
    expected = sum(bad.requester == "hmi" for bad in sent) + 1
    wait_for(lambda: len(requester.answers) == expected, what="an answer to each")
    wait_for(lambda: station.desk.counts["received"] == len(sent) + 2)
    assert station.desk.counts["refused"] == len(sent) + 1
    assert station.desk.counts["failed"] == 0
    assert station.client.connected
    assert [answer.id for answer in requester.answers if answer.ok] == ["last"]
    assert station.done == ["last"]


def test_a_retained_command_is_refused_each_time(
    broker: Mosquitto, requester: Requester, tmp_path: Path
) -> None:
    kept = threading.Event()
    requester.send(command(id="old"), retain=True, on_done=lambda _delivery: kept.set())
    assert kept.wait(10)
    for number in (1, 2):
        requester.heard.clear()
        with Station(broker.url, tmp_path / "state") as station:
            wait_for(lambda: requester.answers)
            assert requester.ask(command(id=f"new-{number}", args={"n": 1})).ok
            assert station.done == [f"new-{number}"]
        assert "it was retained" in (requester.answers[0].reason or "")


def test_a_retained_command_is_refused_also_while_connected(
    station: Station, requester: Requester
) -> None:
    answer = requester.ask(command(args={"n": 1}), retain=True)
    assert "it was retained" in (answer.reason or "")
    requester.send(b"", retain=True)  # clears the topic
    assert requester.ask(command(id="c-2", args={"n": 2})).ok
    assert station.done == ["c-2"]
    assert (station.desk.counts["received"], station.desk.counts["refused"]) == (2, 1)
    station.audit.stop()
    refused = (station.folder / "audit-refused.jsonl").read_text().splitlines()
    assert len(refused) == 1
    assert "it was retained" in refused[0]


def test_a_repeated_command_gets_its_answer_also_after_a_restart(
    broker: Mosquitto, requester: Requester, tmp_path: Path
) -> None:
    with Station(broker.url, tmp_path / "state") as first:
        requester.ask(command(args={"n": 1}))
        requester.ask(command(args={"n": 2}), correlation=b"2")
    with Station(broker.url, tmp_path / "state") as second:
        requester.ask(command(args={"n": 3}))
        assert second.done == []
        requester.ask(command(id="c-2", args={"n": 4}))
    assert first.done == ["c-1"]
    payloads = [message.payload for message in requester.heard]
    assert payloads[0] == payloads[1] == payloads[2]
    assert [answer.boot for answer in requester.answers] == [first.boot] * 3 + [second.boot]


def test_a_replay_over_the_broker(station: Station, requester: Requester) -> None:
    for _ in range(1000):
        assert station.keeper.put(result(boot=station.boot), wait=True)
    wait_for(lambda: station.keeper.pending == 0)
    args = {"stream": "top", "boot": station.boot, "ranges": [[1, 700], [990, 1010]]}
    requester.send(command("replay", args=args), correlation=b"r")
    wait_for(lambda: requester.answers, what="the answer")
    (answer,) = requester.answers
    assert answer.details == {"sent": 711, "gone": [[1001, 1010]]}
    assert requester.heard[-1].correlation == b"r"  # the answer is the last one
    numbers = [int(p.split(b'"seq":')[1].split(b",")[0]) for p in requester.replayed()]
    assert numbers == [*range(1, 701), *range(990, 1001)]
    assert {m.topic for m in requester.heard[:-1]} == {TOPICS.replay("hmi", "top")}


def test_a_replay_through_a_broker_that_falls_over(
    broker: Mosquitto, station: Station, requester: Requester
) -> None:
    for _ in range(3000):
        station.keeper.put(result(boot=station.boot), wait=True)
    wait_for(lambda: station.keeper.pending == 0)
    args = {"stream": "top", "boot": station.boot, "ranges": [[1, 3000]]}
    requester.send(command("replay", args=args))
    wait_for(lambda: len(requester.replayed()) > 100)
    broker.kill()
    broker.start()
    assert station.client.wait_connected(10)
    wait_for(lambda: station.desk.counts["done"] == 1, what="the end of the replay")
    assert station.publisher.results.reason is None
    # A batch that was not yet on disk when all seemed to be confirmed goes out by and by.
    wait_for(lambda: station.keeper.pending == 0)


def test_results_arrive_during_a_flood(
    broker: Mosquitto, station: Station, requester: Requester
) -> None:
    results: list[Incoming] = []
    listener = MqttClient(
        MqttSettings(url=broker.url), "listener", subscriptions=(TOPICS.result("+"),)
    )
    subscribed = threading.Event()
    listener.start(
        Hooks(on_message=results.append, on_subscribed=lambda _refused: subscribed.set())
    )
    assert subscribed.wait(10)
    for number in range(3000):
        requester.send(command(id=f"{number}", args={"n": number}))
        if number % 10 == 0:
            assert station.keeper.put(result(boot=station.boot), wait=False)
    wait_for(lambda: len(results) == 300, what="the results")
    wait_for(lambda: station.desk.counts["received"] == 3000, 20)
    wait_for(lambda: len(requester.answers) + station.desk.unsent == 3000, 20)
    counts = station.desk.counts
    assert counts["done"] + counts["refused"] == 3000
    assert counts["refused"] > 0
    assert len(station.done) == counts["done"]
    assert station.client.connected
    listener.stop()
