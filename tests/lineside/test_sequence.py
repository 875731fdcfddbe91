from __future__ import annotations

import itertools

import numpy as np

from lineside.sequence import SequenceSet


def test_any_order_is_one_range_and_a_duplicate_is_known() -> None:
    numbers = [int(n) for n in np.random.default_rng(3).permutation(500) + 1]
    seen = SequenceSet()
    assert all(seen.add(n) for n in numbers)
    assert not any(seen.add(n) for n in numbers)
    assert list(seen.ranges()) == [(1, 500)]
    assert len(seen) == 500


def test_missing_is_what_a_plain_set_says() -> None:
    chance = np.random.default_rng(7)
    for _ in range(300):
        numbers = [int(n) for n in chance.integers(1, 41, chance.integers(0, 31))]
        plain, seen = set(numbers), SequenceSet()
        for number in numbers:
            seen.add(number)
        first = int(chance.integers(1, 41))
        last = int(chance.integers(first - 1, 46))
        gaps = [n for a, b in seen.missing(first, last) for n in range(a, b + 1)]
        assert gaps == [n for n in range(first, last + 1) if n not in plain]
        assert all((n in seen) == (n in plain) for n in range(46))
        assert len(seen) == len(plain)


def test_ranges_and_forgetting_are_what_a_plain_set_says() -> None:
    chance = np.random.default_rng(11)
    for _ in range(300):
        plain: set[int] = set()
        seen = SequenceSet()
        for _ in range(int(chance.integers(1, 12))):
            first = int(chance.integers(1, 41))
            last = first + int(chance.integers(-1, 8))
            numbers = set(range(first, last + 1))
            if chance.random() < 0.6:
                assert seen.add_range(first, last) == len(numbers - plain)
                plain |= numbers
            else:
                assert seen.discard(first) == (first in plain)
                plain.discard(first)
        held = list(seen.ranges())
        assert {n for a, b in held for n in range(a, b + 1)} == plain
        assert all(b + 1 < c for (_, b), (c, _) in itertools.pairwise(held))
        assert len(seen) == len(plain)
