"""A switch is decided, also where the disk is full just then."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside_device import main
from lineside_device.home import Home
from lineside_device.system import System
from tests.support.disk import tiny_disk
from tests.support.program import program

DECIDE = """
import sys
from pathlib import Path
import lineside_device.main as main
from lineside_device.home import Home
from lineside_device.system import System
main.AGAIN_S = 0.2
outcome = main._decide(Home(Path(sys.argv[1])), System())
print(outcome.good)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with tiny_disk(tmp_path / "disk", kib=2048) as folder:
        yield folder


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


def test_a_full_disk_does_not_keep_what_failed(disk: Path) -> None:
    program("systemctl", "systemd")
    home = Home(disk / "lineside")
    for name in ("one", "two"):
        told = {"lineside": "0.1.0", "models": []}
        (home.begin(name) / "package.json").write_text(json.dumps(told))
        home.complete(name)
    home.switch("one")
    home.keep("one")
    home.try_out("two", 0.0)
    fill(disk)
    done = subprocess.run(
        [sys.executable, "-c", DECIDE, str(home.folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("False\n")
    assert (home.trial, home.current, home.releases) == (None, "one", ["one"])
    assert not home.release("two").exists()
    assert not json.loads((home.folder / "outcome.json").read_bytes())["good"]


def test_a_full_disk_puts_a_decision_off(
    disk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "AGAIN_S", 0.2)
    filler = fill(disk)
    threading.Timer(0.5, filler.unlink).start()
    main._once_there_is_room(lambda: (disk / "decided").write_bytes(bytes(100_000)))  # noqa: SLF001
    assert (disk / "decided").stat().st_size == 100_000
    assert "it can't be decided yet: [Errno 28] No space left on device" in capsys.readouterr().out


def test_one_that_was_gone_back_from_just_before_a_power_cut_is_rejected(disk: Path) -> None:
    home = Home(disk / "lineside")
    for name in ("one", "two", "three"):
        home.begin(name)
        home.complete(name)
        home.keep(name)
    home.switch("three")
    home.try_out("two", 5.0)  # as it was before; it fails now
    home.switch("three")
    assert main._decide(home, System()) is None  # noqa: SLF001
    assert (home.trial, home.current, home.releases) == (None, "three", ["one", "three"])


def test_who_comes_second_to_decide_waits(disk: Path) -> None:
    home = Home(disk / "lineside")
    home.folder.mkdir()
    order: list[str] = []

    def second() -> None:
        with Home(home.folder).deciding():
            order.append("second")

    with home.deciding():
        other = threading.Thread(target=second)
        other.start()
        time.sleep(0.2)
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]
