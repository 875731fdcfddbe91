from __future__ import annotations

import time
from pathlib import Path

import pytest

from lineside_device.clock import clock_floor, raise_clock


def test_the_floor_is_when_the_package_was_made(tmp_path: Path) -> None:
    path = tmp_path / "package.json"
    path.write_text('{"created": "2026-11-22T10:00:00Z"}')
    assert clock_floor(path) == 1795341600
    path.write_text('{"created": "yesterday"}')
    with pytest.raises(ValueError, match="yesterday"):
        clock_floor(path)


def test_a_clock_that_is_right_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "clock_settime", lambda *_: pytest.fail("it was set"))
    assert not raise_clock(time.time() - 10)
