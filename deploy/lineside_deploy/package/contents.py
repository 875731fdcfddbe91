"""What a package says of itself: `package.json`, with the hash of each file.

A package is one tar file, as plain as tar can be, so that a device unpacks it with its own Python:

    package.json       this
    install.sh         what a person runs; it finds Python and starts `device`
    device/            what installs, on the device: Python's standard library and nothing else
    requirements.txt   what pip installs, pinned by hash: lineside too
    wheels/            the wheels; pip's own is one of them
    bom.json           the bill of materials, CycloneDX
    release/           what the station runs, besides what pip installs:
        station.toml   the configuration as the device reads it
        bundles/       of each model its bundle
        trust/, ca.pem keys and certificates that are no secrets
        lineside.service
"""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import Struct

from lineside_device.package import SCHEMA


class PackageFile(Struct, frozen=True, kw_only=True):
    """A file of a package."""

    sha256: str
    size: int


class PackagedModel(Struct, frozen=True, kw_only=True):
    """A model that a package brings: what a station must run afterwards."""

    name: str
    """What the configuration calls it."""
    bundle: str
    """The bundle's own name."""
    version: str
    digest: str


class Package(Struct, frozen=True, kw_only=True):
    """What a package says of itself."""

    schema: str = SCHEMA
    release: str
    """Names the release on the device: it comes from the hashes of all files, so the same content
    is the same release."""
    created: str
    """UTC. A device's clock that is behind it is wrong."""
    lineside: str
    """The version."""
    target: str
    python: str
    """That the wheels are for, such as `3.11`."""
    machine: str
    """As `uname -m` says it."""
    glibc: int
    """The minor version that the wheels ask for at most."""
    l4t: int | None = None
    """Of a Jetson: the major version of its Linux for Tegra."""
    site: str
    station: str
    prefix: str
    """Of the station's topics."""
    identity: bool = False
    """Whether the configuration wants `station.pem` in /etc/lineside: what `station new` makes."""
    models: list[PackagedModel]
    files: dict[str, PackageFile]


def file_record(data: bytes) -> PackageFile:
    """Of a file's bytes."""
    return PackageFile(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def release_name(files: dict[str, PackageFile]) -> str:
    """Twelve hexadecimal digits that stand for all files together."""
    listed = msgspec.json.encode({name: one.sha256 for name, one in sorted(files.items())})
    return hashlib.sha256(listed).hexdigest()[:12]
