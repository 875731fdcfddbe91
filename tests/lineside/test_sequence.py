from __future__ import annotations

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
