"""Near duplicates: what is found, and what is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from lineside.dataset import read_dataset
from lineside.image import Frame
from lineside_train.data.findings import Finding
from lineside_train.data.looks import Looks, look_at
from lineside_train.data.twins import find_twins, twin_findings
from tests.support.photos import read
from tests.support.shared import shared


def pairs(looks: Looks) -> set[tuple[str, str]]:
    return {(looks.files[one.first], looks.files[one.second]) for one in find_twins(looks.tiny)}


def found(looks: Looks, part_of: dict[str, str] | None = None) -> dict[str, Finding]:
    findings = twin_findings(looks, find_twins(looks.tiny), part_of or {}, {})
    return {one.kind: one for one in findings}


def saved_again(frame: Frame) -> Frame:
    written, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 50])
    assert written
    again = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert again is not None
    return np.asarray(again, np.uint8)


@pytest.mark.parametrize(
    "how",
    [
        saved_again,
        lambda frame: cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
        lambda frame: (255 * (frame / 255) ** 0.8).astype(np.uint8),
        lambda frame: cv2.GaussianBlur(frame, (0, 0), 1.5),
    ],
    ids=["saved again", "scaled", "brighter", "blurred"],
)
def test_another_version_of_a_picture_is_found(folder: Path, how: Callable[[Frame], Frame]) -> None:
    before = pairs(look_at(read_dataset(folder)))
    originals = sorted((folder / "functional").iterdir())[::4]
    for path in originals:
        assert cv2.imwrite(str(path.with_name(f"z {path.name}")), how(read(path)))
    wanted = {(f"functional/{p.name}", f"functional/z {p.name}") for p in originals}
    new = pairs(look_at(read_dataset(folder))) - before
    assert len(wanted & new) >= 0.9 * len(wanted)
    # What else is new are pairs of pictures that had been pairs before the copies came.
    assert {frozenset(x.replace("z ", "") for x in pair) for pair in new - wanted} <= {
        frozenset(pair) for pair in before
    }


def test_different_pieces_of_waste_are_no_duplicates() -> None:
    looks = look_at(read_dataset(shared("data/trashnet")))
    assert pairs(looks) == {("paper/paper314.jpg", "paper/paper53.jpg")}


def test_a_scene_that_all_pictures_show_is_found_though_it_is_their_mean(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    scene = cv2.GaussianBlur(random.integers(0, 255, (128, 128), np.uint8), (0, 0), 6)
    scene = cv2.normalize(scene, None, 0, 255, cv2.NORM_MINMAX)
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for k in range(8):
            noisy = np.clip(scene + random.normal(0, 3, scene.shape), 0, 255).astype(np.uint8)
            assert cv2.imwrite(str(tmp_path / label / f"{k}.png"), noisy)
    looks = look_at(read_dataset(tmp_path))
    finding = found(looks)["near_conflicts"]
    assert "; but 16 of 16 images have one: parts that look alike can't be told" in finding.message


def test_across_labels_and_across_the_split(folder: Path) -> None:
    looks = look_at(read_dataset(folder))
    before = found(looks)
    (original, *_) = sorted((folder / "functional").iterdir())
    name = f"defective/again {original.name}"
    assert cv2.imwrite(str(folder / name), saved_again(read(original)))
    looks = look_at(read_dataset(folder))
    part_of = {file: "test" if file == name else "train" for file in looks.files}
    after = found(looks, part_of)
    conflict = after["near_conflicts"]
    assert conflict.level == "warning"
    assert [name, f"functional/{original.name}"] in [item.files for item in conflict.items]
    assert before.get("near_conflicts") != conflict
    assert after["leak"].message == (
        "near duplicates are divided by the split (1 of 1 in test): the figures look better than "
        "they are; lineside data check DATA --write-groups keeps them together"
    )
    (item, *_) = after["leak"].items
    assert item.captions == ["defective, test", "functional, train"]


def test_what_a_person_put_into_one_group_is_no_finding(folder: Path) -> None:
    for path in sorted((folder / "functional").iterdir())[:5]:
        shutil.copy(path, path.with_name(f"z {path.name}"))
    looks = look_at(read_dataset(folder))
    twins = find_twins(looks.tiny)
    assert {one.kind for one in twin_findings(looks, twins, {}, {})} >= {"near_duplicates"}
    together = dict.fromkeys(looks.files, "all")
    assert "near_duplicates" not in {one.kind for one in twin_findings(looks, twins, {}, together)}
