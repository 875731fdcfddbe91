"""What the converter sees."""

from __future__ import annotations

from collections import Counter

import numpy as np

from lineside.run import SplitRow
from lineside_convert.calibration import balanced_sample, with_full_range


def rows(**counts: int) -> list[SplitRow]:
    return [
        SplitRow(f"{label}/{n}.png", f"{label}{n:062d}", "train")
        for label, count in counts.items()
        for n in range(count)
    ]


def labels(sample: tuple[SplitRow, ...]) -> dict[str, int]:
    return dict(Counter(row.label for row in sample))


def test_the_sample_is_balanced() -> None:
    assert labels(balanced_sample(rows(a=500, b=60, c=90), 120, seed=0)) == {
        "a": 40,
        "b": 40,
        "c": 40,
    }


def test_a_rare_label_gives_what_it_has() -> None:
    assert labels(balanced_sample(rows(a=500, b=7), 100, seed=0)) == {"a": 93, "b": 7}


def test_fewer_images_than_wanted() -> None:
    given = rows(a=5, b=3)
    assert sorted(balanced_sample(given, 200, seed=0), key=lambda r: r.file) == given


def test_it_is_not_the_first_files() -> None:
    sample = balanced_sample(rows(a=500, b=500), 100, seed=0)
    assert max(int(row.file.split("/")[1].split(".")[0]) for row in sample) > 300


def test_the_order_of_the_files_changes_nothing_and_the_seed_does() -> None:
    given = rows(a=50, b=50)
    sample = balanced_sample(given, 20, seed=0)
    assert balanced_sample(given[::-1], 20, seed=0) == sample
    assert balanced_sample(given, 20, seed=1) != sample


def test_copies_count_once() -> None:
    copies = [SplitRow(f"a/copy{n}.png", "a" + "0" * 62, "train") for n in range(20)]
    sample = balanced_sample([*copies, *rows(a=3)], 10, seed=0)
    assert len(sample) == len({row.sha256 for row in sample}) == 3


def test_a_0_and_a_255_are_always_there() -> None:
    tensors = np.random.default_rng(0).integers(20, 200, (5, 16, 16, 3), np.uint8)
    seen = with_full_range(tensors)
    assert (seen.min(), seen.max()) == (0, 255)
    assert (seen != tensors).any(axis=-1).sum() == 2
    assert tensors.min() >= 20
