"""The whole walk as `lineside demo` does it, only trained for a moment on small pictures."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import pytest

from lineside.demo.summary import Summary
from tests.support.command import lineside

pytest.importorskip("iotcore", reason="the demo's broker comes with the extra 'demo'")


@pytest.mark.timeout(400)
def test_every_cell_that_goes_down_the_line_arrives_once(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    small = ("--", "--epochs", 2, "--image-size", 32)
    done = lineside("demo", "--out", out, "--rate", 400, *small, timeout=390)
    summary = msgspec.json.decode((out / "summary.json").read_bytes(), type=Summary)
    with (out / "truth.csv").open(encoding="utf-8", newline="") as file:
        truth = list(csv.DictReader(file))
    assert summary.parts == len(truth) == len(list((out / "line").iterdir())) >= 500
    assert summary.results_received == summary.parts
    assert (summary.missing, summary.duplicates) == (0, 0)
    assert sum(summary.verdicts.values()) == summary.parts
    # Two epochs on stamps of 32 pixels: better than a coin, and int8 near float.
    assert summary.auroc > 0.55
    assert abs(summary.auroc - summary.float_auroc) < 0.02
    assert summary.end_to_end_ms_p99 >= summary.end_to_end_ms_p50 > summary.invoke_ms_p50 > 0
    assert "BY-NC-SA" in done.stdout
    assert str(out / "summary.json") in done.stdout
    assert (out / "bundle" / "report.html").is_file()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = lineside("demo", "--out", tmp_path, ok=False)
    assert "is not empty and holds no earlier demo" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]
