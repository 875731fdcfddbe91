"""Releases, the link to one of them, and a new one that must prove itself."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from lineside_device.errors import RefusedError
from lineside_device.home import Home
from lineside_device.leftovers import leftovers, locked, tidy
from lineside_device.system import run
from lineside_device.trial import lacking, read_status, try_release

PACKAGE: dict[str, Any] = {
    "lineside": "0.1.0",
    "models": [{"name": "cells", "bundle": "run", "version": "1.0.0", "digest": "sha256:new"}],
}


def status(boot: str = "b2", state: str = "online", *reasons: str) -> dict[str, Any]:
    return {"version": "0.1.0", "boot": boot, "state": state, "reasons": list(reasons)}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "lineside")
    for name in ("one", "two", "three", "four"):
        (home.begin(name) / "file").write_text(name)
        home.complete(name)
        home.keep(name)
    return home


def test_a_release_that_is_not_complete_is_none(home: Home) -> None:
    (home.begin("half") / "file").write_text("half")
    assert home.releases == ["one", "two", "three", "four"]
    with pytest.raises(RefusedError, match="half is no complete release"):
        home.switch("half")
    home.switch("two")
    home.prune(keep=5)
    assert home.releases == ["one", "two", "three", "four"]
    home.prune(keep=2)
    assert home.releases == ["two", "three", "four"]  # the current one stays, old as it is
    assert home.release("half").exists()  # it may be under way
    home.clear()
    assert not home.release("half").exists()
    assert home.releases == ["two", "three", "four"]


def test_what_was_never_tried_is_not_gone_back_to(home: Home) -> None:
    (home.begin("cut") / "file").write_text("cut off before the switch")
    home.complete("cut")
    home.switch("one")
    assert home.releases == ["one", "two", "three", "four"]
    assert leftovers(home.folder) == [home.release("cut")]
    home.clear()
    assert not home.release("cut").exists()
    home.try_out("two", 5.0)
    assert home.releases == ["one", "two", "three", "four"]


def test_what_was_cut_is_removed_unless_somebody_is_at_it(home: Home, tmp_path: Path) -> None:
    cut, sent, lock = home.begin("cut"), tmp_path / "sent", tmp_path / "lock"
    tidy(tmp_path / "nowhere", sent, lock)  # a device that never was a station
    (sent / "wheels").mkdir(parents=True)
    for holder in (home.alone(), home.deciding()):
        with holder, locked(lock, wait=False):
            tidy(home.folder, sent, lock)
        assert (cut.exists(), sent.exists()) == (True, True)
    lock.unlink()  # it does not outlive a power cut
    tidy(home.folder, sent, lock)
    assert (cut.exists(), sent.exists()) == (False, False)
    assert home.releases == ["one", "two", "three", "four"]


def test_what_was_removed_meanwhile_is_not_tried(home: Home) -> None:
    home.switch("one")
    home.remove("two")
    with pytest.raises(RefusedError, match="two is no complete release"):
        home.try_out("two", 5.0)
    assert (home.trial, home.current) == (None, "one")


def test_what_was_gone_back_from_is_not_gone_back_to(home: Home) -> None:
    home.switch("two")
    home.keep("two")  # tried once more, and now the last that stayed
    assert home.releases == ["one", "three", "four", "two"]
    home.reject("four")
    assert home.releases == ["one", "three", "two"]
    home.switch("three")
    home.reject("three")
    assert home.releases == ["one", "two", "three"]  # it runs, after all


def test_a_link_that_leads_nowhere_leads_to_no_release(home: Home) -> None:
    home.switch("two")
    home.remove("two")
    assert home.current is None
    assert home.try_out("three", 5.0).before is None


def test_one_that_runs_and_is_tried_again_has_nothing_to_go_back_to(home: Home) -> None:
    home.switch("two")
    assert home.try_out("two", 5.0).before is None


def test_what_a_command_prints_need_not_be_text() -> None:
    assert run("printf", r"\377 words") == "\ufffd words"


def test_a_release_that_is_removed_is_none(home: Home) -> None:
    home.remove("two")
    assert home.releases == ["one", "three", "four"]
    assert not home.release("two").exists()


def test_nobody_looks_into_what_is_not_complete(home: Home) -> None:
    half = home.begin("half")
    assert stat.S_IMODE(half.stat().st_mode) == 0o700
    home.complete("half")
    assert stat.S_IMODE(half.stat().st_mode) == 0o755


def test_nobody_else_can_hold_its_locks(home: Home) -> None:
    with home.alone(), home.deciding():
        pass
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.folder.glob(".*")}
    assert modes == {".installing": 0o600, ".deciding": 0o600}


def test_two_do_not_install_at_once(home: Home) -> None:
    with home.alone():
        refused = pytest.raises(RefusedError, match="another installation is under way here")
        with refused, Home(home.folder).alone():
            pytest.fail("both are in")
    with home.alone():
        pass


def test_the_link_leads_to_the_release(home: Home) -> None:
    assert home.current is None
    home.switch("one")
    home.switch("two")
    assert (home.link / "file").read_text() == "two"
    assert home.current == "two"


def test_a_release_that_is_installed_again_begins_empty(home: Home) -> None:
    assert list(home.begin("one").iterdir()) == []
    assert "one" not in home.releases


def test_a_switch_that_is_not_decided_is_known_after_a_power_cut(home: Home) -> None:
    home.switch("one")
    trial = home.try_out("two", 5.0)
    assert (Home(home.folder).trial, trial.before, home.current) == (trial, "one", "two")
    home.decide()
    assert home.trial is None


def test_what_a_later_version_says_of_a_switch_is_read(home: Home) -> None:
    trial = home.try_out("two", 5.0, old=status("b1"), invocation="c0ffee")
    told = vars(trial) | {"more": "than we know"}
    (home.folder / "trial.json").write_text(json.dumps(told))
    assert home.trial == trial


def test_what_has_not_proved_itself_is_not_gone_back_to(home: Home) -> None:
    home.switch("one")
    home.try_out("two", 5.0)
    assert home.try_out("three", 5.0).before == "one"
    assert home.trial is not None
    assert home.trial.before == "one"


def test_what_proves_itself_stays(home: Home, tmp_path: Path) -> None:
    home.switch("one")
    said = tmp_path / "status.json"
    said.write_text(json.dumps(status()))
    restarts: list[str] = []
    outcome = try_release(
        home,
        home.try_out("two", 5.0, old=status("b1")),
        package=PACKAGE,
        restart=lambda: restarts.append("again"),
        complaints=list,
        status=lambda: read_status(said),
    )
    assert (outcome.good, outcome.why) == (True, "online, and no model is refused")
    assert (home.current, restarts) == ("two", [])


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (None, "after 0 s its status has not reached the broker"),
        (status("b1"), "after 0 s its status has not reached the broker"),
        (status("b2", "degraded", "camera_lost:top"), "after 0 s it is degraded: camera_lost:top"),
    ],
)
def test_what_does_not_gives_way_to_the_release_before(
    home: Home, found: dict[str, Any] | None, why: str
) -> None:
    home.switch("one")
    restarts: list[str | None] = []
    outcome = try_release(
        home,
        home.try_out("two", 0.0, old=status("b1")),
        package=PACKAGE,
        restart=lambda: restarts.append(home.current),
        complaints=lambda: ["one", "two", "three", "four"],
        status=lambda: found,
    )
    assert not outcome.good
    assert outcome.why == f"{why} (two; three; four); one runs again"
    assert (home.current, restarts) == ("one", ["one"])


@pytest.mark.parametrize("reason", ["model_fallback:cells", "no_model:cells"])
def test_a_model_that_is_refused_is_not_waited_for(home: Home, reason: str) -> None:
    home.switch("one")
    outcome = try_release(
        home,
        # The one before had its troubles, too.
        home.try_out("two", 3600.0, old=status("b1", "degraded", reason)),
        package=PACKAGE,
        restart=lambda: None,
        complaints=lambda: ["model cells: a bundle is not used: golden image 3", "a camera"],
        status=lambda: status("b2", "degraded", reason),
    )
    assert not outcome.good
    assert outcome.why == (
        "model cells does not run run 1.0.0 (model cells: a bundle is not used: golden image 3); "
        "one runs again"
    )
    assert home.current == "one"


def test_with_nothing_before_it_stays_and_says_so(home: Home) -> None:
    outcome = try_release(
        home,
        home.try_out("one", 0.0),
        package=PACKAGE,
        restart=lambda: pytest.fail("there is nothing to start"),
        complaints=lambda: ["ActiveState=failed"],
        status=lambda: None,
    )
    assert not outcome.good
    assert outcome.why == (
        "after 0 s its status has not reached the broker (ActiveState=failed); "
        "there is no release to go back to"
    )
    assert home.current == "one"


def test_trouble_that_was_there_before_is_not_the_releases() -> None:
    dark = status("b2", "degraded", "camera_lost:top")
    assert lacking(dark, PACKAGE, frozenset({"camera_lost:top"})) == ""
    assert lacking(dark, PACKAGE, frozenset()) == "it is degraded: camera_lost:top"
    old = status() | {"version": "0.0.9"}
    assert lacking(old, PACKAGE, frozenset()) == "lineside 0.0.9 runs, and not 0.1.0"


def test_a_status_that_is_none_is_none(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    assert read_status(path) is None
    path.write_text("{")
    assert read_status(path) is None
    path.write_text("[]")
    assert read_status(path) is None
