from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest
from rich.console import Console, ConsoleDimensions

from lineside.messages import Message, Result, encode
from lineside.mqtt import MqttClient, Outgoing
from lineside.settings import MqttSettings
from lineside.subscriber import Pace, Received, Subscriber
from lineside.topics import Topic, Topics
from lineside.tracker import Tracker
from lineside.watch import Board, Line, watch_live
from tests.support.broker import Mosquitto, free_port, wait_for
from tests.support.command import lineside
from tests.support.examples import LOADED, result, status
from tests.support.replaying import ReplayStation


def received(message: Message) -> Received:
    kind = "result" if isinstance(message, Result) else "status"
    topic = Topic(kind, message.site, message.station)
    return Received(message, topic, encode(message), retained=False, mono_ns=time.monotonic_ns())


def picture(*messages: Message, error: str | None = None, width: int = 120, rows: int = 30) -> str:
    board, tracker = Board(), Tracker()
    for message in messages:
        if tracker.take(message):
            board.take(received(message))
    console = Console(file=io.StringIO(), width=width, height=rows, force_terminal=True)
    console.print(board.draw(tracker, error=error, rows=rows, columns=width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_shows_verdicts_in_their_colours_and_what_is_missing() -> None:
    text = picture(
        status(1, 0, 0),
        result(1, verdict="ok"),
        result(2, verdict="ng", label="crack", score=0.91),
        result(2, verdict="ng", label="crack", score=0.91),
        result(4, verdict="review", label="[bold]x"),
        result(5, verdict="no_read", label=None, score=None, reasons=["no_frame"], inputs=[]),
        status(1, 5, 5, state="degraded", reasons=["camera_lost:cam0"]),
    )
    for colour, verdict in [("32", "ok"), ("1;31", "ng"), ("33", "review"), ("35", "no_read")]:
        assert f"\x1b[{colour}m{verdict}" in text
    plain = "".join(part.partition("m")[2] for part in ("\x1b[m" + text).split("\x1b["))
    line = next(row for row in plain.splitlines() if "degraded" in row)
    assert "ulm/press4/top" in line
    assert "camera_lost:cam0" in plain
    verdicts, rest = ["1"] * 4, ["1", "0", "0", "1"]  # missing (3), repaired, lost, twice
    assert line.split()[-9:] == ["0.0", *verdicts, *rest]
    assert "0.91" in plain
    assert "no_frame" in plain
    assert "[bold]x" in plain


def test_a_model_that_nobody_measured_is_marked() -> None:
    unknown = msgspec.structs.replace(LOADED, parity="unknown")
    assert "online, parity unknown" in picture(status(1, 0, 0, models=[LOADED, unknown]), width=160)
    silent = msgspec.structs.replace(LOADED, parity=None)
    assert "parity" not in picture(status(1, 0, 0, models=[LOADED, silent]), width=160)


def test_the_table_fits_the_screen_and_keeps_the_newest() -> None:
    text = picture(*(result(seq) for seq in range(1, 200)), rows=24, width=80)
    assert len(text.splitlines()) <= 24
    assert "199.png" in text
    assert "100.png" not in text


def test_no_connection_is_said() -> None:
    assert "no broker at x:1: nothing listens there" in picture(
        error="no broker at x:1: nothing listens there"
    )
    assert "no station has said anything yet" in picture()


def test_what_is_shown_of_before_is_said_to_be_so() -> None:
    board, tracker = Board(), Tracker()
    board.take(received(result(1)))
    console = Console(file=io.StringIO(), width=140, height=30)
    for error in ("no broker at x:1", None):
        console.print(board.draw(tracker, error=error, rows=30, columns=140))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "not connected for 0 s, all below is of before: no broker at x:1" in text
    assert text.index("not connected") < text.index("ulm/press4/top")
    assert "connected again, after 0 s" in text


class Station:
    """Publishes a status and results, one after the other, for as long as it is entered."""

    def __init__(self, url: str) -> None:
        self._client = MqttClient(MqttSettings(url=url), "station")
        self._topics = Topics("ulm", "press4")
        self._seq = 0

    def status(self) -> None:
        message = status(1, self._seq, self._seq)
        self._client.publish(Outgoing(self._topics.status(), encode(message), retain=True))

    def result(self) -> None:
        self._seq += 1
        payload = encode(result(self._seq))
        self._client.publish(Outgoing(self._topics.result("top"), payload))

    def __enter__(self) -> Station:  # noqa: PYI034
        self._client.start()
        self.status()
        wait_for(lambda: self._client.connected and self._client.idle)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._client.stop()


@pytest.mark.broker
def test_json_and_count(broker: Mosquitto) -> None:
    with (
        Station(broker.url) as station,
        subprocess.Popen(
            [sys.executable, "-m", "lineside", "watch", broker.url, "--json", "--count", "20"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as watching,
    ):
        wait_for(lambda: "Sending SUBACK" in broker.log, 20)
        for _ in range(25):
            station.result()
        out, err = watching.communicate(timeout=20)
    assert watching.returncode == 0, err
    messages = [json.loads(line) for line in out.splitlines()]
    assert messages[0]["schema"] == "lineside.status/1"
    seqs = [m["seq"] for m in messages if m["schema"] == "lineside.result/1"]
    assert seqs == list(range(1, 21))


@pytest.mark.broker
def test_too_few_within_the_time_is_no_success(broker: Mosquitto) -> None:
    done = lineside("watch", broker.url, "--json", "--count", 3, "--timeout", 0.7, ok=False)
    assert done.stderr == "error: 0 of 3 results came within 0.7 s\n"


@pytest.mark.broker
def test_json_with_repair_is_all_that_is_kept_and_says_what_is_lost(
    broker: Mosquitto, tmp_path: Path
) -> None:
    with ReplayStation(broker.url, tmp_path / "station") as station:
        station.put(20, passes=lambda _: False)
        station.say()
        arguments = ["--json", "--repair", "--since", "kept", "--count", "31"]
        with subprocess.Popen(
            [sys.executable, "-m", "lineside", "watch", broker.url, *arguments],
            stdout=subprocess.PIPE,
            text=True,
        ) as watching:
            assert watching.stdout is not None
            messages = [json.loads(watching.stdout.readline()) for _ in range(21)]
            station.put(12, passes=lambda _: False)
            station.keep_only(10)
            station.say()
            while messages[-1]["schema"] != "lineside.gap/1":
                messages.append(json.loads(watching.stdout.readline()))
            station.put(1)
            messages += [json.loads(line) for line in watching.stdout]
    assert watching.returncode == 0
    names = {"site": "ulm", "station": "press4", "boot": station.boot, "stream": "top"}
    gap = {"schema": "lineside.gap/1", **names, "first": 21, "last": 22, "lost": True}
    assert [m for m in messages if m["schema"] == "lineside.gap/1"] == [gap]
    seqs = [m["seq"] for m in messages if m["schema"] == "lineside.result/1"]
    assert seqs == [*range(1, 21), *range(23, 34)]


def test_replayed_results_are_no_rate() -> None:
    line = Line()
    for n in range(30):
        line.add("ok", 100.0 + n % 3, replayed=n >= 6)
    assert line.verdicts["ok"] == 30
    assert line.rate_hz(103.0) == 2.0


@pytest.mark.broker
def test_the_table_shows_repair(broker: Mosquitto, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=140, height=30, force_terminal=True)
    pace = Pace(settle_s=0.05, answer_s=0.5)
    with (
        ReplayStation(broker.url, tmp_path / "station") as station,
        Subscriber(broker.url, repair=True, pace=pace) as subscriber,
    ):
        wait_for(lambda: "Sending SUBACK to lineside-" in broker.log)
        station.put(9, passes=lambda seq: seq > 5)
        station.keep_only(6)
        station.say()
        board = watch_live(
            subscriber,
            until=lambda: subscriber.tracker.repaired == 2 and bool(subscriber.tracker.lost()),
            console=console,
        )
        station.refusal = "outbox: disk full"
        station.put(1, passes=lambda _: False)
        station.say()
        list(subscriber.received(lambda: bool(subscriber.troubles)))
        console.print(
            board.draw(
                subscriber.tracker,
                error=None,
                rows=30,
                columns=140,
                troubles=subscriber.troubles,
            )
        )
    assert isinstance(console.file, io.StringIO)
    text = "".join(
        part.partition("m")[2] for part in ("\x1b[m" + console.file.getvalue()).split("\x1b[")
    )
    last = [row for row in text.splitlines() if "ulm/press4/top" in row and "ok" not in row][-1]
    assert last.split()[-4:] == ["1", "2", "3", "0"]  # missing, repaired, lost, twice
    assert "no repair: outbox: disk" in text


@pytest.mark.broker
def test_the_table_ends_with_the_timeout(broker: Mosquitto) -> None:
    with Station(broker.url):
        done = lineside("watch", broker.url, "--timeout", 0.7)
    assert done.stdout.endswith("\n")
    assert "ulm/press4/top" in done.stdout
    assert done.stderr == ""


@pytest.mark.broker
def test_watch_live_in_a_program(broker: Mosquitto) -> None:
    heard: list[Received] = []
    console = Console(file=io.StringIO(), width=120, height=30, force_terminal=True)
    with Subscriber(broker.url) as subscriber, Station(broker.url) as station:
        wait_for(lambda: "Sending SUBACK" in broker.log)
        for _ in range(5):
            station.result()
        board = watch_live(
            subscriber,
            until=lambda: subscriber.counts["result"] == 5,
            on_received=heard.append,
            console=console,
        )
    assert board.results == 5
    assert [r.message.seq for r in heard if isinstance(r.message, Result)] == [1, 2, 3, 4, 5]


@pytest.mark.broker
def test_the_table_is_drawn_by_the_thread_that_fills_it(broker: Mosquitto) -> None:
    drawn_by: set[int] = set()

    class Screen(Console):
        @property
        def size(self) -> ConsoleDimensions:
            drawn_by.add(threading.get_ident())
            return super().size

        @size.setter
        def size(self, new_size: tuple[int, int]) -> None:
            raise NotImplementedError

    screen = Screen(file=io.StringIO(), width=120, height=30, force_terminal=True)
    end = time.monotonic() + 1.0  # some pictures long
    with Subscriber(broker.url) as subscriber:
        watch_live(subscriber, until=lambda: time.monotonic() > end, console=screen)
    assert drawn_by == {threading.get_ident()}


def test_no_broker_is_one_line() -> None:
    port = free_port()
    line = f"no broker at 127.0.0.1:{port}: nothing listens there"
    done = lineside("watch", f"mqtt://127.0.0.1:{port}", "--timeout", 0.7, ok=False)
    assert done.stderr == f"error: {line}\n"
    done = lineside("watch", f"mqtt://127.0.0.1:{port}", "--json", "--timeout", 1, ok=False)
    assert done.stderr == f"waiting: {line}\nerror: {line}\n"


@pytest.mark.broker
def test_a_refused_password_ends_it_at_once(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret")
    who = ("--username", "ann", "--password-file", tmp_path / "password")
    with Mosquitto(tmp_path / "broker", "allow_anonymous false") as broker:
        done = lineside("watch", broker.url, *who, ok=False, timeout=20)
    line = (
        f"error: broker 127.0.0.1:{broker.port} refuses the password of user 'ann' (Not authorized)"
    )
    assert done.stderr == line + "\n"


def test_a_url_that_is_none() -> None:
    done = lineside("watch", "localhost:1883", ok=False)
    assert "mqtt://HOST[:PORT]" in done.stderr
