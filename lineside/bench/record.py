"""What `lineside bench --json` writes, and reading it, on whatever machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from lineside.errors import InputError
from lineside.files import read_file
from lineside.manifest import Sha256

SCHEMA: Final = "lineside.bench/1"

MAX_BENCH_BYTES: Final = 1024 * 1024
"""How large a file may be that `read_bench` reads, in bytes."""

Milliseconds = Annotated[float, Meta(gt=0.0)]


class Row(Struct, frozen=True, kw_only=True):
    """One configuration and how fast it was."""

    bundle: str
    """The bundle's name."""
    version: str
    """The bundle's."""
    digest: str
    """`sha256:` and the hash of the bundle's manifest.json."""
    scheme: str
    """How the model is quantized, such as `static_wi8_ai8`."""
    graph: Sha256 | None
    """Fingerprint of the model's operators, shapes and types: the same for the same speed."""
    model_sha256: Sha256
    model_bytes: Annotated[int, Meta(ge=1)]
    runtime: str
    """The engine, such as `ai-edge-litert`."""
    runtime_version: str
    xnnpack: bool
    """Whether XNNPACK runs the model, or part of it."""
    threads: Annotated[int, Meta(ge=1)]
    """CPU threads for one inference."""
    invoke_ms_p50: Milliseconds
    """From raw pixels to logits, the median, in milliseconds."""
    invoke_ms_p99: Milliseconds
    path_ms_p50: Milliseconds | None
    """From an image's bytes to the verdict; measured for the fastest row of each bundle."""


class Bench(Struct, frozen=True, kw_only=True):
    """What `lineside bench --json` writes: how fast models are on one device."""

    schema: str = SCHEMA
    device: str
    """The device in words."""
    arch: str
    """Of its processor, such as `aarch64`."""
    created: str
    """When, in UTC."""
    rows: Annotated[list[Row], Meta(min_length=1, max_length=4096)]
    fastest: Annotated[int, Meta(ge=0)]
    """Which of the rows has the smallest `invoke_ms_p50`, from 0."""


class _SchemaOnly(Struct):
    schema: str


def read_bench(path: Path) -> Bench:
    """Read what `lineside bench --json` wrote, on whatever device.

    Raises:
        InputError: it can't be read, is too large, is not JSON, or not what the schema says.
    """
    data = read_file(path, MAX_BENCH_BYTES)
    try:
        schema = msgspec.json.decode(data, type=_SchemaOnly).schema
        if not re.fullmatch(re.escape(SCHEMA) + r"(\.\d+)?", schema):
            msg = f"{path} is refused: schema {SCHEMA!r} is expected, got {schema!r}"
            raise InputError(msg)
        bench = msgspec.json.decode(data, type=Bench)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{path} is refused: {error}; it is written by 'lineside bench BUNDLE --json'"
        raise InputError(msg) from error
    if bench.fastest >= len(bench.rows):
        msg = f"{path} is refused: the fastest is row {bench.fastest} of {len(bench.rows)}"
        raise InputError(msg)
    return bench
