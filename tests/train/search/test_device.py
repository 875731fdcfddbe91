"""What a file of `lineside bench --json` says of the networks of a search."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from lineside.bench import Bench, Row
from lineside.bench.measure import Contestant, run_bench
from lineside.bundle import Bundle, open_bundle
from lineside.errors import InputError
from lineside.inspector import Inspector
from lineside_train.search.device import other_device
from tests.support import models


def bench_of(bundle: Bundle) -> Bench:
    return run_bench([Contestant(Inspector(bundle, threads=1), 1)], seconds=0.5)


def written(path: Path, bench: Bench, slower: float = 1.0) -> Path:
    """As a device writes it that is so much slower."""
    rows = [slowed(row, slower) for row in bench.rows]
    there = msgspec.structs.replace(bench, rows=rows, device="another device")
    path.write_bytes(msgspec.json.encode(there))
    return path


def slowed(row: Row, factor: float) -> Row:
    return msgspec.structs.replace(row, invoke_ms_p50=factor * row.invoke_ms_p50)


@pytest.mark.train
def test_the_device_is_as_much_slower_as_its_bundle_says(
    bundle_folder: Path, tmp_path: Path
) -> None:
    bench = bench_of(open_bundle(bundle_folder))
    file = written(tmp_path / "bench.json", bench, slower=1000.0)
    device = other_device(file, [bundle_folder])
    assert device.name == "another device"
    assert 300 < device.scale < 3000  # other jobs may be running
    assert device.note.startswith("estimated: timed on ")
    assert "which is how much longer another device took for run" in device.note


@pytest.mark.train
def test_a_bundle_that_the_device_has_not_timed_is_refused(
    bundle_folder: Path, tmp_path: Path
) -> None:
    tiny = models.plain(tmp_path / "tiny")
    file = written(tmp_path / "bench.json", bench_of(tiny))
    with pytest.raises(InputError) as refused:
        other_device(file, [bundle_folder])
    assert str(refused.value) == (
        f"{bundle_folder} is not in {file}, which knows tiny 1.0.0 (unchanged): name one of these"
    )
    with pytest.raises(InputError) as wrong:
        other_device(file, [tmp_path / "tiny"])
    assert str(wrong.value).startswith(
        f"{tmp_path}/tiny is unchanged, and a search times networks in int8: name a bundle of "
        "static_wi8_ai8"
    )


def test_a_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    file.write_text('{"fps": 30}')
    with pytest.raises(InputError, match=r"is refused: .*; it is written by 'lineside bench"):
        other_device(file, [tmp_path])
