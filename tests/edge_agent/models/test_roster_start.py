"""Models at the start: bundles that fail, a process that died under one, a damaged store."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import models
from tests.support.broker import wait_for
from tests.support.roster import GREY, Station, record, wrong_answers


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
