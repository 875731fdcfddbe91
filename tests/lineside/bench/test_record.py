"""What `lineside bench --json` writes, read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lineside.bench import Bench, Row, read_bench
from lineside.errors import InputError

ROW = Row(
    bundle="cells",
    version="1.0.0",
    digest="sha256:" + "0" * 64,
    scheme="static_wi8_ai8",
    graph=None,
    model_sha256="1" * 64,
    model_bytes=48432,
    runtime="ai-edge-litert",
    runtime_version="2.3.0",
    xnnpack=True,
    threads=1,
    invoke_ms_p50=0.3,
    invoke_ms_p99=0.4,
    path_ms_p50=None,
)
BENCH = Bench(
    device="a board, aarch64, 4 cores",
    arch="aarch64",
    created="2026-11-21T21:28:05+00:00",
    rows=[ROW, msgspec.structs.replace(ROW, threads=2, invoke_ms_p50=0.2, path_ms_p50=1.5)],
    fastest=1,
)


def test_it_comes_back(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_bytes(msgspec.json.encode(BENCH))
    assert read_bench(tmp_path / "b.json") == BENCH


def test_what_a_newer_lineside_adds_is_ignored(tmp_path: Path) -> None:
    said = msgspec.to_builtins(BENCH) | {"schema": "lineside.bench/1.2", "watts": 4.5}
    said["rows"][0]["watts"] = 2.5
    (tmp_path / "b.json").write_text(json.dumps(said))
    assert read_bench(tmp_path / "b.json").rows == BENCH.rows


def row(**changes: object) -> Callable[[dict[str, Any]], None]:
    return lambda said: said["rows"][1].update(changes)


BAD: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a newer major version": (
        lambda said: said.update(schema="lineside.bench/2"),
        r"schema 'lineside.bench/1' is expected, got 'lineside.bench/2'",
    ),
    "no schema": (lambda said: said.pop("schema"), "missing required field `schema`"),
    "something else": (lambda said: said.update(schema="lineside.bundle/1"), "is expected, got"),
    "no rows": (lambda said: said.update(rows=[]), r"length >= 1 - at `\$\.rows`"),
    "too many rows": (lambda said: said.update(rows=said["rows"] * 2049), "length <= 4096|bytes"),
    "a fastest that is not there": (
        lambda said: said.update(fastest=2),
        r"the fastest is row 2 of 2",
    ),
    "a fastest before the first": (lambda said: said.update(fastest=-1), r"\$\.fastest"),
    "no time at all": (row(invoke_ms_p50=0), r"\$\.rows\[1\]\.invoke_ms_p50"),
    "a time in words": (row(invoke_ms_p99="fast"), r"\$\.rows\[1\]\.invoke_ms_p99"),
    "no threads": (row(threads=0), r"\$\.rows\[1\]\.threads"),
    "a hash that is none": (row(model_sha256="x"), r"\$\.rows\[1\]\.model_sha256"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_wrong_is_refused_in_one_line(tmp_path: Path, what: str) -> None:
    spoil, message = BAD[what]
    said = msgspec.to_builtins(BENCH)
    spoil(said)
    path = tmp_path / "b.json"
    path.write_text(json.dumps(said))
    with pytest.raises(InputError, match=message) as caught:
        read_bench(path)
    assert str(caught.value).startswith(f"{path} is refused: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is refused: .*written by 'lineside bench BUNDLE --json'"),
        (b"cells 1.0.0: threads = 1", "malformed"),
        (b"[" * 100_000, "is refused"),
        (b'{"schema": "\xff"}', "is refused"),
        (b" " * (1024 * 1024 + 1), "more than 1,048,576 bytes"),
    ],
)
def test_what_is_no_bench_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "b.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_bench(tmp_path / "b.json")


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"b.json can't be read: No such file or directory"):
        read_bench(tmp_path / "b.json")
    with pytest.raises(InputError, match="can't be read: Is a directory"):
        read_bench(tmp_path)
