"""From the start of an agent to the change of its model: real bundles, children, and threads."""

from __future__ import annotations

import json
import queue
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typing_extensions import Self

from lineside.bundle import open_bundle
from lineside.commands import Command, Response
from lineside.errors import InputError, MessageError
from lineside.image import Frame
from lineside.keys import KeyPair, new_key_pair
from lineside.runtime.golden import golden_frame
from lineside.settings import Settings, parse_settings
from lineside_agent.commands import Audit, Reply, Request
from lineside_agent.models import Roster, Slot
from lineside_agent.models.store import Record
from lineside_agent.models.watch import JUDGED, WATCHED
from tests.support import models
from tests.support.broker import wait_for
from tests.support.bundles import crash, edit_manifest, edit_model, negate_last_layer, with_model
from tests.support.examples import BOOT
from tests.support.signing import sign_by_hand

CONFIG = """
[station]
site = "ulm"
name = "press4"
[mqtt]
url = "mqtt://127.0.0.1:1"
[[model]]
name = "cells"
bundle = "cells"
bundles = "bundles"
[[camera]]
name = "top"
source = "images:top"
[[camera]]
name = "side"
source = "images:side"
[[stream]]
name = "top"
camera = "top"
model = "cells"
[[stream]]
name = "side"
camera = "side"
model = "cells"
"""
GREY = models.flat(90)
MEASURED = {"device": "a workstation", "threads": 1, "invoke_ms_p50": 0.01}


class Line:
    """A stream's thread: looks at the same frame again and again, and notes who answered what."""

    def __init__(self, slot: Slot, frame: Frame) -> None:
        self.slot = slot
        self.frame = frame
        self.moving = True
        self.seen: list[tuple[str, str]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.001):
            if self.moving:
                self.slot.turn()
                answer = self.slot.inspect(self.frame).answer
                version = next((model.version for model in self.slot.context.models), "none")
                self.seen.append((answer.verdict, version))


class Station:
    """The models of a station, begun and stopped as an agent does it."""

    def __init__(self, folder: Path, frame: Frame, *, config: str = CONFIG) -> None:
        self.settings: Settings = parse_settings(config, folder=folder)
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.audit = Audit(folder / "state" / "audit.jsonl", BOOT)
        self.roster = Roster(self.settings, BOOT, self._tell, self.audit)
        self._frame = frame

    def _tell(self, kind: str, message: str, **details: Any) -> None:  # noqa: ANN401 - JSON
        self.events.append((kind, message, details))

    def __enter__(self) -> Self:
        (Path(self.settings.outbox.path).parent).mkdir(exist_ok=True)
        self.roster.begin()
        self.lines = [Line(slot, self._frame) for slot in self.roster.slots.values()]
        self.audit.start()
        self.roster.start()
        for line in self.lines:
            line.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        for line in self.lines:
            line.stop()
        self.roster.stop()
        self.audit.stop()

    def __getitem__(self, kind: str) -> list[str]:
        """What was said of one kind."""
        return [message for found, message, _ in self.events if found == kind]

    @property
    def versions(self) -> list[str]:
        """Of the bundle that each stream looks with."""
        return [slot.context.models[0].version for slot in self.roster.slots.values()]

    @property
    def slots_watching(self) -> int:
        """How many streams look with a bundle that is being watched."""
        return sum(slot.old is not None for slot in self.roster.slots.values())

    @property
    def status(self) -> list[tuple[str, str | None]]:
        """Version and origin, as status says them."""
        return [(model.version, model.origin) for model in self.roster.loaded]

    def ask(self, bundle: str | None = None, model: str = "cells") -> Response:
        """Send `use_bundle`, and wait for the answer."""
        return self.send(bundle, model).get(timeout=60)

    def send(self, bundle: str | None, model: str = "cells") -> queue.SimpleQueue[Response]:
        """Send `use_bundle`."""
        answers: queue.SimpleQueue[Response] = queue.SimpleQueue()
        args = {"model": model} | ({} if bundle is None else {"bundle": bundle})
        request = Request(Command(id="1", requester="ann", op="use_bundle", args=args), 0)
        draft = Response(site="ulm", station="press4", boot=BOOT, id="1", op="use_bundle", ok=False)
        reply = Reply(draft, request, lambda answered: answers.put(answered.response))
        self.roster.use_bundle(request, reply)
        return answers

    def proven(self) -> None:
        """Wait until what is in use is the last good one."""
        used = self.roster.loaded[0].digest
        file = Path(self.settings.outbox.path).parent / "models" / "cells" / "choice.json"
        wait_for(
            lambda: file.exists() and json.loads(file.read_bytes()).get("good") == used, 30, "good"
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A station's folder with a small bundle, version 1.0.0."""
    models.plain(tmp_path / "cells", measured=MEASURED)
    (tmp_path / "bundles").mkdir()
    return tmp_path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after a first run of the agent: its bundle is the last good one."""
    folder = tmp_path_factory.mktemp("home") / "station"
    models.plain(folder / "cells", measured=MEASURED)
    (folder / "bundles").mkdir()
    with Station(folder, GREY) as station:
        station.proven()
    return folder


@pytest.fixture
def again(home: Path, tmp_path: Path) -> Path:
    """A copy of that, to be started again."""
    return Path(shutil.copytree(home, tmp_path / "station"))


def record(folder: Path) -> Record:
    """What the store remembers."""
    path = folder / "state" / "models" / "cells" / "choice.json"
    return msgspec.json.decode(path.read_bytes(), type=Record)


# ---- use_bundle


def test_a_change_is_made_survives_and_is_taken_back(folder: Path) -> None:
    two = models.plain(folder / "bundles" / "two", version="2.0.0", measured=MEASURED)
    one = open_bundle(folder / "cells")
    with Station(folder, GREY) as station:
        assert station.status == [("1.0.0", "configuration")]
        assert station.roster.reasons == []
        station.proven()
        answer = station.ask("two")
        assert (answer.ok, answer.reason) == (True, None)
        assert answer.details == {"changed": True, "model": "tiny 2.0.0", "digest": two.digest}
        assert station.versions == ["2.0.0", "2.0.0"]
        assert station.status == [("2.0.0", "command")]
        ((_, message, details),) = [e for e in station.events if e[0] == "model_changed"]
        assert message == "model cells: tiny 2.0.0 is in use now, as ann asked"
        assert (details["by"], details["before"]) == ("ann", one.digest)
        assert station.ask("two").details["changed"] is False
        wait_for(lambda: all(len(line.seen) > WATCHED for line in station.lines), 30)
        station.proven()
        for line in station.lines:  # none was lost, none was answered by nobody
            assert {version for _, version in line.seen} == {"1.0.0", "2.0.0"}
            assert {verdict for verdict, _ in line.seen} == {"ng"}
    shutil.rmtree(folder / "bundles" / "two")  # what is in use is in the store
    with Station(folder, GREY) as station:
        assert station.status == [("2.0.0", "command")]
        assert station.roster.reasons == []
        answer = station.ask()
        assert answer.ok
        assert station.status == [("1.0.0", "configuration")]
    with Station(folder, GREY) as station:
        assert station.status == [("1.0.0", "configuration")]
    lines = (folder / "state" / "audit.jsonl").read_text().splitlines()
    changes = [json.loads(line) for line in lines]
    assert [c["by"] for c in changes if c["what"] == "model_changed"] == ["ann", "ann"]


def test_another_configuration_is_the_later_word(folder: Path) -> None:
    models.plain(folder / "bundles" / "two", version="2.0.0")
    with Station(folder, GREY) as station:
        station.proven()
        assert station.ask("two").ok
    shutil.rmtree(folder / "cells")
    models.plain(folder / "cells", version="3.0.0")
    with Station(folder, GREY) as station:
        assert station.status == [("3.0.0", "configuration")]
        assert station.slots_watching == 2
    assert record(folder).chosen is None


def other_labels(folder: Path) -> None:
    edit_manifest(folder, lambda m: m["labels"][1].update(name="fine"))


def wrong_answers(folder: Path) -> None:
    edit_manifest(folder, lambda m: m["golden"][0].update(verdict="review"))


def test_what_is_refused_changes_nothing(folder: Path) -> None:
    two = folder / "bundles" / "two"
    models.plain(two, version="2.0.0")
    for name in ("spoilt", "other_labels", "wrong_answers"):
        shutil.copytree(two, two.with_name(name))
    (two.with_name("spoilt") / "model.tflite").write_bytes(b"cut")
    other_labels(two.with_name("other_labels"))
    wrong_answers(two.with_name("wrong_answers"))
    with Station(folder, GREY) as station:
        station.proven()
        before = record(folder)
        for n, (name, message) in enumerate(
            {
                "spoilt": "spoilt is refused: model.tflite: ",
                "other_labels": "does not fit model 'cells': its labels are defective (bad), fine",
                "wrong_answers": "1 of 3 golden images fail",
                "missing": "missing is no bundle",
                "../cells": "'../cells' is refused: a path below",
            }.items()
        ):
            answer = station.ask(name)
            assert not answer.ok
            assert answer.reason is not None
            assert message in answer.reason
            assert message in station["model_refused"][n]
        assert station.versions == ["1.0.0", "1.0.0"]
        assert record(folder) == before
    lines = (folder / "state" / "audit-refused.jsonl").read_text().splitlines()
    assert [json.loads(line)["by"] for line in lines] == ["ann"] * 5


def test_a_model_that_kills_the_child_or_lies(bundle_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle_folder, tmp_path / "cells")
    bundle = open_bundle(bundle_folder)
    for name, change in (("kills", crash), ("lies", negate_last_layer)):
        with_model(bundle_folder, tmp_path / "bundles" / name, edit_model(bundle.model, change))
    golden = bundle.manifest.golden[0]
    frame = golden_frame(golden.file, bundle.files[golden.file], bundle.manifest.preprocess)
    with Station(tmp_path, frame) as station:
        for name, message in (("kills", "killed the process that tried it"), ("lies", "golden")):
            answer = station.ask(name)
            assert answer.reason is not None
            assert message in answer.reason
        for line in station.lines:
            assert {verdict for verdict, _ in line.seen} == {golden.verdict}


def test_no_such_model_and_one_at_a_time(folder: Path) -> None:
    models.plain(folder / "bundles" / "two", version="2.0.0")
    with Station(folder, GREY) as station:
        with pytest.raises(MessageError, match="no stream uses a model 'caps', there is cells"):
            station.ask(model="caps")
        first = station.send("two")
        with pytest.raises(MessageError, match="another bundle is just being tried"):
            station.send("two")
        assert first.get(timeout=60).ok
        assert station.versions == ["2.0.0", "2.0.0"]
        assert station.ask("../x").reason is not None
    with pytest.raises(MessageError, match="the agent stops; send it again when it is back"):
        station.send("two")


def test_a_stream_that_stands_still_keeps_all_as_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineside_agent.models.seat.TAKE_S", 0.3)
    models.plain(folder / "bundles" / "two", version="2.0.0")
    with Station(folder, GREY) as station:
        station.proven()
        before = record(folder)
        station.lines[1].moving = False
        answer = station.ask("two")
        assert answer.reason == "stream 'side' did not take the new model within 0.3 s"
        station.lines[1].moving = True
        wait_for(lambda: station.versions == ["1.0.0", "1.0.0"])
        assert record(folder) == before
        assert station.status == [("1.0.0", "configuration")]
        assert station.ask("two").ok


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return new_key_pair("plant", tmp_path_factory.mktemp("keys"))


def test_trust_holds_for_the_next_one_too(folder: Path, key: KeyPair) -> None:
    models.plain(folder / "bundles" / "two", version="2.0.0")
    sign_by_hand(folder / "cells", key)
    config = CONFIG.replace("bundles =", f'trust = "{key.public}"\nbundles =')
    with Station(folder, GREY, config=config) as station:
        answer = station.ask("two")
        assert answer.reason is not None
        assert "it is not signed, signature.json is expected" in answer.reason
        sign_by_hand(folder / "bundles" / "two", key)
        assert station.ask("two").ok
    with Station(folder, GREY, config=config) as station:  # the copy is signed, too
        assert station.status == [("2.0.0", "command")]
    key.public.rename(key.public.with_suffix(".gone"))
    with pytest.raises(InputError, match="can't be read"), Station(folder, GREY, config=config):
        pass
    key.public.with_suffix(".gone").rename(key.public)


# ---- a new model that misbehaves


@pytest.mark.parametrize(
    ("make", "frame", "why"),
    [
        (models.speechless, models.flat(0), "it gives no answer: outputs_not_finite"),
        (
            lambda out, **more: models.plain(out, crop=(150, 150, 50, 50), **more),
            models.flat(90, side=100),
            "it fails: ImageError: frame: the region (150, 150, 50, 50) reaches outside",
        ),
        (models.slow, GREY, "ms were expected here and"),
    ],
)
def test_it_is_taken_back(
    folder: Path, make: Callable[..., object], frame: Frame, why: str
) -> None:
    make(folder / "bundles" / "two", version="2.0.0", measured=MEASURED)
    with Station(folder, frame) as station:
        station.proven()
        wait_for(lambda: all(len(line.seen) > JUDGED for line in station.lines))
        assert station.ask("two").ok
        wait_for(lambda: station["model_taken_back"], 30)
        wait_for(lambda: station.versions == ["1.0.0", "1.0.0"])
        (message,) = station["model_taken_back"]
        assert why in message
        assert station.roster.reasons == ["model_fallback:cells"]
        assert station.status == [("1.0.0", "last_good")]
        for line in station.lines:
            assert "no_read" not in {verdict for verdict, _ in line.seen}
        found = record(folder)
        assert found.chosen is None
        assert found.refused == [open_bundle(folder / "bundles" / "two").digest]
        assert station.ask().ok  # what the configuration says
        assert station.roster.reasons == []


def test_back_to_the_one_before_that_a_command_chose(folder: Path) -> None:
    models.plain(folder / "bundles" / "two", version="2.0.0")
    models.speechless(folder / "bundles" / "three", version="3.0.0")
    with Station(folder, models.flat(0)) as station:
        station.proven()
        assert station.ask("two").ok
        station.proven()
        assert station.ask("three").ok
        wait_for(lambda: station["model_taken_back"], 30)
    with Station(folder, models.flat(0)) as station:
        assert station.status == [("2.0.0", "command")]


def test_a_person_may_go_back_before_the_watch_is_over(folder: Path) -> None:
    models.plain(folder / "bundles" / "two", version="2.0.0")
    with Station(folder, GREY) as station:
        station.proven()
        for line in station.lines[1:]:
            line.frame = models.flat(90, side=1500)  # it takes longer
        assert station.ask("two").ok
        assert station.ask().ok
        assert station.versions == ["1.0.0", "1.0.0"]
        assert station.slots_watching == 0


# ---- at the start


def test_a_start_on_a_bundle_that_fails(again: Path) -> None:
    wrong_answers(again / "cells")
    with Station(again, GREY) as station:
        assert station.roster.reasons == ["model_fallback:cells"]
        assert station.status == [("1.0.0", "last_good")]
        (message,) = station["model_refused"]
        assert "golden images fail" in message
        wait_for(lambda: all(line.seen for line in station.lines))
        assert station.lines[0].seen[0] == ("ng", "1.0.0")


def test_a_start_with_no_model_at_all(folder: Path) -> None:
    models.plain(folder / "bundles" / "two", version="2.0.0")
    wrong_answers(folder / "cells")
    with Station(folder, GREY) as station:
        assert station.roster.reasons == ["no_model:cells"]
        assert station.status == []
        assert all(slot.vacant for slot in station.roster.slots.values())
        wait_for(lambda: all(line.seen for line in station.lines))
        assert {found for line in station.lines for found in line.seen} == {("no_read", "none")}
        assert station.ask("two").ok
        assert station.status == [("2.0.0", "command")]
        assert station.roster.reasons == []
    with Station(folder, GREY) as station:
        assert station.status == [("2.0.0", "command")]


def test_a_start_on_a_new_bundle_that_misbehaves(again: Path) -> None:
    shutil.rmtree(again / "cells")
    models.speechless(again / "cells", version="2.0.0")
    with Station(again, models.flat(0)) as station:
        wait_for(lambda: station["model_taken_back"])
        wait_for(lambda: station.versions == ["1.0.0", "1.0.0"])
        assert station.roster.reasons == ["model_fallback:cells"]
    with Station(again, models.flat(0)) as station:  # it is not tried again
        assert station.status == [("1.0.0", "last_good")]
        assert station.roster.reasons == ["model_fallback:cells"]
        assert "was taken back" in station["model_refused"][0]
        assert station.ask().ok  # a person may insist
        wait_for(lambda: station["model_taken_back"])
    damage_the_copy(again / "state" / "models" / "cells")
    with Station(again, models.flat(90)) as station:  # better than none
        assert station.status == [("2.0.0", "configuration")]
        assert station.slots_watching == 0
        assert len(station["model_refused"]) == 2


def test_a_bundle_under_which_the_agent_dies_is_given_up(
    again: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineside_agent.models.seat.STARTS", 2)
    shutil.rmtree(again / "cells")
    models.plain(again / "cells", version="2.0.0")
    for n in range(2):
        station = Station(again, GREY)
        station.roster.begin()
        assert record(again).starts == n  # another agent may own the folder
        station.roster.start()  # and then it is killed
        assert station.status == [("2.0.0", "configuration")]
        assert record(again).starts == n + 1
    with Station(again, GREY) as station:
        assert station.status == [("1.0.0", "last_good")]
        assert station.roster.reasons == ["model_fallback:cells"]


def test_a_stop_is_no_death(again: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside_agent.models.seat.STARTS", 1)
    shutil.rmtree(again / "cells")
    models.plain(again / "cells", version="2.0.0")
    for _ in range(2):
        with Station(again, GREY) as station:
            assert station.status == [("2.0.0", "configuration")]
            for line in station.lines:
                line.moving = False
    assert record(again).starts == 0


def test_nor_is_one_in_the_middle_of_loading_a_bundle(
    again: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineside_agent.models.roster.STOP_S", 0.0)
    shutil.rmtree(again / "cells")
    models.plain(again / "cells", version="2.0.0")
    models.plain(again / "bundles" / "three", version="3.0.0")
    with Station(again, GREY) as station:
        for line in station.lines:
            line.moving = False
        assert record(again).starts == 1
        answers = station.send("three")
    at_the_stop = record(again)
    assert (at_the_stop.starts, at_the_stop.chosen) == (0, None)
    answer = answers.get(timeout=60)
    assert not answer.ok
    assert "the agent stops" in (answer.reason or "")
    assert record(again) == at_the_stop


def test_a_stop_before_all_streams_took_a_bundle_leaves_the_old_one(
    again: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineside_agent.models.roster.STOP_S", 0.0)
    monkeypatch.setattr("lineside_agent.models.seat.TAKE_S", 1.0)
    models.plain(again / "bundles" / "two", version="2.0.0")
    with Station(again, GREY) as station:
        before = record(again)
        station.lines[1].moving = False
        answers = station.send("two")
        wait_for(lambda: record(again).chosen is not None, 30, "offered")
    assert record(again) == before
    assert not answers.get(timeout=60).ok
    assert record(again) == before


def damage_the_record(store: Path) -> None:
    (store / "choice.json").write_bytes(b"{")


def damage_the_copy(store: Path) -> None:
    for file in store.glob("*/model.tflite"):
        file.write_bytes(b"")


def put_a_file_there(store: Path) -> None:
    shutil.rmtree(store)
    store.write_bytes(b"")


@pytest.mark.parametrize("damage", [damage_the_record, damage_the_copy, put_a_file_there])
def test_a_damaged_store_is_no_reason_not_to_start(
    again: Path, damage: Callable[[Path], None]
) -> None:
    damage(again / "state" / "models" / "cells")
    with Station(again, GREY) as station:
        assert station.status == [("1.0.0", "configuration")]
        assert station.roster.reasons == []
        wait_for(lambda: all(line.seen for line in station.lines))
        if damage is put_a_file_there:
            wait_for(lambda: station["model_store_failed"])
        else:
            station.proven()


def test_the_streams_go_on_while_a_bundle_is_tried(folder: Path) -> None:
    models.plain(folder / "bundles" / "two", version="2.0.0")
    with Station(folder, GREY) as station:
        begun = [len(line.seen) for line in station.lines]
        answer = station.send("two")
        assert answer.get(timeout=60).ok
        looked = [len(line.seen) for line in station.lines]
        # A child takes a third of a second and more, a frame here a millisecond.
        assert all(after - before > 50 for before, after in zip(begun, looked, strict=True))
