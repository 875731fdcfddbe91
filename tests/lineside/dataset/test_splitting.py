"""Photos divided into train, val and test."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict

import numpy as np
import pytest

from lineside.dataset import (
    MIN_IMAGES,
    Photo,
    fingerprint,
    split_photos,
)
from lineside.errors import DatasetError
from lineside.run import PARTS


def photos_of(**images: int) -> list[Photo]:
    """Photos of labels, each with its own content."""
    return [
        Photo(f"{label}/{n}.png", hashlib.sha256(f"{label} {n}".encode()).hexdigest())
        for label, count in images.items()
        for n in range(count)
    ]


def test_the_split_is_the_same_on_every_machine() -> None:
    rows = split_photos(photos_of(bad=40, good=60), seed=0)
    text = "\n".join(f"{row.file} {row.part}" for row in rows)
    # Written down once: whatever changes this gives every user another split.
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "1e9f80fd9e8e8d59557290887bdb29580d3e7f23b1fbdecc2aafe51571d0daa0"
    )


def test_the_split_follows_content_not_names() -> None:
    photos = photos_of(bad=40, good=60)
    part_of = {row.sha256: row.part for row in split_photos(photos, seed=3)}
    renamed = [Photo(f"{p.label}/x{n}.png", p.sha256) for n, p in enumerate(reversed(photos))]
    assert {row.sha256: row.part for row in split_photos(renamed, seed=3)} == part_of


def test_another_seed_gives_another_split() -> None:
    photos = photos_of(bad=40, good=60)
    assert split_photos(photos, seed=0) == split_photos(photos, seed=0)
    assert split_photos(photos, seed=0) != split_photos(photos, seed=1)


@pytest.mark.parametrize("images", [3, 4, 5, 7, 10, 33, 100, 1001])
def test_every_label_is_divided_alike(images: int) -> None:
    rows = split_photos(photos_of(bad=images, good=2 * images, other=50), seed=0)
    found = Counter((row.label, row.part) for row in rows)
    for label, count in (("bad", images), ("good", 2 * images), ("other", 50)):
        assert sum(found[label, part] for part in PARTS) == count
        for part, fraction in zip(PARTS, (0.6, 0.15, 0.25), strict=True):
            assert found[label, part] >= 1
            assert abs(found[label, part] - fraction * count) <= 1.2


def test_other_fractions() -> None:
    rows = split_photos(photos_of(bad=100, good=100), seed=0, fractions=(0.5, 0.25, 0.25))
    assert Counter(row.part for row in rows) == {"train": 100, "val": 50, "test": 50}


@pytest.mark.parametrize("seed", range(20))
def test_identical_images_are_never_divided(seed: int) -> None:
    random = np.random.default_rng(seed)
    photos = [
        Photo(
            f"{label}/{n}.png", hashlib.sha256(f"{label}{random.integers(40)}".encode()).hexdigest()
        )
        for label in ("bad", "good")
        for n in range(100)
    ]
    parts = defaultdict(set)
    for row in split_photos(photos, seed):
        parts[row.sha256].add(row.part)
    assert max(map(len, parts.values())) == 1
    assert len(parts) < 100, "there must be copies for this to show anything"


@pytest.mark.parametrize("copies", [(1, 1, 8), (4, 4, 1), (50, 1, 1), (1, 1, 1, 97)])
def test_every_part_gets_an_image_however_many_copies_there_are(copies: tuple[int, ...]) -> None:
    photos = [
        Photo(f"{label}/{k}-{n}.png", hashlib.sha256(f"{label}{k}".encode()).hexdigest())
        for label in ("bad", "good")
        for k, count in enumerate(copies)
        for n in range(count)
    ]
    found = {(row.label, row.part) for row in split_photos(photos, seed=0)}
    assert found == {(label, part) for label in ("bad", "good") for part in PARTS}


def test_too_few_images_are_refused() -> None:
    same = [Photo(f"bad/{n}.png", "0" * 64) for n in range(10)]
    with pytest.raises(DatasetError) as refused:
        split_photos([*same, *photos_of(good=10)], seed=0)
    assert str(refused.value).startswith("the label 'bad' has 1 different images, 3 are the least")
    split_photos(photos_of(bad=MIN_IMAGES, good=MIN_IMAGES), seed=0)


def test_the_fingerprint_depends_on_files_and_contents_not_on_order() -> None:
    photos = photos_of(bad=3, good=3)
    assert fingerprint(photos) == fingerprint(photos[::-1])
    assert fingerprint(photos) != fingerprint(photos[1:])
    renamed = [Photo("bad/z.png", photos[0].sha256), *photos[1:]]
    assert fingerprint(photos) != fingerprint(renamed)
