"""What a device tells, read from folders that stand for /sys and /proc."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside_agent.supervision import read_device


def thermal(sys: Path, kind: str, **devices: dict[str, str]) -> None:
    """Zones or cooling devices: folder -> file -> text."""
    for number, files in enumerate(devices.values()):
        folder = sys / "class/thermal" / f"{kind}{number}"
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(f"{text}\n")


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    return tmp_path / "sys"


def firmware(sys: Path, word: str) -> None:
    folder = sys / "devices/platform/soc/soc:firmware"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "get_throttled").write_text(f"{word}\n")


@pytest.mark.parametrize(
    ("word", "now", "before"),
    [
        ("0", [], []),
        ("1", ["under_voltage"], []),
        ("50005", ["throttled", "under_voltage"], []),
        ("50000", [], ["throttled", "under_voltage"]),
        ("e0008", ["soft_limit"], ["frequency_capped", "throttled"]),
        ("f000f", ["frequency_capped", "soft_limit", "throttled", "under_voltage"], []),
    ],
)
def test_a_raspberry_pi(
    tmp_path: Path, sys: Path, word: str, now: list[str], before: list[str]
) -> None:
    """The kernel prints the word with %x, so without 0x."""
    thermal(sys, "thermal_zone", cpu={"type": "cpu-thermal", "temp": "48312"})
    thermal(sys, "cooling_device", fan={"type": "pwm-fan", "cur_state": "4"})
    firmware(sys, word)
    device = read_device(tmp_path, sys=sys)
    assert device.cpu_temperature_c == 48.312
    assert (device.throttled, device.was_throttled) == (now, before)
    assert device.tells_throttling


def test_a_jetson(tmp_path: Path, sys: Path) -> None:
    thermal(
        sys,
        "thermal_zone",
        gpu={"type": "gpu-thermal", "temp": "51000"},
        cpu={"type": "cpu-thermal", "temp": "52500"},
        off={"type": "cv0-thermal"},
        tj={"type": "tj-thermal", "temp": "53000"},
    )
    # A sensor that is switched off answers with an error, as a folder does.
    (sys / "class/thermal/thermal_zone2/temp").mkdir()
    thermal(
        sys,
        "cooling_device",
        fan={"type": "pwm-fan", "cur_state": "3"},
        cpu={"type": "cpu-throttle-alert", "cur_state": "1"},
        gpu={"type": "gpu-throttle-alert", "cur_state": "0"},
        hot={"type": "hot-surface-alert", "cur_state": "0"},
        freq={"type": "cpufreq-cpu4", "cur_state": "2"},
        dev={"type": "devfreq-17000000.gpu", "cur_state": "0"},
    )
    device = read_device(tmp_path, sys=sys)
    zones = {"gpu-thermal": 51.0, "cpu-thermal": 52.5, "tj-thermal": 53.0}
    assert (device.temperatures_c, device.cpu_temperature_c) == (zones, 52.5)
    assert device.throttled == ["cpu-throttle-alert", "cpufreq-cpu4"]
    assert device.was_throttled == []
    assert device.tells_throttling


def test_two_zones_of_one_kind_are_told_by_the_hotter(tmp_path: Path, sys: Path) -> None:
    # The tenth comes after the second: in the order of their numbers, not of their names.
    zones = {f"z{n}": {"type": "acpitz", "temp": str(20000 + n * 1000)} for n in range(11)}
    thermal(sys, "thermal_zone", **zones)
    device = read_device(tmp_path, sys=sys)
    assert device.temperatures_c == {"acpitz": 30.0}


def test_a_device_that_tells_nothing(tmp_path: Path, sys: Path) -> None:
    device = read_device(tmp_path / "gone", sys=sys, proc=tmp_path / "proc")
    assert (device.temperatures_c, device.cpu_temperature_c) == ({}, None)
    assert (device.throttled, device.tells_throttling) == ([], False)
    assert (device.memory_available, device.memory_resident, device.disk_free) == (None, None, None)


@pytest.mark.parametrize("text", ["", "hot", "0x5", "-"])
def test_what_is_no_number_is_left_out(tmp_path: Path, sys: Path, text: str) -> None:
    thermal(sys, "thermal_zone", cpu={"type": "cpu-thermal", "temp": text})
    thermal(sys, "cooling_device", cpu={"type": "cpufreq-cpu0", "cur_state": text})
    device = read_device(tmp_path, sys=sys)
    assert (device.temperatures_c, device.throttled) == ({}, [])


def test_memory_and_disk_of_this_machine(tmp_path: Path) -> None:
    device = read_device(tmp_path)
    assert device.memory_total is not None
    assert device.memory_available is not None
    assert device.memory_resident is not None
    assert device.memory_total > device.memory_available > 0
    assert device.memory_total > device.memory_resident > 10_000_000
    assert device.disk_total is not None
    assert device.disk_free is not None
    assert device.disk_total >= device.disk_free > 0
