"""How many images there are, and how large they are."""

from __future__ import annotations

from pathlib import Path

import cv2

from lineside.dataset import read_dataset
from lineside_train.data.amounts import amounts, sizes
from lineside_train.data.looks import look_at
from tests.support.photos import read


def messages(root: Path) -> dict[str, str]:
    looks = look_at(read_dataset(root), features=False)
    return {one.kind: one.message for one in amounts(looks) + sizes(looks)}


def test_ordinary_cells_give_no_reason_to_complain(folder: Path) -> None:
    assert messages(folder) == {}


def test_a_rare_label(folder: Path) -> None:
    for path in sorted((folder / "defective").iterdir())[3:]:
        path.unlink()
    assert messages(folder) == {
        "few": "fewer than 30 images: 'defective' 3; 100 are a sensible start",
        "imbalance": (
            "the label 'functional' has 13 times as many images as 'defective' (40 and 3)"
        ),
    }


def test_tiny_and_odd_pictures(folder: Path) -> None:
    one, other, *_ = sorted((folder / "functional").iterdir())
    assert cv2.imwrite(str(one), cv2.resize(read(one), (40, 24)))
    assert cv2.imwrite(str(other), read(other)[:150])
    found = messages(folder)
    assert found == {
        "tiny": f"1 image with a side below 32 pixels (first: 'functional/{one.name}', 40x24)",
        "odd_sizes": (
            "2 images of another shape or size than the others, 300x300 "
            f"(first: 'functional/{one.name}', 40x24)"
        ),
    }


def test_many_shapes_are_not_odd(folder: Path) -> None:
    for k, path in enumerate(sorted((folder / "functional").iterdir())):
        assert cv2.imwrite(str(path), cv2.resize(read(path), (100 + 20 * k, 200)))
    assert messages(folder) == {}
