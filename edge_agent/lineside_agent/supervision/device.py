"""What the device tells of itself: temperature, throttling, memory, disk.

All of it comes from files of the kernel, so no program is started and no library is needed:

- temperatures: class/thermal/thermal_zone*, on every board;
- throttling on a Jetson, and wherever the kernel itself slows clocks down: class/thermal/
  cooling_device*, of those that cost speed (a fan costs none); a state above 0 is active;
- throttling on a Raspberry Pi, where the firmware does it behind the kernel's back:
  devices/platform/soc/soc:firmware/get_throttled, the word that `vcgencmd get_throttled` prints,
  hexadecimal. The kernel asks the firmware for it every 2 s. Reading it puts one warning into
  the kernel's log at each start of the machine ("deprecated, use hwmon"), but hwmon tells only of
  the voltage, and /dev/vcio, which vcgencmd uses, is open to the group `video` alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SYS: Final = Path("/sys")
PROC: Final = Path("/proc")

_PI_BITS: Final = {0: "under_voltage", 1: "frequency_capped", 2: "throttled", 3: "soft_limit"}
"""The low bits of get_throttled; 16 bits higher the same, for what was since they were cleared."""

_CPU_ZONES: Final = ("cpu-thermal", "CPU-therm", "x86_pkg_temp")
"""Types of the zones that are the CPU, on a Pi and a newer Jetson, an older Jetson, and a PC."""


@dataclass(frozen=True)
class Device:
    """How the device is doing; None or empty where it does not tell.

    Attributes:
        temperatures_c: degrees Celsius of each thermal zone, by its type.
        cpu_temperature_c: the CPU's, or the first zone's where none is called the CPU's.
        throttled: why it runs slower than it could now, sorted: `under_voltage`,
            `frequency_capped`, `throttled`, `soft_limit` on a Raspberry Pi, else the types of
            the cooling devices at work, such as `cpu-throttle-alert` or `cpufreq-cpu0`.
        was_throttled: the same, on a Raspberry Pi, for what was and is over.
        tells_throttling: whether there is anything that would tell.
        memory_total: bytes.
        memory_available: bytes that may be had without swapping.
        memory_resident: bytes of this process.
        disk_total: bytes of the file system of the folder.
        disk_free: bytes of it that this account may still write.
    """

    temperatures_c: dict[str, float] = field(default_factory=dict)
    cpu_temperature_c: float | None = None
    throttled: list[str] = field(default_factory=list)
    was_throttled: list[str] = field(default_factory=list)
    tells_throttling: bool = False
    memory_total: int | None = None
    memory_available: int | None = None
    memory_resident: int | None = None
    disk_total: int | None = None
    disk_free: int | None = None


def read_device(folder: Path, *, sys: Path = SYS, proc: Path = PROC) -> Device:
    """Ask the device. Takes a millisecond or so; what can't be read is left out.

    Args:
        folder: whose disk is meant.
        sys: what stands for /sys.
        proc: what stands for /proc.
    """
    zones = _zones(sys)
    firmware = _firmware_word(sys)
    cooling = list(_cooling(sys))
    now = [name for bit, name in _PI_BITS.items() if (firmware or 0) >> bit & 1]
    was = [name for bit, name in _PI_BITS.items() if (firmware or 0) >> (bit + 16) & 1]
    memory = _meminfo(proc)
    total, free = _disk(folder)
    return Device(
        temperatures_c=zones,
        cpu_temperature_c=_cpu(zones),
        throttled=sorted({*now, *(kind for kind, state in cooling if state > 0)}),
        was_throttled=sorted(set(was) - set(now)),
        tells_throttling=firmware is not None or bool(cooling),
        memory_total=memory.get("MemTotal"),
        memory_available=memory.get("MemAvailable"),
        memory_resident=_resident(proc),
        disk_total=total,
        disk_free=free,
    )


def _text(path: Path) -> str | None:
    """A small file's text. A sensor that is switched off answers with an error."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None


def _integer(path: Path, base: int = 10) -> int | None:
    try:
        return int(_text(path) or "", base)
    except ValueError:
        return None


def _numbered(folder: Path, name: str) -> list[Path]:
    """`name0`, `name1`… in the order of their numbers."""
    found = [path for path in folder.glob(f"{name}*") if path.name[len(name) :].isdecimal()]
    return sorted(found, key=lambda path: int(path.name[len(name) :]))


def _zones(sys: Path) -> dict[str, float]:
    zones: dict[str, float] = {}
    for zone in _numbered(sys / "class/thermal", "thermal_zone"):
        millidegrees = _integer(zone / "temp")
        if millidegrees is not None:
            # Two zones of one type: the hotter one is what matters.
            kind = _text(zone / "type") or zone.name
            zones[kind] = max(millidegrees / 1000, zones.get(kind, float("-inf")))
    return zones


def _cpu(zones: dict[str, float]) -> float | None:
    named = (zones[kind] for kind in _CPU_ZONES if kind in zones)
    return next(named, next(iter(zones.values()), None))


def _cooling(sys: Path) -> Iterator[tuple[str, int]]:
    """Type and state of each cooling device that costs speed."""
    for device in _numbered(sys / "class/thermal", "cooling_device"):
        kind, state = _text(device / "type") or "", _integer(device / "cur_state")
        slows = "cpufreq" in kind or "devfreq" in kind or kind.endswith("-alert")
        if state is not None and (slows or kind == "Processor"):
            yield kind, state


def _firmware_word(sys: Path) -> int | None:
    """What a Raspberry Pi's firmware has told the kernel; None where there is no such firmware."""
    return _integer(sys / "devices/platform/soc/soc:firmware/get_throttled", base=16)


def _meminfo(proc: Path) -> dict[str, int]:
    """The fields of meminfo, in bytes."""
    fields = (line.split() for line in (_text(proc / "meminfo") or "").splitlines())
    return {f[0].rstrip(":"): int(f[1]) * 1024 for f in fields if len(f) > 1 and f[1].isdecimal()}


def _resident(proc: Path) -> int | None:
    for line in (_text(proc / "self/status") or "").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return None


def _disk(folder: Path) -> tuple[int, int] | tuple[None, None]:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None, None
    return usage.total, usage.free
