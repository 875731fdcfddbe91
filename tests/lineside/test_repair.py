from __future__ import annotations

import pytest

from lineside.commands import Command, Response
from lineside.messages import Ledger, Status
from lineside.repair import Pace, Repair
from lineside.tracker import Gap, Tracker
from tests.support.examples import BOOT, result, status

NEWER = "0198f1c2-0000-4000-8000-000000000002"
KEY = ("ulm", "press4", BOOT, "top")
PACE = Pace(settle_s=1, answer_s=10, pause_s=(2, 8), ranges=3, results=10)


class Asking:
    """A tracker and its repair, connected, with a clock to set."""

    def __init__(self, pace: Pace = PACE) -> None:
        self.tracker = Tracker()
        self.repair = Repair(self.tracker, "me", pace)
        self.repair.connected()
        self.now = 100.0
        self.say(status(1, 0, 0))

    def say(self, message: Status) -> None:
        self.tracker.take(message)
        self.repair.heard(message, self.now)

    def due(self, seconds: float = 0.0) -> list[Command]:
        """What is asked for, so many seconds later."""
        self.now += seconds
        return [ask.command for ask in self.repair.due(self.now)]

    def asked(self) -> Command:
        """What is asked for once a gap has settled; the broker has it."""
        assert self.due() == []
        (command,) = self.due(PACE.settle_s)
        self.repair.sent(command.id, None, self.now)
        return command

    def answer(self, command: Command, *, ok: bool = True, **details: object) -> None:
        response = Response(
            site="ulm",
            station="press4",
            boot=BOOT,
            id=command.id,
            op="replay",
            ok=ok,
            reason=None if ok else "busy",
            details=details,
        )
        self.repair.answered(response, self.now)

    def arrive(self, *seqs: int) -> None:
        for seq in seqs:
            assert self.tracker.take(result(seq), replayed=True)
            self.repair.arrived(KEY, self.now)


@pytest.fixture
def asking() -> Asking:
    return Asking()


def test_a_gap_is_asked_for_once_it_has_settled(asking: Asking) -> None:
    asking.say(status(1, 4, 4))
    assert asking.due() == []
    asking.arrive(4)
    assert asking.due(0.9) == []
    (command,) = asking.due(0.1)
    assert (command.requester, command.op, command.expires_s) == ("me", "replay", 10)
    assert command.args == {"stream": "top", "boot": BOOT, "ranges": [(1, 3)]}


def test_a_gap_that_closes_by_itself_is_not_asked_for(asking: Asking) -> None:
    asking.say(status(1, 2, 2))
    assert asking.due() == []
    asking.arrive(1, 2)
    assert asking.due(5) == []


def test_what_is_on_its_way_is_not_asked_for_again(asking: Asking) -> None:
    asking.say(status(1, 30, 30))
    command = asking.asked()
    assert command.args["ranges"] == [(1, 10)]
    for seq in range(1, 11):
        assert asking.due(PACE.answer_s - 1) == []  # each one that comes shows that it works
        asking.arrive(seq)
    assert asking.due() == []
    asking.answer(command, sent=10, gone=[])
    (command,) = asking.due()  # at once
    assert command.args["ranges"] == [(11, 20)]


def test_a_command_has_limits(asking: Asking) -> None:
    asking.say(status(1, 30, 30))
    asking.arrive(*range(2, 11, 2))
    assert asking.asked().args["ranges"] == [(1, 1), (3, 3), (5, 5)]


def test_a_silent_station_is_asked_ever_more_seldom(asking: Asking) -> None:
    asking.say(status(1, 4, 4))
    ids = {asking.asked().id}
    for pause in (2, 4, 8, 8):
        assert asking.due(PACE.answer_s) == []
        assert asking.repair.troubles == {("ulm", "press4"): "no answer within 10 s"}
        assert asking.due(pause - 0.1) == []
        (command,) = asking.due(0.1)
        asking.repair.sent(command.id, None, asking.now)
        ids.add(command.id)
    assert len(ids) == 5  # a repeated id would bring the stored answer, and no results
    asking.arrive(1, 2, 3, 4)
    asking.answer(command, sent=4, gone=[])
    assert asking.repair.troubles == {}


@pytest.mark.parametrize("by", ["station", "broker"])
def test_a_refusal_is_respected(asking: Asking, by: str) -> None:
    asking.say(status(1, 4, 4))
    command = asking.asked()
    if by == "station":
        asking.answer(command, ok=False)
        assert asking.repair.troubles[KEY[:2]] == "busy"
    else:
        asking.repair.sent(command.id, "Not authorized", asking.now)
        trouble = asking.repair.troubles[KEY[:2]]
        assert trouble == "the broker refuses commands to press4: Not authorized"
    assert asking.due(1.9) == []
    assert len(asking.due(0.1)) == 1


def test_what_is_sent_and_does_not_come_is_asked_for_again(asking: Asking) -> None:
    asking.say(status(1, 4, 4))
    command = asking.asked()
    asking.arrive(1, 2)
    asking.answer(command, sent=4, gone=[])
    assert asking.due(0.9) == []
    (command,) = asking.due(0.1)
    assert command.args["ranges"] == [(3, 4)]
    for pause in (2, 4, 8):  # nothing of it comes
        asking.answer(command, sent=2, gone=[])
        assert asking.due(pause - 0.1) == []
        (command,) = asking.due(0.1)


def test_what_is_gone_is_lost_within_what_was_asked_for(asking: Asking) -> None:
    asking.say(status(1, 12, 12))
    command = asking.asked()
    asking.arrive(5)
    asking.answer(command, sent=1, gone=[[-5, 3], [5, 99]])
    assert list(asking.tracker.news) == [
        Gap(*KEY, 1, 3, lost=True),
        Gap(*KEY, 6, 10, lost=True),
    ]
    (command,) = asking.due(PACE.settle_s)
    assert command.args["ranges"] == [(4, 4), (11, 12)]


def test_a_late_answer_still_tells_what_is_gone(asking: Asking) -> None:
    asking.say(status(1, 4, 4))
    command = asking.asked()
    asking.due(PACE.answer_s)
    asking.answer(command, sent=0, gone=[[1, 4]])
    assert asking.tracker.lost() == [Gap(*KEY, 1, 4, lost=True)]
    assert asking.due(60) == []


def test_answers_to_others_and_of_others_are_not_believed(asking: Asking) -> None:
    asking.say(status(1, 4, 4))
    command = asking.asked()
    for other in ({"id": "another"}, {"station": "press5"}, {"id": None}):
        names = {"site": "ulm", "station": "press4", "boot": BOOT, "id": command.id} | other
        details = {"gone": [[1, 4]]}
        asking.repair.answered(Response(**names, op="replay", ok=True, details=details), 0.0)
    assert asking.tracker.lost() == []


def test_an_offline_station_is_asked_when_it_is_back(asking: Asking) -> None:
    asking.say(status(1, 4, 4))
    asking.say(status(1, 4, 4, state="offline"))
    assert asking.due() == asking.due(60) == []
    asking.say(status(1, 4, 4, state="degraded"))
    assert len(asking.due(1)) == 1


def test_a_new_boot_is_asked_for_what_the_old_one_did_not_answer(asking: Asking) -> None:
    asking.say(status(1, 4, 4))
    asking.asked()
    asking.due(PACE.answer_s)  # no answer: a pause begins
    message = status(1, 0, 0, boot=NEWER)
    message.ledger += status(1, 4, 4).ledger
    asking.say(message)
    (command,) = asking.due()  # the new boot is not to blame
    assert command.args == {"stream": "top", "boot": BOOT, "ranges": [(1, 4)]}
    asking.say(status(1, 0, 0, boot="yet another one"))
    assert len(asking.due()) == 1  # it knows nothing of what the others were asked for


def test_nothing_is_asked_for_while_we_are_away(asking: Asking) -> None:
    asking.say(status(1, 4, 4))
    asking.asked()
    asking.repair.away()
    assert asking.due(60) == []
    asking.repair.connected()
    assert len(asking.due()) == 1  # what was under way is gone


def test_a_command_that_the_client_will_send_again_is_not_asked_twice(asking: Asking) -> None:
    asking.say(status(1, 4, 4))
    asking.due()
    (command,) = asking.due(1)
    asking.repair.away()  # before the broker had it
    asking.repair.connected()
    assert asking.due(60) == []
    asking.repair.sent(command.id, None, asking.now)
    assert asking.due(PACE.answer_s) == []
    assert len(asking.due(PACE.pause_s[0])) == 1


def test_so_many_stations_are_asked_at_once() -> None:
    asking = Asking(Pace(settle_s=0, stations=2))
    for name in ("press4", "press5", "press6"):
        asking.say(status(1, 0, 0, station=name))
        asking.say(status(1, 4, 4, station=name))
    asks = asking.repair.due(asking.now)
    assert len(asks) == 2
    for ask in asks:
        assert asking.repair.due(asking.now) == []
        asking.repair.sent(ask.command.id, None, asking.now)
    others = asking.repair.due(asking.now + 30)  # the two are silent
    assert {ask.station for ask in (*asks, *others)} == {"press4", "press5", "press6"}


def test_stations_are_asked_at_once_and_boots_in_turn(asking: Asking) -> None:
    asking.say(status(1, 30, 30))
    asking.say(status(1, 0, 0, station="press5"))
    asking.say(status(1, 30, 30, station="press5"))
    side = Ledger(boot=BOOT, stream="side", first=1, last=30, published_through=30)
    both = status(1, 30, 30)
    both.ledger.append(side)
    asking.say(both)
    asking.due()
    asks = asking.repair.due(asking.now + 1)
    assert {(ask.station, ask.command.args["stream"]) for ask in asks} in (
        {("press5", "top"), ("press4", "top")},
        {("press5", "top"), ("press4", "side")},
    )
    asking.now += 1
    seen = []
    for _ in range(4):  # nothing of what it sends arrives, for one; the other one comes along
        command = next(ask.command for ask in asks if ask.station == "press4")
        seen.append(command.args["stream"])
        first, last = command.args["ranges"][0]
        for seq in range(first, last + 1):
            asking.tracker.take(result(seq, stream=seen[-1]), replayed=True)
        asking.answer(command, sent=10, gone=[])
        asks = asking.repair.due(asking.now)
    assert seen in (["top", "side"] * 2, ["side", "top"] * 2)
