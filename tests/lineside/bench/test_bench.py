"""`lineside bench`: real bundles, timed on this machine."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

from lineside.bench import Bench, read_bench
from lineside.bench.command import bench, default_threads
from lineside.bench.measure import ROUNDS, time_in_turn
from lineside.bundle import open_bundle, zip_bundle
from lineside.errors import BundleError, EngineError
from lineside.manifest import PARITY_UNKNOWN
from lineside.runtime import installed_engines
from tests.support.bundles import crash, edit_model, negate_last_layer, unmeasured, with_model
from tests.support.command import lineside
from tests.support.foreign import write_foreign
from tests.support.ways import other_input

SCHEMA = Path(__file__).parents[3] / "docs" / "bench.schema.json"


@pytest.fixture(scope="module")
def said(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, str, str]:
    """Three bundles, of which two have the same model: the record, its JSON, and stderr."""
    folder = tmp_path_factory.mktemp("bench")
    plain = open_bundle(bundle_folder)
    zip_bundle(bundle_folder, folder / "cells.zip")
    again = unmeasured(bundle_folder, folder / "again", "the labels were guessed")
    labels = [label.name for label in plain.manifest.labels]
    pictures = {"golden/000.png": plain.files["golden/000.png"]}
    model = other_input(plain.model, "float32")
    other = write_foreign(folder / "other", model, labels, pictures, kind="class_logits").path
    paths = [folder / "cells.zip", again, other]
    done = lineside("bench", *paths, "--threads", "2,1", "--seconds", 0.2, "--json")
    (folder / "bench.json").write_text(done.stdout)
    return read_bench(folder / "bench.json"), done.stdout, done.stderr


def test_each_configuration_has_its_row(said: tuple[Bench, str, str], bundle_folder: Path) -> None:
    found = said[0]
    plain = open_bundle(bundle_folder)
    runtimes = installed_engines()
    assert [(row.runtime, row.threads) for row in found.rows] == [
        (runtime, threads) for _ in range(3) for runtime in runtimes for threads in (1, 2)
    ]
    first, *_, last = found.rows
    assert (first.bundle, first.digest) == (plain.manifest.name, plain.digest)
    assert (first.scheme, first.model_bytes) == ("static_wi8_ai8", len(plain.model))
    assert first.model_sha256 == plain.manifest.files["model.tflite"].sha256
    assert (last.bundle, last.scheme) == ("foreign", "unchanged")
    assert len({row.digest for row in found.rows}) == 3
    assert len({row.model_sha256 for row in found.rows}) == 2


def test_the_fastest_is_the_fastest(said: tuple[Bench, str, str]) -> None:
    rows = said[0].rows
    assert rows[said[0].fastest].invoke_ms_p50 == min(row.invoke_ms_p50 for row in rows)
    assert all(row.invoke_ms_p50 <= row.invoke_ms_p99 for row in rows)
    for digest in {row.digest for row in rows}:
        mine = [row for row in rows if row.digest == digest]
        best = [row for row in mine if row.path_ms_p50 is not None]
        assert [row.invoke_ms_p50 for row in best] == [min(row.invoke_ms_p50 for row in mine)]
        assert best[0].path_ms_p50 > best[0].invoke_ms_p50  # type: ignore[operator]


def test_what_is_said_of_bundles_comes_on_stderr(said: tuple[Bench, str, str]) -> None:
    notes = [line for line in said[2].splitlines() if "is left out" not in line]
    assert [line.split(": ", 2)[2] for line in notes] == [
        "the labels were guessed",
        PARITY_UNKNOWN,
        PARITY_UNKNOWN,
    ]
    assert [Path(line.split(": ")[1]).name for line in notes] == ["again", "again", "other"]


def test_it_is_as_the_schema_in_the_docs(said: tuple[Bench, str, str]) -> None:
    jsonschema.validate(json.loads(said[1]), json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_a_table_for_people(bundle_folder: Path) -> None:
    done = CliRunner().invoke(bench, [str(bundle_folder), "--threads", "1", "--seconds", "0.1"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[3].split() == ["bundle", "scheme", "runtime", "threads", "invoke", "p99", "path"]
    assert sum("◀" in line for line in lines) == 1
    assert "static_wi8_ai8: threads = 1 in its [[model]] is the fastest" in lines[-1]
    assert max(map(len, lines[3:-1])) <= 80


def test_bundles_that_are_called_alike_are_told_apart(bundle_folder: Path, tmp_path: Path) -> None:
    again = unmeasured(bundle_folder, tmp_path / "again")
    paths = [str(bundle_folder), str(again)]
    done = CliRunner().invoke(bench, [*paths, "--threads", "1", "--seconds", "0.1"])
    for path in paths:
        digest = open_bundle(Path(path)).digest
        assert f" 1.0.0 ({digest[:14]}…), static_wi8_ai8: threads = 1" in done.stdout


def crashing(folder: Path, out: Path) -> Path:
    return with_model(folder, out, edit_model(open_bundle(folder).model, crash)).path


def lying(folder: Path, out: Path) -> Path:
    model = edit_model(open_bundle(folder).model, negate_last_layer)
    return with_model(folder, out, model).path


def damaged(folder: Path, out: Path) -> Path:
    shutil.copytree(folder, out)
    (out / "model.tflite").write_bytes(b"no model")
    return out


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (crashing, "killed the process that tried it (SIGSEGV)"),
        (lying, "golden images fail"),
        (damaged, "model.tflite"),
        (lambda _, out: out, "is no bundle"),
    ],
)
def test_a_bundle_that_is_refused_ends_it(
    bundle_folder: Path, tmp_path: Path, spoil: Callable[[Path, Path], Path], message: str
) -> None:
    wrong = spoil(bundle_folder, tmp_path / "wrong")
    done = CliRunner().invoke(bench, [str(bundle_folder), str(wrong), "--seconds", "0.1"])
    assert isinstance(done.exception, BundleError | EngineError)
    assert str(wrong) in str(done.exception)
    assert message in str(done.exception)
    assert done.stdout == ""


@pytest.mark.parametrize("threads", ["0", "65", "1,,2", "two", "1.5", "-1", "", "²"])
def test_numbers_of_threads_that_are_none(threads: str) -> None:
    done = CliRunner().invoke(bench, ["x", "--threads", threads])
    assert done.exit_code == 2
    assert f"numbers from 1 to 64 are expected, as in 1,2,4, got {threads!r}" in done.output


def test_no_bundle_at_all() -> None:
    done = lineside("bench", ok=False)
    assert done.returncode == 2
    assert "Missing argument 'BUNDLE" in done.stderr


def test_the_default_ends_with_all_cores() -> None:
    counts = default_threads()
    assert counts[0] == 1
    assert counts[-1] == len(os.sched_getaffinity(0))
    assert counts == sorted(set(counts))


def test_pieces_of_work_take_turns() -> None:
    asked: list[str] = []

    def work(name: str, seconds: float) -> Callable[[], None]:
        def call() -> None:
            asked.append(name[0])
            time.sleep(seconds)

        return call

    slow, quick = time_in_turn(
        [[work("slow", 0.004)], [work("quick", 0.001)]], seconds=0.1, what="Sleeping"
    )
    turns = "".join(name for n, name in enumerate(asked) if n == 0 or asked[n - 1] != name)
    assert turns == "sq" + "sq" * (ROUNDS - 1) or turns == "s" + "qs" * (ROUNDS // 2)
    assert np.median(slow) > 4.0 > np.median(quick) > 1.0
    # The first call of each visit is not timed.
    assert len(slow) == asked.count("s") - ROUNDS
    assert len(quick) == asked.count("q") - ROUNDS
