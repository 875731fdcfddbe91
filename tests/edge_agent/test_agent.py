"""The agent as a user runs it: a process of its own, a real bundle, a real broker."""

from __future__ import annotations

import contextlib
import shutil
import signal
from pathlib import Path

import apsw
import numpy as np
import pytest

from lineside.manifest import PARITY_UNKNOWN
from lineside.messages import Health, Result, Status
from lineside.settings import read_settings
from lineside_agent.agent import Agent
from lineside_agent.sources.memory import MemorySource
from tests.support.broker import Mosquitto, free_port, wait_for
from tests.support.bundles import unmeasured
from tests.support.command import lineside
from tests.support.listener import Listener
from tests.support.relay import Relay
from tests.support.station import AgentProcess, write_config


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def part_ids(results: list[Result]) -> list[str]:
    """The parts' names, each result counted once by its key."""
    once = {(r.boot, r.stream, r.seq): r.part.id or "" for r in results}
    return sorted(once.values())


@pytest.mark.broker
def test_a_broker_that_comes_late_gets_everything(
    broker: Mosquitto, tmp_path: Path, photos: Path, bundle_folder: Path
) -> None:
    with Relay(broker.port) as relay, Listener(broker.url) as listener:
        url = f"mqtt://127.0.0.1:{relay.port}"
        config = write_config(tmp_path, url=url, bundle=bundle_folder, source=f"images:{photos}")
        relay.closed = True
        with AgentProcess(config) as agent:
            wait_for(lambda: "closed the connection without an answer" in agent.log, 30)
            relay.closed = False
            assert agent.wait() == 0
            wait_for(lambda: "offline stopped" in listener.states())
    results = listener.of(Result)
    assert part_ids(results) == names(photos)
    assert len(results) == 60
    assert [event.kind for event in listener.events()] == ["started", "stopped"]
    assert listener.states()[-2:] == ["online", "offline stopped"]
    last = listener.of(Status)[-1]
    line = last.ledger[0]
    assert (line.first, line.last, line.published_through) == (1, 60, 60)
    assert last.delivery == "confirmed"
    assert [model.parity for model in last.models] == ["measured"]
    assert {r.verdict for r in results} <= {"ok", "ng", "review"}
    one = results[0]
    assert one.models[0].digest == last.models[0].digest
    assert one.latency_ms.total >= one.latency_ms.invoke > 0
    assert one.inputs[0].size == (300, 300)


@pytest.mark.broker
def test_a_broker_that_is_killed_and_started_again(
    broker: Mosquitto, tmp_path: Path, photos: Path, bundle_folder: Path
) -> None:
    with Relay(broker.port) as relay, Listener(broker.url) as listener:
        config = write_config(
            tmp_path,
            url=f"mqtt://127.0.0.1:{relay.port}",
            bundle=bundle_folder,
            source=f"images:{photos}",
            camera="rate = 40",
        )
        with AgentProcess(config) as agent:
            wait_for(lambda: len(listener.results()) >= 15, 30)
            relay.closed = True
            relay.cut()
            broker.kill()
            broker.start()
            # A subscriber that is away misses what is published meanwhile: that is no matter of
            # the agent's. So it is back first.
            wait_for(lambda: listener.subscribed == 2)
            relay.closed = False
            assert agent.wait() == 0
            wait_for(lambda: "offline stopped" in listener.states())
    assert part_ids(listener.of(Result)) == names(photos)
    assert "the connection to broker" in agent.log


@pytest.mark.broker
def test_sigterm_publishes_what_is_in_hand_and_says_goodbye(
    broker: Mosquitto, tmp_path: Path, photos: Path, bundle_folder: Path
) -> None:
    config = write_config(
        tmp_path,
        url=broker.url,
        bundle=bundle_folder,
        source=f"images:{photos}",
        camera="rate = 20",
    )
    with Listener(broker.url) as listener, AgentProcess(config) as agent:
        wait_for(lambda: len(listener.results()) >= 10, 30)
        agent.send(signal.SIGTERM)
        assert agent.wait(15) == 0
        wait_for(lambda: "offline stopped" in listener.states())
        results = listener.of(Result)
        line = listener.of(Status)[-1].ledger[0]
        assert 10 <= len(results) < 60
        assert line.last == line.published_through == len(results)
        assert part_ids(results) == names(photos)[: len(results)]
        stopped = listener.events()[-1]
        assert (stopped.kind, stopped.message) == (
            "stopped",
            "the agent stops: told to by SIGTERM",
        )
        health = listener.of(Health)
        assert not health or health[-1].streams[0].stream == "top"


def committed(path: Path) -> list[tuple[str, int]]:
    """Boot and number of each result that is in an outbox."""
    with contextlib.closing(apsw.Connection(str(path))) as database:
        query = "SELECT boot, seq FROM messages JOIN series USING (series) WHERE stream <> ''"
        return [(str(boot), int(seq)) for boot, seq in database.execute(query)]


@pytest.mark.broker
def test_a_kill_brings_the_last_will_and_loses_nothing_that_was_committed(
    broker: Mosquitto, tmp_path: Path, photos: Path, bundle_folder: Path
) -> None:
    config = write_config(
        tmp_path,
        url=broker.url,
        bundle=bundle_folder,
        source=f"images:{photos}",
        camera="rate = 50",
    )
    with Listener(broker.url) as listener:
        with AgentProcess(config) as agent:
            wait_for(lambda: len(listener.results()) >= 15, 30)
            agent.send(signal.SIGKILL)
            agent.wait()
        wait_for(lambda: listener.states()[-1] == "offline connection_lost")
        on_disk = committed(tmp_path / "state" / "outbox.sqlite")
        assert len(on_disk) >= 15
        first_boot = on_disk[0][0]
        with AgentProcess(config) as agent:
            assert agent.wait() == 0
        wait_for(lambda: "offline stopped" in listener.states())
        heard = set(listener.results())
        assert heard >= set(on_disk)
        assert {seq for boot, seq in heard if boot == first_boot} == set(
            range(1, 1 + sum(boot == first_boot for boot, _ in on_disk))
        )
        cut = next(event for event in listener.events() if event.kind == "cut_off")
        assert cut.details["cut_off"] == first_boot
        second = [r for r in listener.of(Result) if r.boot != first_boot]
        assert part_ids(second) == names(photos)


def test_without_a_broker_a_stop_leaves_everything_on_disk(
    tmp_path: Path, photos: Path, bundle_folder: Path
) -> None:
    port = free_port()
    config = write_config(
        tmp_path,
        url=f"mqtt://127.0.0.1:{port}",
        bundle=bundle_folder,
        source=f"images:{photos}",
        outbox="drain_s = 0.3",
    )
    with AgentProcess(config) as agent:
        wait_for(lambda: "its source has ended" in agent.log, 30)
        agent.send(signal.SIGTERM)
        assert agent.wait(15) == 0
    line = agent.log.splitlines()[-1]
    assert "62 messages wait in" in line  # 60 results, started and stopped
    assert line.endswith(f"no broker at 127.0.0.1:{port}: nothing listens there")
    assert len(committed(tmp_path / "state" / "outbox.sqlite")) == 60


@pytest.mark.broker
def test_a_refused_password_is_in_the_log_and_results_wait(
    tmp_path: Path, photos: Path, bundle_folder: Path
) -> None:
    (tmp_path / "password").write_text("my secret")
    with Mosquitto(tmp_path / "broker", "allow_anonymous false") as broker:
        config = write_config(
            tmp_path,
            url=broker.url,
            bundle=bundle_folder,
            source=f"images:{photos}",
            mqtt='username = "ann"\npassword_file = "password"',
            outbox="drain_s = 0",
        )
        with AgentProcess(config) as agent:
            wait_for(lambda: "refuses the password of user 'ann'" in agent.log, 30)
            agent.send(signal.SIGINT)
            assert agent.wait(15) == 0
    assert "secret" not in agent.log


@pytest.mark.broker
def test_a_camera_that_is_not_there(broker: Mosquitto, tmp_path: Path, bundle_folder: Path) -> None:
    source = "v4l2:/dev/video-nowhere"
    config = write_config(tmp_path, url=broker.url, bundle=bundle_folder, source=source)
    with Listener(broker.url) as listener, AgentProcess(config) as agent:
        wait_for(lambda: "degraded camera_lost:top" in listener.states(), 30)
        wait_for(lambda: "camera_lost" in {event.kind for event in listener.events()})
        wait_for(lambda: any(h.streams[0].camera == "lost" for h in listener.of(Health)))
        agent.send(signal.SIGTERM)
        assert agent.wait(15) == 0
        wait_for(lambda: listener.states()[-1] == "offline stopped")
        event = next(e for e in listener.events() if e.kind == "camera_lost")
        assert event.details == {"camera": "top"}
        assert "no device /dev/video-nowhere" in event.message
        assert listener.results() == []


@pytest.mark.broker
def test_an_interval_without_a_camera_is_a_no_read(
    broker: Mosquitto, tmp_path: Path, bundle_folder: Path
) -> None:
    config = write_config(
        tmp_path,
        url=broker.url,
        bundle=bundle_folder,
        source="v4l2:/dev/video-nowhere",
        outbox='[[stream]]\nname = "s"\ncamera = "top"\nmodel = "cells"\ntrigger = "interval:0.2"',
    )
    with Listener(broker.url) as listener, AgentProcess(config) as agent:
        wait_for(lambda: len(listener.results()) >= 2, 30)
        agent.send(signal.SIGTERM)
        assert agent.wait(15) == 0
    result = listener.of(Result)[0]
    assert (result.verdict, result.reasons) == ("no_read", ["no_frame"])
    assert result.trigger.kind == "interval"


def test_over_the_embedded_broker(tmp_path: Path, photos: Path, bundle_folder: Path) -> None:
    iotcore = pytest.importorskip("iotcore", reason="iotcore comes with the extra 'demo'")
    (photos / "000.png").write_bytes(b"")
    (photos / "001.png").write_bytes((photos / "002.png").read_bytes()[:500])
    port = free_port()
    url = f"mqtt://127.0.0.1:{port}"
    config = write_config(
        tmp_path,
        url=url,
        bundle=bundle_folder,
        source=f"images:{photos}",
        mqtt='protocol = "3.1.1"',
    )
    with iotcore.Broker(port=port, listen="127.0.0.1"), Listener(url, "3.1.1") as listener:
        with AgentProcess(config) as agent:
            assert agent.wait() == 0
        wait_for(lambda: "offline stopped" in listener.states())
    results = listener.of(Result)
    assert part_ids(results) == names(photos)
    assert len(results) == 60
    assert {status.delivery for status in listener.of(Status)} == {"confirmed"}
    reasons = {r.part.id: r.reasons for r in results if r.verdict == "no_read"}
    assert reasons == {
        "000.png": ["unreadable:image: the file is empty (0 bytes)"],
        "001.png": ["unreadable:image: the picture is truncated (its end marker is missing)"],
    }


@pytest.mark.broker
def test_in_a_program_with_frames_from_memory(
    broker: Mosquitto, tmp_path: Path, bundle_folder: Path
) -> None:
    config = write_config(tmp_path, url=broker.url, bundle=bundle_folder, source="v4l2:none")
    frame = np.full((200, 300, 3), 128, np.uint8)
    source = MemorySource("top", [frame, "the lens cap is on", frame])
    with Listener(broker.url) as listener:
        agent = Agent(read_settings(config), sources={"top": source})
        agent.run()
        wait_for(lambda: len(listener.results()) >= 3)
        results = listener.of(Result)
        assert {r.boot for r in results} == {agent.boot}
        assert [r.verdict == "no_read" for r in results] == [False, True, False]
        assert results[0].scores == results[2].scores


@pytest.mark.broker
def test_two_cameras_share_a_model(broker: Mosquitto, tmp_path: Path, bundle_folder: Path) -> None:
    config = write_config(
        tmp_path,
        url=broker.url,
        bundle=bundle_folder,
        source="v4l2:none",
        camera="""
[[camera]]
name = "side"
source = "v4l2:none"
[[stream]]
name = "from-top"
camera = "top"
model = "cells"
[[stream]]
name = "from-side"
camera = "side"
model = "cells"
""",
    )
    frame = np.full((200, 300, 3), 128, np.uint8)
    sources = {name: MemorySource(name, [frame] * 5) for name in ("top", "side")}
    with Listener(broker.url) as listener:
        Agent(read_settings(config), sources=sources).run()
        wait_for(lambda: len(listener.results()) >= 10)
        wait_for(lambda: "offline stopped" in listener.states())
    for stream, camera in [("from-top", "top"), ("from-side", "side")]:
        results = [r for r in listener.of(Result) if r.stream == stream]
        assert [r.seq for r in results] == [1, 2, 3, 4, 5]
        assert {r.inputs[0].name for r in results} == {camera}
    last = listener.of(Status)[-1]
    assert {(x.stream, x.last, x.published_through) for x in last.ledger} == {
        ("from-top", 5, 5),
        ("from-side", 5, 5),
    }
    assert len(last.models) == 1


def test_what_is_wrong_is_one_line_before_anything_starts(
    tmp_path: Path, photos: Path, bundle_folder: Path
) -> None:
    good = {"url": "mqtt://127.0.0.1:1", "bundle": bundle_folder, "source": f"images:{photos}"}
    for changes, text in [
        ({"source": f"images:{tmp_path}/nowhere"}, "camera 'top': no folder"),
        ({"source": "gst:videotestsrc"}, "source 'gst:videotestsrc' is none of images:…"),
        ({"mqtt": 'user = "x"'}, "unknown key 'user' in mqtt, did you mean 'username'?"),
    ]:
        config = write_config(tmp_path, **(good | changes))  # type: ignore[arg-type]
        done = lineside("agent", "run", config, ok=False)
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, done.stderr
        assert text in errors[0]
        assert not (tmp_path / "state" / "outbox.sqlite").exists()


@pytest.mark.broker
def test_without_a_model_every_part_is_a_no_read(
    broker: Mosquitto, tmp_path: Path, photos: Path, bundle_folder: Path
) -> None:
    """The line goes on, and says so: never a guess, never silence."""
    changed = tmp_path / "changed"
    shutil.copytree(bundle_folder, changed)
    model = changed / "model.tflite"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    config = write_config(tmp_path, url=broker.url, bundle=changed, source=f"images:{photos}")
    with Listener(broker.url) as listener:
        Agent(read_settings(config)).run()
        wait_for(lambda: "offline stopped" in listener.states())
    results = listener.of(Result)
    assert {(r.verdict, *r.reasons) for r in results} == {("no_read", "no_model")}
    assert len(results) == len(list(photos.iterdir()))
    assert "degraded no_model:cells" in listener.states()
    refused = next(e for e in listener.events() if e.kind == "model_refused")
    assert "sha256" in refused.message


@pytest.mark.broker
def test_a_model_that_nobody_measured_is_told_apart(
    broker: Mosquitto, tmp_path: Path, photos: Path, bundle_folder: Path
) -> None:
    bundle = unmeasured(bundle_folder, tmp_path / "b", "the labels were guessed")
    config = write_config(tmp_path, url=broker.url, bundle=bundle, source=f"images:{photos}")
    lines = lineside("agent", "check", config, "--no-broker").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ok", "ok", "note", "note", "ok", "ok"]
    assert lines[2].endswith("the labels were guessed")
    assert lines[3].endswith(PARITY_UNKNOWN)
    with Listener(broker.url) as listener, AgentProcess(config) as agent:
        assert agent.wait() == 0
        wait_for(lambda: "offline stopped" in listener.states())
        assert PARITY_UNKNOWN in agent.log
    assert {model.parity for status in listener.of(Status) for model in status.models} == {
        "unknown"
    }
