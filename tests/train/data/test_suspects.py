"""Labels that may be wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from lineside.dataset import read_dataset
from lineside.run import open_run
from lineside_train.data.looks import look_at
from lineside_train.data.suspects import find_suspects
from tests.support.command import lineside
from tests.support.shared import shared


def test_half_of_the_wrong_labels_are_listed_and_most_right_ones_are_not() -> None:
    looks = look_at(read_dataset(shared("data/trashnet")))
    random, images = np.random.default_rng(1), len(looks.files)
    wrong = random.choice(images, images // 20, replace=False)
    looks.truth[wrong] = (looks.truth[wrong] + random.integers(1, 6, len(wrong))) % 6
    findings, judged = find_suspects(looks, looks.features, np.arange(images), seen_by="it")
    (finding,) = findings
    listed = {item.files[0] for item in finding.items}
    hits = {looks.files[k] for k in wrong} & listed
    assert len(hits) >= len(wrong) // 2
    # A twentieth is wrong: a list by chance would hold a twentieth of hits.
    assert len(hits) >= len(listed) // 4
    assert judged is not None
    assert judged.balanced_accuracy()[0] > 0.6


def test_images_that_no_classifier_can_tell_apart_are_not_doubted(cells: Path) -> None:
    looks = look_at(read_dataset(cells))
    rows = np.flatnonzero(looks.truth == 1)
    half = looks.of(rows)
    half.truth[:] = np.random.default_rng(0).integers(0, 2, len(rows))
    findings, _ = find_suspects(half, half.features, np.arange(len(rows)), seen_by="it")
    (finding,) = findings
    assert finding.level == "note"
    assert finding.items == []
    assert finding.message.startswith("wrong labels can't be found this way: a simple classifier")


def test_with_the_network_of_a_run(cells: Path, run_folder: Path, tmp_path: Path) -> None:
    done = lineside(
        *("data", "check", cells, "--run", run_folder, "--json"),
        *("--suspects", tmp_path / "suspects.csv"),
    )
    found = {one["kind"]: one for one in json.loads(done.stdout)["findings"]}
    with (tmp_path / "suspects.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert (cells / row["file"]).is_file()
        assert row["label"] == row["file"].split("/")[0] != row["looks_like"]
    suspects = found["label_suspects"]
    assert [item["files"][0] for item in suspects["items"]] == [row["file"] for row in rows]
    learned = sum(row.part == "train" for row in open_run(run_folder).split)
    assert f"it learned {learned} of these images with their labels" in suspects["evidence"]
    believed = [float(row["believed"]) for row in rows]
    assert believed == sorted(believed)
