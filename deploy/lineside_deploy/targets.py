"""The systems that a package can be made for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

PYTHONS: Final = ("3.10", "3.11", "3.12", "3.13")
"""Those that the agent runs on."""


@dataclass(frozen=True)
class Target:
    """A system, as far as a wheel asks.

    Attributes:
        name: what the command line calls it.
        title: what people call it.
        python: the version of the Python that comes with it.
        machine: as `uname -m` says it.
        glibc: the minor version of its C library, which is 2.x.
        l4t: of a Jetson: the major version of its Linux for Tegra; None: it is none.
    """

    name: str
    title: str
    python: str
    machine: str
    glibc: int
    l4t: int | None = None

    def platforms(self) -> Iterator[str]:
        """Tags of the wheels that run on it, the best first (PEP 600)."""
        for minor in range(self.glibc, 16, -1):
            yield f"manylinux_2_{minor}_{self.machine}"
        yield f"manylinux2014_{self.machine}"


TARGETS: Final = {
    one.name: one
    for one in (
        Target("rpi-trixie", "Raspberry Pi OS 13, 64 bit", "3.13", "aarch64", 41),
        Target("rpi-bookworm", "Raspberry Pi OS 12, 64 bit", "3.11", "aarch64", 36),
        Target("jetson-jp6", "Jetson, JetPack 6", "3.10", "aarch64", 35, l4t=36),
        Target("debian-arm64", "Debian 12, arm64", "3.11", "aarch64", 36),
        Target("debian-amd64", "Debian 12, amd64", "3.11", "x86_64", 36),
    )
}
"""By name."""
