from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import msgspec
import pytest

from lineside.errors import RunError, StorageError
from lineside.image import Preprocess
from lineside.limit_rules import LimitRules
from lineside.manifest import Label
from lineside.run import (
    Run,
    RunInfo,
    RunMetrics,
    SplitRow,
    decode_split,
    encode_split,
    open_run,
    write_report,
    write_run,
)
from tests.support.disk import tiny_disk

ROWS = (
    SplitRow("bad/a b.png", "1" * 64, "train"),
    SplitRow('bad/ü,"x".png', "2" * 64, "val"),
    SplitRow("good/two\nlines.png", "3" * 64, "test"),
    SplitRow("good/太阳.png", "4" * 64, "train"),
)


def write(path: Path, model: bytes = b"a model") -> Run:
    info = RunInfo(
        name="cells",
        labels=[Label(name="bad", good=False), Label(name="good", good=True)],
        preprocess=Preprocess(colour="gray"),
        image_size=(64, 48),
        split=hashlib.sha256(encode_split(ROWS)).hexdigest(),
        data="0" * 64,
        data_root="/photos",
        seed=7,
        options={"arch": "plain", "epochs": None},
        versions={"keras": "3"},
        created="2026-11-21T17:03:11+00:00",
        train_seconds=1.5,
    )
    metrics = RunMetrics(
        figures={"test": {"images": 1}},
        history={"loss": [1.0, 0.5]},
        logits={"val": [[0.0, 1.0]], "test": [[2.0, -1.0]]},
        parameters=10,
        notices=["'a': the file is empty"],
    )
    return write_run(
        path,
        info=info,
        metrics=metrics,
        split=ROWS,
        save_model=lambda file: file.write_bytes(model) and None,
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    written = write(tmp_path / "new" / "run")
    assert open_run(tmp_path / "new" / "run") == written
    write_report(written, "<p>Zelle ü</p>")
    names = {file.name for file in written.path.iterdir()}
    assert names == {"model.keras", "run.json", "split.csv", "metrics.json", "report.html"}
    assert written.model_path.read_bytes() == b"a model"
    assert (written.path / "report.html").read_text("utf-8") == "<p>Zelle ü</p>"
    assert [row.file for row in written.rows("train")] == ["bad/a b.png", "good/太阳.png"]


def test_a_run_written_by_a_newer_lineside_may_say_more(tmp_path: Path) -> None:
    write(tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    path.write_bytes(path.read_bytes().replace(b'"seed"', b'"news": {}, "seed"'))
    assert open_run(tmp_path / "run").info.seed == 7


def test_a_run_written_by_an_older_lineside_says_less(tmp_path: Path) -> None:
    write(tmp_path / "run")
    for name, later in (("run", ["limit_rules"]), ("metrics", ["decision", "verdicts"])):
        path = tmp_path / "run" / f"{name}.json"
        said = json.loads(path.read_bytes())
        path.write_text(json.dumps({k: v for k, v in said.items() if k not in later}))
        assert len(json.loads(path.read_bytes())) == len(said) - len(later)
    run = open_run(tmp_path / "run")
    assert run.info.limit_rules == LimitRules()
    assert (run.metrics.decision, run.metrics.verdicts) == (None, None)


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "run")
    with pytest.raises(StorageError, match=r"run is there already: choose another name, or remove"):
        write(tmp_path / "run", b"another model")
    assert (tmp_path / "run" / "model.keras").read_bytes() == b"a model"


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write(tmp_path / "run")
    assert open_run(tmp_path / "run").info.name == "cells"


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", kib=256) as disk:
        with pytest.raises(StorageError) as refused:
            write(disk / "run", os.urandom(512 * 1024))
        assert str(refused.value) == (
            f"{disk / 'run'}: the disk is full; free some space and run it again"
        )
        assert list(disk.iterdir()) == []


def test_a_model_that_fails_to_save_leaves_nothing(tmp_path: Path) -> None:
    run = write(tmp_path / "first")

    def fail(file: Path) -> None:
        file.write_bytes(b"half of it")
        msg = "no"
        raise RuntimeError(msg)

    with pytest.raises(RuntimeError):
        write_run(
            tmp_path / "second",
            info=run.info,
            metrics=run.metrics,
            split=run.split,
            save_model=fail,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nowhere is no run: a folder written by 'lineside train'"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"is no complete run: run\.json is missing; train it again"):
        open_run(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "metrics.json", "split.csv", "model.keras"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    with pytest.raises(RunError, match=f"is no complete run: {name} is missing; train it again"):
        open_run(tmp_path / "run")


@pytest.mark.parametrize("name", ["run.json", "metrics.json"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path / "run")
    path = tmp_path / "run" / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RunError, match=r"run is damaged: .*; train it again"):
        open_run(tmp_path / "run")


def test_a_run_of_another_schema_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    path.write_bytes(path.read_bytes().replace(b"lineside.run/1", b"lineside.run/2"))
    with pytest.raises(
        RunError, match=r"is of schema 'lineside\.run/2', 'lineside\.run/1' is expected"
    ):
        open_run(tmp_path / "run")


def test_a_changed_split_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "run")
    path = tmp_path / "run" / "split.csv"
    path.write_bytes(path.read_bytes().replace(b"test", b"train"))
    with pytest.raises(RunError, match=r"split\.csv was changed: sha256 [0-9a-f]{64} is expected"):
        open_run(tmp_path / "run")


def test_a_split_survives_its_file() -> None:
    assert decode_split(encode_split(ROWS)) == ROWS
    assert encode_split(ROWS) == encode_split(ROWS[::-1])
    assert [row.label for row in ROWS] == ["bad", "bad", "good", "good"]


def test_a_split_may_come_from_a_spreadsheet() -> None:
    as_saved = b"\xef\xbb\xbf" + encode_split(ROWS[:2]).replace(b"\n", b"\r\n")
    assert decode_split(as_saved) == ROWS[:2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "s holds no image: a header 'file,sha256,part' and rows are expected"),
        (b"file,sha256,part\n", "s holds no image"),
        (b"a;b;c\n1;2;3\n", "s, line 2: file, sha256 and part (train, val, test) are expected"),
        (b"file,sha256,part\na/b.png,12,dev\n", "s, line 2: file, sha256 and part (train"),
        (b"file,sha256,part\na/b.png,12,val\n,12,val\n", "s, line 3: file, sha256"),
        (b"file,sha256,part\na/\xff.png,12,val\n", "s can't be read: 'utf-8' codec"),
    ],
)
def test_what_is_no_split_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(RunError) as refused:
        decode_split(text, "s")
    assert str(refused.value).startswith(message)


def test_json_is_indented_and_ends_with_a_newline(tmp_path: Path) -> None:
    run = write(tmp_path / "run")
    text = (run.path / "run.json").read_text()
    assert text.endswith("}\n")
    assert '\n "seed": 7,\n' in text
    assert msgspec.json.decode(text)["schema"] == "lineside.run/1"
