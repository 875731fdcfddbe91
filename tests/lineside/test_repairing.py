"""Repair over a real broker, of a station that keeps its results in a real outbox."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from lineside.errors import SettingsError
from lineside.messages import Result, encode
from lineside.mqtt import MqttClient, Outgoing
from lineside.settings import MqttSettings
from lineside.subscriber import Gap, Pace, Subscriber
from lineside.topics import Topics
from tests.support.broker import Mosquitto, free_port, wait_for
from tests.support.examples import result
from tests.support.relay import Relay
from tests.support.replaying import ReplayStation

pytestmark = pytest.mark.broker

QUICK = Pace(settle_s=0.05, answer_s=0.7, pause_s=(0.1, 0.4))


@pytest.fixture
def station(broker: Mosquitto, tmp_path: Path) -> Iterator[ReplayStation]:
    with ReplayStation(broker.url, tmp_path / "station") as playing:
        yield playing


class Taken:
    """All that a subscriber gives."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber
        self.results: list[tuple[str, int]] = []
        self.lost: list[Gap] = []

    def until(self, condition: object, timeout: float = 20.0) -> None:
        assert callable(condition)
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, (len(self.results), self._subscriber.troubles)
            item = self._subscriber.take(0.05)
            if isinstance(item, Gap):
                self.lost.append(item)
            elif item is not None and isinstance(item.message, Result):
                self.results.append((item.message.station, item.message.seq))

    def status(self) -> None:
        """Until one more status is taken."""
        had = self._subscriber.counts["status"]
        self.until(lambda: self._subscriber.counts["status"] > had)

    def seqs(self, station: str = "press4") -> list[int]:
        """Sorted; twice what was given twice."""
        return sorted(seq for name, seq in self.results if name == station)


def upto(last: int) -> list[int]:
    return list(range(1, last + 1))


def test_ten_thousand_with_one_in_a_hundred_lost(tmp_path: Path) -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    # This broker drops what a slow subscriber does not take: there are more losses than ours.
    with (
        Mosquitto(tmp_path / "broker") as broker,
        ReplayStation(broker.url, tmp_path / "station") as station,
        Subscriber(broker.url, repair=True) as subscriber,
    ):
        taken = Taken(subscriber)
        taken.status()

        def work() -> None:
            station.put(10_000, passes=lambda _: chance.random() >= 0.01)
            station.say()

        working = threading.Thread(target=work)
        working.start()
        taken.until(lambda: len(taken.results) >= 10_000, 60)
        working.join()
        assert taken.seqs() == upto(10_000)
        assert subscriber.tracker.repaired > 100
        assert subscriber.tracker.missing == 0
        assert taken.lost == subscriber.tracker.lost() == []
        (track,) = subscriber.tracker.tracks.values()
        assert list(track.settled.ranges()) == [(1, 10_000)]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_what_is_lost_on_the_way_again_is_asked_for_again(
    broker: Mosquitto, station: ReplayStation, protocol: Literal["5", "3.1.1"]
) -> None:
    mqtt = MqttSettings(url=broker.url, protocol=protocol)
    chance = random.Random(2)  # noqa: S311 - no secret
    station.passes = lambda _: chance.random() < 0.5
    with Subscriber(mqtt, repair=True, pace=QUICK) as subscriber:
        taken = Taken(subscriber)
        taken.status()
        station.put(200, passes=lambda seq: seq % 4 == 0)
        station.say()
        taken.until(lambda: len(taken.results) == 200)
        assert taken.seqs() == upto(200)
        assert len(station.commands) > 2
        assert len({command.id for command in station.commands}) == len(station.commands)


def test_what_is_not_kept_any_more_is_said_to_be_lost(
    broker: Mosquitto, station: ReplayStation
) -> None:
    with Subscriber(broker.url, repair=True, pace=QUICK) as subscriber:
        taken = Taken(subscriber)
        taken.status()
        station.put(300, passes=lambda seq: seq > 2 and seq % 10 > 0)
        station.keep_only(100)
        taken.until(lambda: len(taken.results) == 300 - 2 - 30)
        station.say()
        taken.until(lambda: subscriber.tracker.repaired and not subscriber.tracker.missing)
        first = min(seq for seq in range(10, 301, 10) if seq in taken.seqs())
        gone = [1, 2, *range(10, first, 10)]
        taken.until(lambda: sum(map(len, taken.lost)) == len(gone))
        assert taken.seqs() == sorted(set(upto(300)) - set(gone))
        assert [n for gap in taken.lost for n in range(gap.first, gap.last + 1)] == gone
        assert taken.lost == subscriber.tracker.lost()
        assert all(gap.lost and gap.boot == station.boot for gap in taken.lost)


def test_a_boot_of_which_nothing_is_kept_is_lost(broker: Mosquitto, tmp_path: Path) -> None:
    folder = tmp_path / "station"
    with Subscriber(broker.url, repair=True, pace=QUICK) as subscriber:
        taken = Taken(subscriber)
        with ReplayStation(broker.url, folder) as station:
            taken.status()
            station.put(10, passes=lambda seq: seq % 5 < 2)
            station.keep_only(0)
            old = station.boot
        with ReplayStation(broker.url, folder) as station:
            station.put(2, passes=lambda seq: seq > 1)
            station.say()
            taken.until(lambda: len(taken.results) == 4 + 2 and len(taken.lost) == 2)
        lost = [(gap.boot, gap.first, gap.last) for gap in taken.lost]
        assert lost == [(old, 2, 4), (old, 7, 9)]
        assert subscriber.tracker.gaps() == []


def test_our_own_reconnect(broker: Mosquitto, station: ReplayStation) -> None:
    with Relay(broker.port) as relay:
        url = f"mqtt://127.0.0.1:{relay.port}"
        with Subscriber(url, repair=True, pace=QUICK) as subscriber:
            taken = Taken(subscriber)
            taken.status()
            station.put(10)
            taken.until(lambda: len(taken.results) == 10)
            relay.closed = True
            relay.cut()
            wait_for(lambda: not subscriber.connected)
            station.put(500)
            station.say()
            relay.closed = False
            # Cut again in the middle of the replay.
            taken.until(lambda: subscriber.tracker.repaired > 50)
            relay.cut()
            taken.until(lambda: len(taken.results) == 510)
            assert taken.seqs() == upto(510)


def test_the_brokers_restart(broker: Mosquitto, station: ReplayStation) -> None:
    with Subscriber(broker.url, repair=True, pace=QUICK) as subscriber:
        taken = Taken(subscriber)
        taken.status()
        station.put(10)
        taken.until(lambda: len(taken.results) == 10)
        broker.kill()
        working = threading.Thread(target=station.put, args=(200,))  # waits for the broker
        working.start()
        broker.start()
        working.join()
        station.say()
        taken.until(lambda: len(taken.results) == 210)
        assert taken.seqs() == upto(210)


def test_a_silent_station_does_not_hold_up_another(
    broker: Mosquitto, station: ReplayStation, tmp_path: Path
) -> None:
    with (
        ReplayStation(broker.url, tmp_path / "other", "press5") as other,
        Subscriber(broker.url, repair=True, pace=QUICK) as subscriber,
    ):
        taken = Taken(subscriber)
        taken.until(lambda: subscriber.counts["status"] == 2)
        station.silent = True
        for playing in (station, other):
            playing.put(50, passes=lambda seq: seq > 20)
            playing.say()
        taken.until(lambda: taken.seqs("press5") == upto(50) and subscriber.troubles)
        assert subscriber.troubles == {("ulm", "press4"): "no answer within 0.7 s"}
        assert taken.seqs() == list(range(21, 51))
        taken.until(lambda: len(station.commands) > 1)
        station.silent = False
        taken.until(lambda: taken.seqs() == upto(50))
        assert len(other.commands) == 1


def test_who_is_slow_does_not_take_its_own_queue_for_silence(
    broker: Mosquitto, station: ReplayStation
) -> None:
    with Subscriber(broker.url, repair=True, pace=QUICK) as subscriber:
        taken = Taken(subscriber)
        taken.status()
        station.put(900, passes=lambda seq: seq > 800)
        station.say()
        taken.until(lambda: station.commands)
        for _ in range(3):
            time.sleep(1.1 * QUICK.answer_s)  # somebody's work, who asks for no messages meanwhile
            had = len(taken.results)
            taken.until(lambda had=had: len(taken.results) > had + 10)
        taken.until(lambda: len(taken.results) == 900)
        station.say()
        taken.status()
        assert len(station.commands) == 1
        assert subscriber.tracker.duplicates == 0


def test_who_comes_late_gets_all_that_is_kept_of_all_boots(
    broker: Mosquitto, tmp_path: Path
) -> None:
    folder = tmp_path / "station"
    for _ in range(2):
        with ReplayStation(broker.url, folder) as station:
            station.put(1500)
            station.put(30, stream="side")
    with ReplayStation(broker.url, folder) as station:
        station.put(100)
        station.say()
        with Subscriber(broker.url, repair=True, since="kept", pace=QUICK) as subscriber:
            taken = Taken(subscriber)
            taken.until(lambda: len(taken.results) == 2 * 1530 + 100)
            station.put(5)
            taken.until(lambda: len(taken.results) == 2 * 1530 + 105)
            assert subscriber.tracker.duplicates == 0
            assert subscriber.tracker.repaired == 2 * 1530 + 100
        with Subscriber(broker.url, repair=True, pace=QUICK) as from_now_on:
            taken = Taken(from_now_on)
            taken.status()
            station.put(5)
            station.say()
            taken.status()
            assert taken.seqs() == list(range(106, 111))


@pytest.mark.parametrize("by", ["station", "broker"])
def test_who_refuses_and_why_is_known(tmp_path: Path, by: str) -> None:
    ours = "read" if by == "broker" else "readwrite"
    rules = f"topic {ours} #\nuser station\ntopic readwrite #\n"
    lines = (f"acl_file {tmp_path / 'broker' / 'acl'}",)
    with Mosquitto(tmp_path / "broker", *lines, files={"acl": rules}) as broker:
        settings = MqttSettings(url=broker.url, username="station")
        with (
            ReplayStation(settings, tmp_path / "station") as station,
            Subscriber(broker.url, repair=True, pace=QUICK) as subscriber,
        ):
            station.refusal = "busy"
            taken = Taken(subscriber)
            taken.status()
            station.put(3, passes=lambda seq: seq > 1)
            station.say()
            taken.until(lambda: subscriber.troubles)
            trouble = {
                "station": "busy",
                "broker": "the broker refuses commands to press4: Not authorized",
            }[by]
            assert subscriber.troubles == {("ulm", "press4"): trouble}
            assert subscriber.tracker.missing == 1
            if by == "station":
                station.refusal = None
                taken.until(lambda: taken.seqs() == upto(3))
                assert subscriber.troubles == {}


def test_nobody_speaks_for_another(broker: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    client = MqttClient(MqttSettings(url=broker.url), "press5")
    client.start()
    with Subscriber(broker.url, repair=True) as subscriber:
        wait_for(lambda: "Sending SUBACK" in broker.log)
        topics = Topics("ulm", "press5")
        client.publish(Outgoing(topics.result("top"), encode(result(1))))
        client.publish(Outgoing(topics.result("side"), encode(result(1, station="press5"))))
        client.publish(Outgoing(topics.result("top"), encode(result(1, station="press5"))))
        taken = Taken(subscriber)
        taken.until(lambda: taken.results)
        assert taken.results == [("press5", 1)]
        assert subscriber.counts["refused"] == 2
    client.stop()
    assert "a message of ulm/press4/top is refused on a topic of ulm/press5/top" in caplog.text


def test_what_is_kept_takes_repair() -> None:
    with pytest.raises(SettingsError, match="since 'kept' is refused without repair"):
        Subscriber(f"mqtt://127.0.0.1:{free_port()}", since="kept")
