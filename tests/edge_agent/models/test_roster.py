"""From the start of an agent to the change of its model: real bundles, children, and threads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from lineside.bundle import open_bundle
from lineside.errors import InputError, MessageError
from lineside.image import Frame
from lineside.keys import KeyPair, new_key_pair
from lineside.runtime.golden import golden_frame
from lineside_agent.models.watch import JUDGED, WATCHED
from tests.support import models
from tests.support.broker import wait_for
from tests.support.bundles import crash, edit_manifest, edit_model, negate_last_layer, with_model
from tests.support.roster import CONFIG, GREY, MEASURED, Station, record, wrong_answers
from tests.support.signing import sign_by_hand


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


def test_what_can_not_be_written_down_is_not_in_force_later_either(folder: Path) -> None:
    two = models.plain(folder / "bundles" / "two", version="2.0.0")
    choice = folder / "state" / "models" / "cells" / "choice.json"
    with Station(folder, GREY) as station:
        station.proven()
    found = record(folder)
    choice.write_bytes(msgspec.json.encode(replace(found, refused=[two.digest])))
    with Station(folder, GREY) as station:
        station.proven()
        choice.unlink()
        choice.mkdir()
        answer = station.ask("two")
        assert answer.reason is not None
        assert "choice.json" in answer.reason
        choice.rmdir()
        assert station.versions == ["1.0.0", "1.0.0"]
    with Station(folder, GREY) as station:
        assert station.status == [("1.0.0", "configuration")]
    assert record(folder) == replace(found, refused=[two.digest])


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


def test_the_streams_go_on_while_a_bundle_is_tried(folder: Path) -> None:
    models.plain(folder / "bundles" / "two", version="2.0.0")
    with Station(folder, GREY) as station:
        begun = [len(line.seen) for line in station.lines]
        answer = station.send("two")
        assert answer.get(timeout=60).ok
        looked = [len(line.seen) for line in station.lines]
        # A child takes a third of a second and more, a frame here a millisecond.
        assert all(after - before > 50 for before, after in zip(begun, looked, strict=True))
