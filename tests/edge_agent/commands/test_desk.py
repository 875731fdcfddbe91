"""The border to the network: nothing that comes in moves the agent, and nothing is done twice."""

from __future__ import annotations

import logging
import time
from collections import Counter as Count
from pathlib import Path
from typing import Any

import pytest

from lineside.commands import MAX_LINE
from lineside.errors import InputError
from lineside_agent.commands import Args, MemoryAnswers, Reply, Request
from lineside_agent.commands.desk import KEPT_BYTES, MAX_OPEN, MAX_OPEN_EACH, RECENT
from lineside_agent.commands.mailbox import IN_FLIGHT, MAX_WAITING
from lineside_agent.commands.quota import BURST
from tests.support.malformed import KINDS, malformed
from tests.support.requests import TOPICS, Counter, command, incoming, read_response


class EchoArgs(Args, frozen=True, kw_only=True):
    text: str


class Ops:
    """Ops to try the desk with.

    Attributes:
        done: the texts that were echoed.
        held: replies that were not given yet.
    """

    def __init__(self) -> None:
        self.done: list[str] = []
        self.held: list[Reply] = []

    def echo(self, request: Request, reply: Reply) -> None:
        args = request.read(EchoArgs)
        self.done.append(args.text)
        reply.ok(text=args.text)

    def hold(self, _request: Request, reply: Reply) -> None:
        self.held.append(reply)

    def queue(self, _request: Request, reply: Reply) -> None:
        reply.wait()
        self.held.append(reply)

    def fail(self, _request: Request, _reply: Reply) -> None:
        raise ZeroDivisionError

    def deny(self, _request: Request, _reply: Reply) -> None:
        msg = "no such stream"
        raise InputError(msg)

    def all(self) -> dict[str, Any]:
        return {
            "echo": self.echo,
            "hold": self.hold,
            "queue": self.queue,
            "fail": self.fail,
            "deny": self.deny,
        }


@pytest.fixture
def ops() -> Ops:
    return Ops()


@pytest.fixture
def counter(tmp_path: Path, ops: Ops) -> Counter:
    return Counter(tmp_path, ops.all())


def echo(text: str = "hi", **fields: Any) -> bytes:  # noqa: ANN401 - of any kind
    return command("echo", args={"text": text}, **fields)


def test_a_command_is_done_and_answered(counter: Counter, ops: Ops) -> None:
    answer = counter.ask(echo(), correlation=b"7", response_topic=TOPICS.response("hmi"))
    assert (answer.id, answer.op, answer.ok, answer.reason) == ("c-1", "echo", True, None)
    assert answer.details == {"text": "hi"}
    (sent,) = counter.outside.sent
    assert sent.topic == "lineside/ulm/press4/response/hmi"
    assert (sent.qos, sent.retain, sent.correlation) == (1, False, b"7")
    assert ops.done == ["hi"]
    assert counter.desk.counts == Count(received=1, accepted=1, done=1)


def test_all_outcomes_are_counted_from_zero_and_an_empty_message_is_none(counter: Counter) -> None:
    counter.desk.on_message(incoming(b"", retained=True))
    assert counter.desk.counts == Count()
    assert set(counter.desk.counts) == {
        *("received", "accepted", "done", "refused", "repeated", "failed")
    }
    assert counter.outside.sent == []


def test_an_op_that_was_meant_is_named(counter: Counter) -> None:
    assert counter.ask(command("ehco")).reason == "unknown op 'ehco', did you mean 'echo'?"
    known = ": one of echo, hold, queue, fail, deny is expected"
    assert (counter.ask(command("reboot")).reason or "").endswith(known)


def test_ten_thousand_malformed_commands_leave_it_unmoved(counter: Counter, ops: Ops) -> None:
    began = time.monotonic()
    answered = floods = 0
    for number, bad in enumerate(malformed(10_000)):
        before = len(counter.outside.sent)
        counter.desk.on_message(bad.message)
        said = counter.outside.sent[before:]
        assert len(said) == (bad.requester is not None), bad
        for message in said:
            answer = read_response(message.payload)
            assert message.topic == TOPICS.response(str(bad.requester))
            assert not answer.ok
            flood = (answer.reason or "").startswith("too many commands")
            assert flood or bad.text in (answer.reason or ""), bad
            floods += flood
            assert 0 < len(answer.reason or "") <= MAX_LINE
            assert answer.reason is not None
            assert answer.reason.isprintable()
            answered += 1
        if number % 1000 == 0:  # in between it does what it is there for
            assert counter.ask(echo(id=f"good-{number}", requester="boss")).ok
    assert counter.desk.counts["refused"] == 10_000
    assert counter.desk.counts["failed"] == 0
    assert counter.desk.unsent == 0
    assert answered > 10_000 * 0.6
    assert floods < 10_000 * 2 / len(KINDS)  # of those whose args were looked at
    assert ops.done == ["hi"] * 10
    assert time.monotonic() - began < 30


def test_every_kind_of_malformed_command_is_there() -> None:
    names = {kind.__name__ for kind in KINDS}
    assert {"_noise", "_wrong_type", "_huge", "_deep", "_schema", "_op", "_expired"} <= names


def test_a_repeated_command_gets_the_stored_answer_byte_for_byte(
    counter: Counter, ops: Ops
) -> None:
    counter.ask(echo("first"), correlation=b"1")
    for number in range(50):
        counter.desk.on_message(incoming(echo("other"), correlation=b"%d" % number))
    payloads = {message.payload for message in counter.outside.sent}
    assert len(payloads) == 1
    assert [m.correlation for m in counter.outside.sent[1:]] == [b"%d" % n for n in range(50)]
    assert ops.done == ["first"]
    assert counter.desk.counts["repeated"] == 50
    assert counter.ask(echo("mine", requester="other")).details == {"text": "mine"}


def test_a_command_that_is_repeated_while_it_is_done(counter: Counter, ops: Ops) -> None:
    for correlation in (b"1", b"2", b"2", None):
        counter.desk.on_message(incoming(command("hold"), correlation=correlation))
    assert len(ops.held) == 1
    assert counter.outside.sent == []
    ops.held[0].ok(n=1)
    assert [m.correlation for m in counter.outside.sent] == [b"1", b"2", None]
    assert len({m.payload for m in counter.outside.sent}) == 1


def test_the_answer_of_an_op_that_refuses_is_stored_too(counter: Counter) -> None:
    answer = counter.ask(command("deny"))
    assert (answer.ok, answer.reason) == (False, "no such stream")
    assert counter.ask(command("deny")) == answer
    assert counter.desk.counts["repeated"] == 1


def test_what_was_never_begun_may_be_sent_again(counter: Counter, ops: Ops) -> None:
    assert not counter.ask(command("echo", args={"text": 7})).ok
    assert counter.ask(echo()).ok
    assert ops.done == ["hi"]


def test_an_op_that_fails_is_an_answer(counter: Counter, caplog: pytest.LogCaptureFixture) -> None:
    answer = counter.ask(command("fail"))
    assert answer.reason == "the station failed to do it (ZeroDivisionError): see its log"
    assert "op fail failed" in caplog.text


def test_an_answer_that_is_no_json(counter: Counter, ops: Ops) -> None:
    counter.desk.on_message(incoming(command("hold")))
    ops.held[0].ok(thing=object())
    assert counter.outside.responses[0].reason == "the station failed to say what came of it"


def test_an_answer_that_is_too_long(counter: Counter, ops: Ops) -> None:
    counter.desk.on_message(incoming(command("hold")))
    ops.held[0].ok(text="x" * 300_000)
    assert "more than 262144: ask for less" in (counter.outside.responses[0].reason or "")


def test_an_op_answers_once(counter: Counter, ops: Ops, caplog: pytest.LogCaptureFixture) -> None:
    counter.desk.on_message(incoming(command("hold")))
    ops.held[0].ok()
    ops.held[0].refuse("no")
    assert [answer.ok for answer in counter.outside.responses] == [True]
    assert "hold was answered twice" in caplog.text


def test_a_long_answer_is_kept_for_a_while(tmp_path: Path) -> None:
    def long(request: Request, reply: Reply) -> None:
        reply.ok(text=request.command.id[0] * KEPT_BYTES)

    counter = Counter(tmp_path, {"long": long})
    for number in range(RECENT + 1):
        assert counter.ask(command("long", id=f"{number}")).ok
    assert counter.ask(command("long", id=f"{RECENT}")) == counter.outside.responses[RECENT]
    forgotten = counter.ask(command("long", id="0"))
    assert not forgotten.ok
    assert "is not kept: send a new id" in (forgotten.reason or "")


def test_a_command_that_waits_too_long_is_refused(counter: Counter, ops: Ops) -> None:
    counter.desk.on_message(incoming(command("queue", expires_s=0.05)))
    counter.desk.on_message(incoming(command("queue", id="c-2", expires_s=60)))
    counter.desk.on_message(incoming(command("hold", id="c-3", expires_s=0.05)))
    deadline = time.monotonic() + 5
    while not counter.outside.sent:
        assert time.monotonic() < deadline
        counter.desk.tick()
        time.sleep(0.01)
    (answer,) = counter.outside.responses
    assert (answer.id, answer.reason) == (
        "c-1",
        "expired before it could be begun: send it anew, under a new id",
    )
    assert not ops.held[0].begin()
    assert ops.held[1].begin()
    counter.desk.tick()
    ops.held[1].ok()
    ops.held[2].ok()  # it was begun at once, so it may take its time
    assert [answer.ok for answer in counter.outside.responses] == [False, True, True]


def test_a_turn_that_comes_too_late_is_no_turn(counter: Counter, ops: Ops) -> None:
    counter.desk.on_message(incoming(command("queue", expires_s=0.01)))
    time.sleep(0.02)
    assert not ops.held[0].begin()
    assert "expired" in (counter.outside.responses[0].reason or "")


def test_a_flood_is_refused_and_others_are_served(counter: Counter, ops: Ops) -> None:
    for number in range(BURST * 3):
        counter.desk.on_message(incoming(echo(id=f"{number}", requester="flood")))
    answers = counter.outside.responses
    assert len(answers) == BURST * 3
    refused = [answer for answer in answers if not answer.ok]
    assert BURST <= len(refused) <= BURST * 2
    assert {answer.reason for answer in refused} == {
        "too many commands: at most 100 a second; send it again later"
    }
    assert counter.desk.counts["refused"] == len(refused)
    assert counter.ask(echo(requester="boss")).ok
    assert len(ops.done) == BURST * 3 - len(refused) + 1


def test_what_is_not_done_yet_is_bounded(counter: Counter, ops: Ops) -> None:
    for number in range(MAX_OPEN_EACH + 5):
        counter.desk.on_message(incoming(command("hold", id=f"{number}", requester="a")))
    assert len(ops.held) == MAX_OPEN_EACH
    reasons = {answer.reason for answer in counter.outside.responses}
    assert reasons == {"too many commands are not done yet; send it again later"}
    for number in range(MAX_OPEN * 2):
        counter.desk.on_message(incoming(command("hold", requester=f"r{number}")))
    assert len(ops.held) == MAX_OPEN
    for reply in ops.held:
        reply.ok()
    assert counter.ask(echo()).ok


def test_results_never_wait_behind_answers(counter: Counter, ops: Ops) -> None:
    counter.outside.holding = True
    for number in range(MAX_WAITING + 100):
        counter.desk.on_message(incoming(b"[]", response_topic=TOPICS.response(f"r{number}")))
    assert len(counter.outside.sent) == IN_FLIGHT
    assert counter.desk.unsent == 100 - IN_FLIGHT
    counter.desk.on_message(incoming(echo()))
    while True:
        given = len(counter.outside.sent)
        for message in counter.outside.sent[given - IN_FLIGHT :]:
            counter.outside.acknowledge(message)
        if len(counter.outside.sent) == given:
            break
        if given == IN_FLIGHT:  # the answer comes before the refusals that waited
            assert counter.outside.responses[IN_FLIGHT].ok
    assert len(counter.outside.sent) == MAX_WAITING + IN_FLIGHT + 1
    assert ops.done == ["hi"]


def test_a_client_that_takes_nothing_more(counter: Counter, ops: Ops) -> None:
    counter.outside.full = True
    counter.desk.on_message(incoming(echo()))
    counter.desk.on_message(incoming(b"[]"))
    assert ops.done == ["hi"]
    assert counter.desk.unsent == 1  # the other has no sender
    assert counter.desk.counts["failed"] == 0


def test_a_mistake_of_its_own_is_logged(
    tmp_path: Path, ops: Ops, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(MemoryAnswers):
        def get(self, requester: str, id: str) -> bytes | None:  # noqa: A002, ARG002
            raise ZeroDivisionError

    counter = Counter(tmp_path, ops.all(), answers=Broken())
    with caplog.at_level(logging.ERROR):
        counter.desk.on_message(incoming(echo()))
    assert counter.desk.counts["failed"] == 1
    assert "a command could not be dealt with" in caplog.text
    assert ops.done == []
